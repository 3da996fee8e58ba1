//! Tells the journal who still needs what, and shows it in the metrics.
//!
//! Whatever happens to the store, its newest verified dump can be restored and the journal replayed from there: so
//! each lane and each sink pins its streams where that dump says that it stood. As long as there is no dump nothing
//! is removed.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::deliveries::SinksProgress;
use super::ports::cursor_name;
use super::processing::View;
use crate::config::{self, Config, MaxLag, OnMaxLag, StreamLimits};
use crate::engine;
use crate::journal::{Hold, Journal, Lag, Limits, Retention};
use crate::model::{Offset, StreamName};
use crate::store::{Marks, Store};
use crate::telemetry::Metrics;

/// Time from one look at the positions to the next.
const EVERY: Duration = Duration::from_secs(1);

/// The gateway that a [`Keeper`] works for.
pub(super) struct Gateway<'a> {
    /// What is configured; a reload changes it.
    pub(super) config: watch::Receiver<Arc<Config>>,
    /// What is kept.
    pub(super) journal: &'a Arc<Journal>,
    /// Shows what it is kept for.
    pub(super) metrics: &'a Arc<Metrics>,
}

/// Whose positions are looked at, and on whose behalf.
pub(super) struct Keeper {
    config: watch::Receiver<Arc<Config>>,
    journal: Arc<Journal>,
    metrics: Arc<Metrics>,
    store: Arc<Store>,
    sinks: SinksProgress,
}

impl Keeper {
    /// A keeper of what runs on the opened `store`.
    pub(super) fn new(gateway: Gateway<'_>, store: &Arc<Store>, sinks: SinksProgress) -> Self {
        let Gateway { config, journal, metrics } = gateway;
        Self { config, journal: journal.clone(), metrics: metrics.clone(), store: store.clone(), sinks }
    }

    /// Sets pins until told to stop. From the first ones on the journal removes what is beyond its limits, as they are
    /// configured at the time.
    pub(super) async fn run(self, view: watch::Receiver<View>, stop: CancellationToken) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut retained = None;
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            let Some(dumped) = self.store.dumped() else { continue };
            let (view, config) = (view.borrow().clone(), self.config.borrow().clone());
            self.set_pins(&self.needed(&dumped, &view), &config);
            self.show();
            let retention = retention(&config.journal);
            if retained.replace(retention) != Some(retention) {
                self.journal.retain(&retention).await;
            }
        }
    }

    /// What each reader needs of each stream if the newest verified dump had to be restored. A lane that runs and is
    /// not in it needs everything. A sink's saved position outlives the store, and a sink may keep it by itself.
    fn needed(&self, dumped: &Marks, view: &View) -> Vec<(String, StreamName, Offset)> {
        let mut needed = Vec::new();
        for lane in view.lanes() {
            let name = engine::cursor_name(&lane.name);
            let mark = dumped.get(&name).and_then(|mark| mark.get(&StreamName::Readings));
            let own = mark.copied().unwrap_or_default().min(lane.position().needed);
            // Births read the past under names of their own.
            let births = dumped.iter().filter(|(birth, _)| birth.starts_with(&format!("{name}+")));
            let births = births.filter_map(|(_, mark)| mark.get(&StreamName::Readings).copied());
            let offset = births.fold(own, Offset::min);
            needed.push((name, StreamName::Readings, offset));
        }
        for (sink, progress) in self.sinks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let name = cursor_name(sink);
            for stream in StreamName::ALL {
                let Some(saved) = progress.saved(stream) else { continue };
                let dumped = dumped.get(&name).and_then(|mark| mark.get(&stream));
                needed.push((name.clone(), stream, dumped.map_or(saved, |dumped| saved.min(*dumped))));
            }
        }
        needed
    }

    fn set_pins(&self, needed: &[(String, StreamName, Offset)], config: &Config) {
        let pins = &self.journal.pins;
        for (reader, stream, from) in needed {
            pins.set(reader, *stream, *from, hold(config, reader, *stream));
        }
        let known = |holder: &str| needed.iter().any(|(reader, ..)| reader == holder);
        for pin in StreamName::ALL.into_iter().flat_map(|stream| pins.of(stream)) {
            if !known(&pin.holder) {
                pins.remove(&pin.holder);
            }
        }
    }

    /// Shows how many bytes each holder still needs.
    fn show(&self) {
        let mut bytes = BTreeMap::<Arc<str>, u64>::new();
        for stream in StreamName::ALL {
            for pin in self.journal.pins.of(stream) {
                *bytes.entry(pin.holder).or_default() += self.journal.stream(stream).bytes_from(pin.offset);
            }
        }
        for (holder, bytes) in bytes {
            let shown = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.metrics.journal_pinned_bytes.with_label_values(&[&*holder]).set(shown);
        }
    }
}

/// For how long `stream` is kept for `reader`: for a lane always, for a sink as it is configured.
fn hold(config: &Config, reader: &str, stream: StreamName) -> Hold {
    let Some(name) = reader.strip_prefix("sink/") else { return Hold::Always };
    let half = Lag::Bytes(limits(&config.journal, stream).max_bytes / 2);
    let sink = config.sinks.iter().find(|sink| *sink.name == *name);
    match sink.map(|sink| (sink.on_max_lag, sink.max_lag)) {
        Some((OnMaxLag::Hold, _)) => Hold::Always,
        Some((OnMaxLag::Gap, MaxLag::Bytes(bytes))) => Hold::Upto(Lag::Bytes(bytes)),
        Some((OnMaxLag::Gap, MaxLag::Age(age))) => Hold::Upto(Lag::Age(age)),
        // One that a reload adds or removes is kept like others are by default while it does.
        Some((OnMaxLag::Gap, MaxLag::HalfOfStream)) | None => Hold::Upto(half),
    }
}

/// Bytes of `stream` that must not be removed: what the one furthest behind of those it is kept for still needs.
pub fn pinned_bytes(journal: &Journal, stream: StreamName) -> u64 {
    let bytes = journal.pins.of(stream).into_iter().map(|pin| {
        let needed = journal.stream(stream).bytes_from(pin.offset);
        match pin.hold {
            Hold::Upto(Lag::Bytes(bytes_max)) if needed > bytes_max => 0,
            _ => needed,
        }
    });
    bytes.max().unwrap_or_default()
}

/// The configured limits of `stream`.
pub fn limits(journal: &config::Journal, stream: StreamName) -> &StreamLimits {
    match stream {
        StreamName::Readings => &journal.readings,
        StreamName::Results => &journal.results,
        StreamName::DeadLetters => &journal.dead_letters,
    }
}

fn retention(journal: &config::Journal) -> Retention {
    let limits = |stream| {
        let &StreamLimits { max_bytes, max_age } = limits(journal, stream);
        Limits { bytes_max: max_bytes, age_max: max_age, free_min_bytes: journal.min_free_bytes }
    };
    Retention {
        readings: limits(StreamName::Readings),
        results: limits(StreamName::Results),
        dead_letters: limits(StreamName::DeadLetters),
    }
}
