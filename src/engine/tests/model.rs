//! SEMANTICS §6 written plainly: every window keeps all its readings, and every step looks at every window.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Given, zone};
use crate::journal::Clock;

/// What a pipeline is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) size_ms: i64,
    pub(super) offset_ms: i64,
    pub(super) delay_ms: i64,
    pub(super) lateness_ms: i64,
    pub(super) idle_ms: Option<i64>,
    pub(super) max_ahead_ms: Option<i64>,
    pub(super) is_source_scoped: bool,
    /// Grouped by zone instead of by sensor.
    pub(super) by_zone: bool,
    /// Only readings with `x > 0` count.
    pub(super) is_filtered: bool,
    /// The sources it reads.
    pub(super) from: &'static [&'static str],
}

/// What happens to a gateway; each happening has one offset.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Reading(Given),
    Tick(Clock),
}

/// A row: cause, key, start, revision, and the `x` of its readings in the order of their arrival. A late
/// reading has no revision.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) cause: u64,
    pub(super) key: String,
    pub(super) start_ms: i64,
    pub(super) revision: Option<u32>,
    pub(super) xs: Vec<Option<f64>>,
}

#[derive(Default)]
struct Open {
    firings: u32,
    xs: Vec<Option<f64>>,
}

/// The state of one pipeline.
pub(super) struct Model {
    rules: Rules,
    windows: BTreeMap<(String, i64), Open>,
    /// Watermarks by key; all under one name with scope `source`.
    watermarks: BTreeMap<String, i64>,
    /// Largest event time by key, or by source.
    largest: BTreeMap<String, i64>,
    /// Service time of the last reading, by key.
    heard_ms: BTreeMap<String, i64>,
    clock: Clock,
    rows: Vec<Row>,
}

/// All rows that `events` cause, in order; after the last one everything open fires.
pub(super) fn rows(rules: Rules, events: &[Event]) -> Vec<Row> {
    let mut model = Model {
        rules,
        windows: BTreeMap::new(),
        watermarks: BTreeMap::new(),
        largest: BTreeMap::new(),
        heard_ms: BTreeMap::new(),
        clock: Clock::default(),
        rows: Vec::new(),
    };
    for (offset, event) in events.iter().enumerate() {
        match event {
            Event::Reading(given) => model.reading(offset as u64, given),
            Event::Tick(clock) => model.tick(offset as u64, *clock),
        }
    }
    model.fire(events.len() as u64, |_, _| true);
    model.rows
}

impl Model {
    fn reading(&mut self, cause: u64, given: &Given) {
        let rules = self.rules;
        if !rules.from.contains(&given.source) {
            return;
        }
        let key = if rules.by_zone { zone(given.sensor) } else { given.sensor }.to_owned();
        let scope = if rules.is_source_scoped { String::new() } else { key.clone() };
        self.heard_ms.insert(key.clone(), (self.clock.service_ns / 1_000_000) as i64);
        let time_ms = given.time.nanos().div_euclid(1_000_000);
        let start_ms =
            (time_ms - rules.offset_ms).div_euclid(rules.size_ms) * rules.size_ms + rules.offset_ms;
        let last_ms = start_ms + rules.size_ms - 1;
        let before = self.watermarks.get(&scope).copied();
        if !rules.is_filtered || given.x.is_some_and(|x| x > 0.0) {
            if before.is_some_and(|w| last_ms + rules.lateness_ms <= w) {
                self.rows.push(Row { cause, key: key.clone(), start_ms, revision: None, xs: vec![given.x] });
            } else {
                let open = self.windows.entry((key.clone(), start_ms)).or_default();
                open.xs.push(given.x);
                if before.is_some_and(|w| last_ms <= w) {
                    open.firings += 1;
                    let (revision, xs) = (Some(open.firings - 1), open.xs.clone());
                    self.rows.push(Row { cause, key: key.clone(), start_ms, revision, xs });
                }
            }
        }
        self.advance(given, &key, &scope, time_ms);
        let watermark = self.watermarks.get(&scope).copied();
        self.fire(cause, |of, last| {
            (rules.is_source_scoped || *of == key) && watermark.is_some_and(|w| last <= w)
        });
    }

    fn advance(&mut self, given: &Given, key: &str, scope: &str, time_ms: i64) {
        let ahead_ns = given.time.nanos() - self.clock.wall.nanos();
        let limit_ns = self.rules.max_ahead_ms.map(|ms| Duration::from_millis(ms as u64).as_nanos() as i64);
        if self.clock.wall.nanos() > 0 && limit_ns.is_some_and(|limit| ahead_ns > limit) {
            return;
        }
        let whose = if self.rules.is_source_scoped { given.source } else { key };
        let largest = self.largest.entry(whose.to_owned()).or_insert(time_ms);
        *largest = time_ms.max(*largest);
        let largest = *largest;
        let least = if self.rules.is_source_scoped { *self.largest.values().min().unwrap() } else { largest };
        let watermark = self.watermarks.entry(scope.to_owned()).or_insert(i64::MIN);
        *watermark = (*watermark).max(least - self.rules.delay_ms);
    }

    fn tick(&mut self, cause: u64, clock: Clock) {
        self.clock = clock;
        let Some(idle_ms) = self.rules.idle_ms else { return };
        for (key, heard_ms) in self.heard_ms.clone() {
            let silent_ms = (clock.service_ns / 1_000_000) as i64 - heard_ms;
            let Some(largest) = self.largest.get(&key) else { continue };
            if silent_ms < idle_ms {
                continue;
            }
            let limit = largest + silent_ms - idle_ms.max(self.rules.delay_ms);
            let fired = self.fire(cause, |of, last| *of == key && last < limit);
            if let Some(last) = fired.into_iter().max() {
                let watermark = self.watermarks.get_mut(&key).unwrap();
                *watermark = last.max(*watermark);
            }
        }
    }

    /// Fires every window that has not fired and `is_due`, told its key and its last millisecond.
    fn fire(&mut self, cause: u64, is_due: impl Fn(&String, i64) -> bool) -> Vec<i64> {
        let mut fired = Vec::new();
        for ((key, start_ms), open) in &mut self.windows {
            let last = start_ms + self.rules.size_ms - 1;
            if open.firings == 0 && is_due(key, last) {
                open.firings = 1;
                fired.push(last);
                let (key, xs) = (key.clone(), open.xs.clone());
                self.rows.push(Row { cause, key, start_ms: *start_ms, revision: Some(0), xs });
            }
        }
        fired
    }
}
