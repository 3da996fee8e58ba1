//! The engine against [`super::model`]: any stream, any rules, any borders between batches.

use std::sync::Arc;

use proptest::prelude::*;

use super::model::{self, Event, Rules};
use super::{Given, batch, config};
use crate::config::Config;
use crate::engine::emission::Emission;
use crate::engine::offline::Offline;
use crate::engine::plan::LanePlan;
use crate::journal::Clock;
use crate::model::{Offset, Output, Timestamp, Value};

const NANOS_PER_MILLI: i64 = 1_000_000;

pub(super) fn text(rules: Rules) -> String {
    let Rules { size_ms, offset_ms, delay_ms, lateness_ms, .. } = rules;
    let optional =
        |key: &str, ms: Option<i64>| ms.map_or(String::new(), |ms| format!(", {key} = \"{ms}ms\""));
    let scope = if rules.is_source_scoped { "source" } else { "key" };
    format!(
        r#"
[pipeline.p]
from = {:?}
key = {}
{}
window = {{ kind = "tumbling", size = "{size_ms}ms", offset = "{offset_ms}ms" }}
watermark = {{ scope = "{scope}", late = "keep", delay = "{delay_ms}ms", lateness = "{lateness_ms}ms"{}{} }}
select = {{ n = "count()", values = "count(x)", sum = "sum(x)", avg = "avg(x)", min = "min(x)", max = "max(x)", sd = "stddev_pop(x)" }}
"#,
        rules.from,
        if rules.by_zone { "[\"zone\"]" } else { "\"sensor\"" },
        if rules.is_filtered { "where = \"x > 0\"" } else { "" },
        optional("idle", rules.idle_ms),
        optional("max_ahead", rules.max_ahead_ms),
    )
}

pub(super) fn rules() -> impl Strategy<Value = Rules> {
    let from = prop_oneof![Just(["plant"].as_slice()), Just(["plant", "yard"].as_slice())];
    let times = (1..40_i64, 0..40_i64, 0..30_i64, prop_oneof![Just(0), 1..50_i64]);
    let limits = (proptest::option::of(1..60_i64), proptest::option::of(1..200_i64));
    (times, limits, any::<[bool; 3]>(), from).prop_map(|(times, limits, flags, from)| {
        let (size_ms, offset, delay_ms, lateness_ms) = times;
        let [is_source_scoped, by_zone, is_filtered] = flags;
        Rules {
            size_ms,
            offset_ms: offset % size_ms,
            delay_ms,
            lateness_ms,
            idle_ms: limits.0.filter(|_| !is_source_scoped),
            max_ahead_ms: limits.1,
            is_source_scoped,
            by_zone,
            is_filtered,
            from,
        }
    })
}

/// Time goes on by a few milliseconds an event, from before the epoch to after it; readings lie around it.
pub(super) fn events() -> impl Strategy<Value = Vec<Event>> {
    let reading = (0..4_usize, any::<bool>(), -60 * NANOS_PER_MILLI..40 * NANOS_PER_MILLI, x());
    let reading = reading.prop_map(|reading| (Some(reading), 0));
    let tick = (-100..20_i64).prop_map(|behind_ms| (None, behind_ms));
    let repeat = prop_oneof![4 => Just(1_usize), 1 => Just(2)];
    let one = (prop_oneof![8 => reading, 1 => tick], repeat, 0..8_i64);
    proptest::collection::vec(one, 0..60).prop_map(|steps| {
        let (mut now_ms, mut service_ms, mut events) = (-100, 0, Vec::new());
        for ((reading, behind_ms), times, passed_ms) in steps {
            now_ms += passed_ms;
            service_ms += 2 * passed_ms;
            let event = match reading {
                Some((sensor, is_plant, around_ns, x)) => Event::Reading(Given {
                    source: if is_plant { "plant" } else { "yard" },
                    sensor: ["a", "b", "c", "d"][sensor],
                    time: Timestamp::from_nanos(now_ms * NANOS_PER_MILLI + around_ns),
                    x,
                    panics: false,
                }),
                None => Event::Tick(Clock {
                    wall: Timestamp::from_millis(now_ms + behind_ms),
                    service_ns: (service_ms * NANOS_PER_MILLI) as u64,
                }),
            };
            events.extend(std::iter::repeat_n(event, times));
        }
        events
    })
}

fn x() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![1 => Just(None), 5 => (-20..80_i32).prop_map(|x| Some(f64::from(x) / 8.0))]
}

/// Runs the events through the engine; `is_border` says after which readings a batch ends.
fn run(config: &Arc<Config>, events: &[Event], is_border: &[bool]) -> Vec<Emission> {
    let mut offline = Offline::new(LanePlan::new(config, &Arc::from("main"), "journal"));
    let (mut emissions, mut waiting) = (Vec::new(), Vec::new());
    for (offset, event) in events.iter().enumerate() {
        let flush = |offline: &mut Offline, waiting: &mut Vec<Given>, end: usize| {
            let readings = std::mem::take(waiting);
            let batch = batch((end - readings.len()) as u64, &readings);
            if readings.is_empty() { Vec::new() } else { offline.on_batch(&batch).emissions }
        };
        match event {
            Event::Reading(given) => {
                waiting.push(given.clone());
                if is_border[offset % is_border.len()] || offset + 1 == events.len() {
                    emissions.extend(flush(&mut offline, &mut waiting, offset + 1));
                }
            }
            Event::Tick(clock) => {
                emissions.extend(flush(&mut offline, &mut waiting, offset));
                emissions.extend(offline.on_tick(*clock, Offset(offset as u64)).emissions);
            }
        }
    }
    emissions.extend(offline.finish(Offset(events.len() as u64)).emissions);
    emissions
}

/// A row as both sides can say it.
#[derive(Debug, PartialEq)]
struct Said {
    cause: u64,
    key: String,
    start_ms: i64,
    revision: Option<u32>,
    columns: Vec<Option<f64>>,
}

fn of_engine(emission: &Emission) -> Said {
    let (revision, columns) = match &emission.output {
        Output::Result(row) => {
            let number = |name: &str| match row.values[name] {
                Value::Number(number) => Some(number),
                _ => None,
            };
            let columns = ["n", "values", "sum", "avg", "min", "max", "sd"].map(number).to_vec();
            (Some(row.revision), columns)
        }
        Output::Late(_) => (None, Vec::new()),
        Output::Alert(row) => panic!("no alert was asked for: {row:?}"),
    };
    let (cause, key) = (emission.cause.0, emission.key.to_string());
    // A late reading names its own time, not its window's.
    let start_ms = if revision.is_some() { emission.start_ms } else { 0 };
    Said { cause, key, start_ms, revision, columns }
}

fn of_model(row: model::Row) -> Said {
    let model::Row { cause, key, start_ms, revision, xs } = row;
    if revision.is_none() {
        return Said { cause, key, start_ms: 0, revision, columns: Vec::new() };
    }
    let values: Vec<f64> = xs.iter().copied().flatten().collect();
    let count = values.len() as f64;
    let sum = values.iter().sum::<f64>();
    let squares = values.iter().map(|x| (x - sum / count).powi(2)).sum::<f64>();
    let extreme = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick);
    let of_some = |value: f64| (!values.is_empty()).then_some(value);
    let columns = vec![
        Some(xs.len() as f64),
        Some(count),
        of_some(sum),
        of_some(sum / count),
        extreme(f64::min),
        extreme(f64::max),
        of_some((squares / count).sqrt()),
    ];
    Said { cause, key, start_ms, revision, columns }
}

/// Equal, but for the last digits of what is not a sum of eighths.
fn is_same(a: &Said, b: &Said) -> bool {
    let near = |(a, b): (&Option<f64>, &Option<f64>)| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
        (a, b) => a == b,
    };
    let columns = a.columns.len() == b.columns.len() && a.columns.iter().zip(&b.columns).all(near);
    columns && (a.cause, &a.key, a.start_ms, a.revision) == (b.cause, &b.key, b.start_ms, b.revision)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_those_of_the_model_and_batch_borders_change_nothing(
        rules in rules(),
        events in events(),
        borders in [proptest::collection::vec(any::<bool>(), 7), proptest::collection::vec(any::<bool>(), 11)],
    ) {
        let config = config(&text(rules));
        let single = run(&config, &events, &[true]);
        for borders in borders {
            prop_assert_eq!(&run(&config, &events, &borders), &single);
        }
        let engine: Vec<Said> = single.iter().map(of_engine).collect();
        let mut model: Vec<Said> = model::rows(rules, &events).into_iter().map(of_model).collect();
        model.sort_by(|a, b| (a.cause, &a.key).cmp(&(b.cause, &b.key)));
        prop_assert!(
            engine.len() == model.len() && engine.iter().zip(&model).all(|(a, b)| is_same(a, b)),
            "engine: {:#?}\nmodel: {:#?}", engine, model
        );
        let mut ids: Vec<_> = single.iter().filter_map(|emission| match &emission.output {
            Output::Result(row) => Some(row.id),
            _ => None,
        }).collect();
        let count = ids.len();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), count, "an id stands twice");
    }
}
