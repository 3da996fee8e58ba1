//! One sensor's step: causes, silence, clocks that run ahead, and states as bytes.

use std::path::Path;

use expect_test::{Expect, expect};

use super::codec::StateError;
use super::*;
use crate::config::from_text;
use crate::engine::group::Grouped;
use crate::engine::watermarks::Watermarks;
use crate::model::batch::NewReading;
use crate::model::{BatchBuilder, Cell, Identity};

/// A reading with `panic = true` makes its sensor panic: what a defect of ours would do.
pub(super) fn planted_in_reading(reading: Reading<'_>) {
    assert!(reading.field("panic") != Cell::Bool(true), "planted");
}

/// The key `fragile` panics at the tick that shows five seconds of service.
pub(super) fn planted_in_tick(place: &Place<'_>, moment: alert::Moment) {
    assert!(&**place.key != "fragile" || moment.service_ns != 5_000_000_000, "planted");
}

fn plan(text: &str) -> LanePlan {
    let text = format!("[source.plant]\ntopic = \"plant/{{sensor}}\"\n{text}");
    let (config, _) =
        from_text("f.toml", &text, Path::new(".")).unwrap_or_else(|problems| panic!("{problems}"));
    LanePlan::new(&Arc::new(config), &"main".into(), "journal")
}

fn windows(watermark: &str) -> String {
    format!(
        r#"
[pipeline.p]
from = ["plant"]
window = {{ kind = "tumbling", size = "10ms" }}
watermark = {{ {watermark} }}
select = {{ n = "count()" }}
"#
    )
}

enum Step<'a> {
    /// Sensors and times in ms of one batch; only those of `a` reach it.
    Rows(&'a [(&'a str, i64)]),
    /// Service time and wall time in ms.
    Tick(u64, i64),
}
use Step::{Rows as Batched, Tick};

/// The sensor `a` of the first grouping.
struct Sensor {
    plan: LanePlan,
    state: SensorState,
    watermarks: Watermarks,
    next: Offset,
    clock: (u64, Timestamp),
}

impl Sensor {
    fn new(plan: LanePlan) -> Self {
        let (state, watermarks) = (SensorState::new(&plan.keyings[0], Offset(0)), Watermarks::new(&plan));
        Self { plan, state, watermarks, next: Offset(0), clock: (0, Timestamp::default()) }
    }

    fn with<T>(&mut self, step: impl FnOnce(&mut SensorState, &Place<'_>) -> T) -> T {
        let (key, (service_ns, wall)) = (Arc::from("a"), self.clock);
        let place = Place { plan: &self.plan, keying: &self.plan.keyings[0], key: &key, service_ns, wall };
        step(&mut self.state, &place)
    }

    fn step(&mut self, step: &Step<'_>) -> Effects {
        let (mut effects, at) = (Effects::default(), self.next);
        match step {
            Batched(readings) => {
                let batch = batch(at, readings);
                self.next = batch.end();
                let views = Views::new(&self.plan, &batch);
                let trajectories = self.watermarks.advance(&self.plan, &views, &batch, self.clock.1);
                let grouped = Grouped::new(&self.plan, &self.plan.keyings[0], &views, &batch);
                let (batch, rows, views, trajectories) =
                    (&batch, grouped.rows_of("a"), &views, &*trajectories);
                let rows = Rows { batch, rows, views, trajectories };
                self.with(|state, place| state.on_rows(place, &rows, &mut effects));
            }
            Tick(service_ms, wall_ms) => {
                self.next = at.plus(1);
                self.clock = (service_ms * 1_000_000, Timestamp::from_millis(*wall_ms));
                let moment = alert::Moment { wall: self.clock.1, service_ns: self.clock.0, cause: at };
                self.with(|state, place| state.on_tick(place, moment, &mut effects));
            }
        }
        effects.sort();
        effects
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.state.put(&self.plan, &self.plan.keyings[0], &mut bytes);
        bytes
    }

    fn take(&self, bytes: &[u8]) -> Result<SensorState, StateError> {
        SensorState::take(&self.plan, &self.plan.keyings[0], bytes)
    }
}

fn batch(base: Offset, readings: &[(&str, i64)]) -> Batch {
    let mut builder = BatchBuilder::default();
    for (sensor, time_ms) in readings {
        let time = Timestamp::from_millis(*time_ms);
        let fields = &[("x", Cell::Number(*time_ms as f64))];
        builder.push(NewReading {
            source: "plant",
            sensor,
            time,
            received: time,
            flags: 0,
            fields,
            tags: &[],
        });
    }
    builder.end_message(Identity::None);
    let mut batch = builder.finish();
    batch.base = base;
    batch
}

/// A line for each step that puts something out. Before each step the state goes through its bytes, which no
/// prefix of them passes for.
fn check(text: &str, steps: &[Step<'_>], expect: &Expect) {
    let mut sensor = Sensor::new(plan(text));
    let mut said = String::new();
    for step in steps {
        let bytes = sensor.bytes();
        assert_eq!(sensor.take(&bytes).as_ref(), Ok(&sensor.state));
        assert!((0..bytes.len()).all(|cut| sensor.take(&bytes[..cut]).is_err()));
        let effects = sensor.step(step);
        for (_, count) in &effects.late {
            said += &format!("{count} late\n");
        }
        for Emission { cause, output, .. } in &effects.emissions {
            said += &match output {
                Output::Result(row) => {
                    format!("{cause}: [{}, {})#{} {:?}\n", row.start, row.end, row.revision, row.values["n"])
                }
                Output::Alert(row) => format!("{cause}: {} {}\n", row.alert, row.state.as_str()),
                Output::Late(row) => format!("{cause}: late {}\n", row.time),
            };
        }
    }
    expect.assert_eq(&said);
}

#[test]
fn with_scope_source_the_cause_is_the_reading_that_moved_w() {
    let steps = [
        Batched(&[("a", 1), ("b", 2), ("a", 15), ("b", 40), ("b", 90), ("a", 31), ("a", 91)]),
        Batched(&[("b", 92), ("b", 100)]),
        Batched(&[("a", 95)]),
    ];
    check(
        &windows("scope = \"source\", late = \"keep\""),
        &steps,
        &expect![[r#"
        1 late
        2: [0, 10)#0 Number(1.0)
        3: [10, 20)#0 Number(1.0)
        5: late 31
        8: [90, 100)#0 Number(1.0)
        1 late
        9: late 95
    "#]],
    );
}

#[test]
fn silence_fires_what_the_keys_own_clock_has_passed() {
    let steps = [
        Tick(1_000, 0),
        Batched(&[("a", 3), ("a", 12), ("a", 41)]),
        // 41 ms + silence − 20 ms must reach the window's end at 50 ms.
        Tick(1_020, 0),
        Tick(1_028, 0),
        Tick(1_029, 0),
        // W rose to 49 ms and no further: a backlog still counts in windows that were not over.
        Batched(&[("a", 49), ("a", 50)]),
        Tick(9_000, 0),
    ];
    check(
        &windows("idle = \"20ms\", late = \"keep\""),
        &steps,
        &expect![[r#"
        2: [0, 10)#0 Number(1.0)
        3: [10, 20)#0 Number(1.0)
        6: [40, 50)#0 Number(1.0)
        1 late
        7: late 49
        9: [50, 60)#0 Number(1.0)
    "#]],
    );
}

#[test]
fn silence_waits_for_the_delay_where_that_is_longer() {
    let steps = [Tick(1_000, 0), Batched(&[("a", 5)]), Tick(1_024, 0), Tick(1_034, 0), Tick(1_035, 0)];
    check(
        &windows("idle = \"20ms\", delay = \"30ms\""),
        &steps,
        &expect![[r#"
        4: [0, 10)#0 Number(1.0)
    "#]],
    );
}

#[test]
fn a_clock_too_far_ahead_does_not_move_w() {
    let steps = [
        // Before the first tick nothing is known of the time.
        Batched(&[("a", 1), ("a", 12)]),
        Tick(1, 20),
        Batched(&[("a", 26), ("a", 5_000), ("a", 27)]),
        Batched(&[("a", 30)]),
        Tick(2, 5_000),
        Batched(&[("a", 5_011)]),
    ];
    check(
        &windows("max_ahead = \"10ms\", late = \"keep\""),
        &steps,
        &expect![[r#"
        1: [0, 10)#0 Number(1.0)
        3: [10, 20)#0 Number(1.0)
        6: [20, 30)#0 Number(2.0)
    "#]],
    );
}

#[test]
fn having_keeps_rows_back_but_alerts_judge_them() {
    let text = windows("") + "having = \"n > 1\"\n[alert.lonely]\non = \"p\"\nwhen = \"n < 2\"\n";
    let steps = [Batched(&[("a", 1), ("a", 11), ("a", 12), ("a", 21)]), Batched(&[("a", 31)])];
    check(
        &text,
        &steps,
        &expect![[r#"
        1: lonely firing
        3: [10, 20)#0 Number(2.0)
        3: lonely resolved
        4: lonely firing
    "#]],
    );
}

#[test]
fn what_is_in_the_state_is_not_applied_again() {
    let steps = [Batched(&[("a", 1), ("a", 12), ("a", 13)]), Tick(1, 1), Batched(&[("a", 25)])];
    let mut sensor = Sensor::new(plan(&windows("idle = \"1ms\"")));
    steps.iter().for_each(|step| drop(sensor.step(step)));
    let state = sensor.state.clone();
    (sensor.next, sensor.watermarks) = (Offset(0), Watermarks::new(&sensor.plan));
    for step in &steps {
        let effects = sensor.step(step);
        assert!(effects.is_empty(), "{effects:?}");
    }
    assert_eq!(sensor.state, state);
}

#[test]
fn a_changed_generation_begins_anew_and_the_rest_goes_on() {
    let both = |size: &str| {
        windows("").replace("10ms", size)
            + &windows("").replace("pipeline.p", "pipeline.q")
            + "[alert.gone]\non = \"plant\"\nabsent = \"5s\"\n"
    };
    let mut sensor = Sensor::new(plan(&both("10ms")));
    sensor.step(&Batched(&[("a", 1), ("a", 3)]));
    let bytes = sensor.bytes();
    sensor.plan = plan(&both("20ms"));
    sensor.state = sensor.take(&bytes).unwrap();
    assert_eq!(sensor.state.applied, Offset(2));
    let effects = sensor.step(&Batched(&[("a", 25)]));
    let rows = effects.emissions.iter().map(|emission| match &emission.output {
        Output::Result(row) => format!("{} {}", row.pipeline, row.end),
        other => format!("{other:?}"),
    });
    assert_eq!(rows.collect::<Vec<_>>(), ["q 10"]);
    // The alert has heard of `a` before.
    let effects = sensor.step(&Tick(6_000, 0));
    assert_eq!(effects.emissions.len(), 1);
}

#[test]
fn a_state_of_a_newer_program_is_named() {
    let mut sensor = Sensor::new(plan(&windows("")));
    sensor.step(&Batched(&[("a", 1)]));
    let mut bytes = sensor.bytes();
    bytes[0] += 1;
    assert_eq!(sensor.take(&bytes), Err(StateError::Newer(bytes[0])));
}

#[test]
fn a_sensor_that_rests_wakes_with_its_next_reading_only() {
    let mut sensor = Sensor::new(plan(&windows("idle = \"1ms\"")));
    sensor.step(&Batched(&[("a", 1)]));
    sensor.state.pass_over(Offset(2));
    sensor.next = Offset(2);
    sensor.state = sensor.take(&sensor.bytes()).unwrap();
    assert_eq!(sensor.with(|state, place| state.due(place)), Due::default());
    assert!(sensor.step(&Tick(60_000, 0)).is_empty());
    assert!(sensor.step(&Batched(&[("b", 99)])).is_empty());
    assert_eq!(sensor.step(&Batched(&[("a", 95)])).emissions.len(), 1);
}

/// Two pipelines of one generation keep their own windows over a restart.
#[test]
fn twins_are_not_taken_for_one_another() {
    let one = windows("delay = \"0s\"");
    let twins = format!("{one}\n{}", one.replace("pipeline.p]", "pipeline.q]\nhaving = \"n > 2\""));
    let mut sensor = Sensor::new(plan(&twins));
    sensor.step(&Batched(&[("a", 1), ("a", 2)]));
    let bytes = sensor.bytes();
    sensor.state = sensor.take(&bytes).expect("own bytes");
    let effects = sensor.step(&Batched(&[("a", 3), ("a", 20)]));
    let counts: Vec<_> = effects
        .emissions
        .iter()
        .map(|emission| match &emission.output {
            Output::Result(row) => (row.pipeline.to_string(), row.values["n"].clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    let three = crate::model::Value::Number(3.0);
    assert_eq!(counts, [("p".to_owned(), three.clone()), ("q".to_owned(), three)]);
}
