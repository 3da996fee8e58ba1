//! Where readings fall, when windows fire, what is late: each rule of tumbling windows by example.

use std::path::Path;

use expect_test::{Expect, expect};

use super::*;
use crate::config::{Config, from_text};

fn config(window: &str, watermark: &str) -> Config {
    let text = format!(
        r#"
[source.plant]
topic = "plant/{{sensor}}"
[pipeline.p]
from = ["plant"]
window = {{ kind = "tumbling", {window} }}
watermark = {{ {watermark} }}
tags = ["zone"]
select = {{ n = "count()", values = "count(x)", high = "count(x > 3)", sum = "sum(x)", avg = "avg(x)", min = "min(x)", max = "max(x)", sd = "stddev_pop(x)" }}
"#
    );
    from_text("f.toml", &text, Path::new(".")).unwrap_or_else(|problems| panic!("{problems}")).0
}

/// A reading with `x` and `zone`.
struct Reading<'a>(&'a Pipeline, Cell<'a>, Cell<'a>);

impl Scope for Reading<'_> {
    fn get(&self, slot: usize) -> Cell<'_> {
        match self.0.inputs.iter().nth(slot).map(|name| &**name) {
            Some("x") => self.1,
            Some("zone") => self.2,
            _ => Cell::Null,
        }
    }
}

fn show(firing: &Firing) -> String {
    let value = |value: &Value| serde_json::to_string(value).unwrap();
    let columns: Vec<_> = firing.columns.iter().chain(&firing.tags).map(value).collect();
    let Firing { start_ms, end_ms, revision, offsets: [first, last], .. } = firing;
    format!("[{start_ms}, {end_ms})#{revision} {} by {first}..{last}", columns.join(" "))
}

/// Readings as (W before, time in ms, x), then everything fires at `last_ms`.
fn check(config: &Config, readings: &[(i64, i64, Cell<'_>)], last_ms: i64, expect: &Expect) {
    let pipeline = &config.pipelines[0];
    let (mut windows, mut said) = (Windows::default(), String::new());
    for (offset, (watermark_ms, time_ms, x)) in readings.iter().enumerate() {
        let scope = Reading(pipeline, *x, if offset == 1 { Cell::Null } else { Cell::Text("north") });
        let arrival = Arrival { time_ms: *time_ms, offset: Offset(offset as u64), scope: &scope };
        while let Some(firing) = windows.fire_next(pipeline, *watermark_ms) {
            said += &format!("due: {}\n", show(&firing));
        }
        windows.purge(pipeline, *watermark_ms);
        let mut failures = Vec::new();
        let placed = match windows.add(pipeline, *watermark_ms, &arrival, &mut failures) {
            Placed::Accepted => "accepted".to_owned(),
            Placed::Refired(firing) => show(&firing),
            Placed::Late => "late".to_owned(),
        };
        said += &format!("{time_ms}: {placed}{}\n", if failures.is_empty() { "" } else { ", fails" });
        let mut bytes = Vec::new();
        windows.put(&mut bytes);
        assert_eq!(Windows::take(pipeline, &mut Input(&bytes)).as_ref(), Ok(&windows));
        assert!((0..bytes.len()).all(|cut| Windows::take(pipeline, &mut Input(&bytes[..cut])).is_err()));
    }
    while let Some(firing) = windows.fire_next(pipeline, last_ms) {
        said += &format!("end: {}\n", show(&firing));
    }
    expect.assert_eq(&said);
}

fn number(x: f64) -> Cell<'static> {
    Cell::Number(x)
}

#[test]
fn windows_start_at_multiples_also_before_the_epoch() {
    let window = |offset_ms| Window::Tumbling { size_ms: 60_000, offset_ms };
    for (offset, time, start) in [
        (0, 0, 0),
        (0, 59_999, 0),
        (0, 60_000, 60_000),
        (0, -1, -60_000),
        (0, -60_000, -60_000),
        (0, -60_001, -120_000),
        (15_000, 0, -45_000),
        (15_000, 15_000, 15_000),
        (15_000, -45_001, -105_000),
    ] {
        assert_eq!(assign(&window(offset), time), (start, start + 60_000), "{time} ms with offset {offset}");
    }
}

/// No time that a reading can have overflows.
#[test]
fn the_ends_of_time_are_in_windows() {
    let config = config("size = \"7d\", offset = \"1d\"", "lateness = \"30d\"");
    let (first, last) = (i64::MIN / 1_000_000, i64::MAX / 1_000_000);
    let readings =
        [(BEFORE_ALL, first, number(1.0)), (BEFORE_ALL, last, number(2.0)), (last, first, number(3.0))];
    check(
        &config,
        &readings,
        AFTER_ALL,
        &expect![[r#"
        -9223372036854: accepted
        9223372036854: accepted
        due: [-9223718400000, -9223113600000)#0 1 1 0 1 1 1 1 0 "north" by 0..0
        -9223372036854: late
        end: [9223286400000, 9223891200000)#0 1 1 0 2 2 2 2 0 null by 1..1
    "#]],
    );
}

#[test]
fn a_window_fires_with_the_watermark_on_its_last_millisecond() {
    let config = config("size = \"10ms\"", "");
    let readings =
        [(BEFORE_ALL, 9, number(1.0)), (8, 10, number(2.0)), (9, 19, number(4.0)), (9, 9, number(8.0))];
    check(
        &config,
        &readings,
        18,
        &expect![[r#"
        9: accepted
        10: accepted
        due: [0, 10)#0 1 1 0 1 1 1 1 0 "north" by 0..0
        19: accepted
        9: late
    "#]],
    );
}

#[test]
fn within_the_lateness_a_fired_window_fires_again() {
    let config = config("size = \"10ms\"", "lateness = \"5ms\"");
    let readings = [
        (BEFORE_ALL, 1, number(1.0)),
        (9, 2, number(2.0)),
        (13, 3, number(4.0)),
        (14, 4, number(8.0)),
        (13, -1, number(16.0)),
        // A window that never fired fires at once, for the first time.
        (3, -1, number(32.0)),
    ];
    check(
        &config,
        &readings,
        20,
        &expect![[r#"
        1: accepted
        due: [0, 10)#0 1 1 0 1 1 1 1 0 "north" by 0..0
        2: [0, 10)#1 2 2 0 3 1.5 1 2 0.5 "north" by 0..1
        3: [0, 10)#2 3 3 1 7 2.3333333333333335 1 4 1.247219128924647 "north" by 0..2
        4: late
        -1: late
        -1: [-10, 0)#0 1 1 1 32 32 32 32 0 "north" by 5..5
    "#]],
    );
}

#[test]
fn nulls_count_as_readings_and_failures_do_not_stop_the_others() {
    let config = config("size = \"10ms\"", "");
    let readings = [
        (BEFORE_ALL, 1, Cell::Null),
        (BEFORE_ALL, 2, number(2.0)),
        (BEFORE_ALL, 3, Cell::Text("?")),
        (BEFORE_ALL, 4, number(6.0)),
        (BEFORE_ALL, 15, Cell::Null),
    ];
    check(
        &config,
        &readings,
        AFTER_ALL,
        &expect![[r#"
        1: accepted
        2: accepted
        3: accepted, fails
        4: accepted
        15: accepted
        end: [0, 10)#0 4 3 1 8 4 2 6 2 "north" by 0..3
        end: [10, 20)#0 1 0 0 null null null null null "north" by 4..4
    "#]],
    );
}

#[test]
fn open_windows_fire_in_order_whatever_the_order_of_readings() {
    let config = config("size = \"10ms\", offset = \"3ms\"", "delay = \"1s\"");
    let readings = [35, -20, 3, 2, 12, 13].map(|time_ms| (BEFORE_ALL, time_ms, number(1.0)));
    check(
        &config,
        &readings,
        AFTER_ALL,
        &expect![[r#"
        35: accepted
        -20: accepted
        3: accepted
        2: accepted
        12: accepted
        13: accepted
        end: [-27, -17)#0 1 1 0 1 1 1 1 0 null by 1..1
        end: [-7, 3)#0 1 1 0 1 1 1 1 0 "north" by 3..3
        end: [3, 13)#0 2 2 0 2 1 1 1 0 "north" by 2..4
        end: [13, 23)#0 1 1 0 1 1 1 1 0 "north" by 5..5
        end: [33, 43)#0 1 1 0 1 1 1 1 0 "north" by 0..0
    "#]],
    );
}
