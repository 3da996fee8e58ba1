//! The life of an alert for one key, as tables: what happens, and what it says.

use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use crate::config::{Config, from_text};
use crate::model::bytes::Input;
use crate::model::{Cell, Value};

fn config(rules: &str) -> Config {
    let text = format!(
        "[source.plant]\ntopic = \"plant/{{sensor}}\"\n[alert.hot]\non = \"plant\"\nsummary = \"{{sensor}} {{x:.1}}\"\n{rules}\n"
    );
    from_text("f.toml", &text, Path::new(".")).unwrap_or_else(|problems| panic!("{problems}")).0
}

/// A row with one field `x`.
struct X<'a>(&'a Alert, Value);

impl Scope for X<'_> {
    fn get(&self, slot: usize) -> Cell<'_> {
        match self.0.inputs.iter().nth(slot).map(|name| &**name) {
            Some("x") => self.1.cell(),
            Some("sensor") => Cell::Text("a"),
            _ => Cell::Null,
        }
    }
}

fn values(x: &Value) -> Values {
    [("x".into(), x.clone())].into()
}

/// One happening: `x` of a row and its event time in ms, or a tick at this second of service.
#[derive(Clone, Copy)]
enum Step {
    Row(f64, i64),
    Null(i64),
    Text(i64),
    Tick(u64),
}
use Step::{Null, Row as At, Text, Tick};

struct Life {
    config: Config,
    state: State,
    service_ns: u64,
    cause: Offset,
}

impl Life {
    fn new(rules: &str) -> Self {
        let state = State::default();
        Self { config: config(rules), state, service_ns: 0, cause: Offset(0) }
    }

    fn step(&mut self, step: Step) -> String {
        let (alert, cause) = (&self.config.alerts[0], self.cause);
        self.cause = cause.plus(1);
        let (x, time_ms) = match step {
            At(x, time_ms) => (Value::Number(x), time_ms),
            Null(time_ms) => (Value::Null, time_ms),
            Text(time_ms) => (Value::Text("?".into()), time_ms),
            Tick(seconds) => {
                self.service_ns = seconds * 1_000_000_000;
                let wall = Timestamp::from_millis(1_000_000 + seconds as i64 * 1_000);
                let moment = Moment { wall, service_ns: self.service_ns, cause };
                return self.state.on_tick(alert, &"a".into(), moment).map_or_else(String::new, say);
            }
        };
        let row = Row {
            scope: &X(alert, x.clone()),
            time: Timestamp::from_millis(time_ms),
            cause,
            offsets: [cause; 2],
            values: &|| values(&x),
            tags: &Values::new,
        };
        match self.state.on_row(alert, &"a".into(), &row, self.service_ns) {
            Ok(change) => change.map_or_else(String::new, say),
            Err(failure) => format!("failed: {failure}"),
        }
    }

    /// Replaces the state by what its bytes say.
    fn restart(&mut self) {
        let mut bytes = Vec::new();
        self.state.put(&mut bytes);
        self.state = State::take(&mut Input(&bytes)).expect("own bytes");
    }
}

fn say(change: Change) -> String {
    let AlertRow { state, severity, time, reason, summary, offsets, .. } = change;
    let (state, severity, reason) = (state.as_str(), severity.as_str(), reason.unwrap_or_default());
    format!("{state} {severity} {reason} \"{summary}\" at {time} by {offsets:?}")
}

/// One line a step; a restart before any step changes nothing.
fn check(rules: &str, steps: &[Step], expect: &Expect) {
    let (mut life, mut restarted) = (Life::new(rules), Life::new(rules));
    let mut said = String::new();
    for step in steps {
        let line = life.step(*step);
        restarted.restart();
        assert_eq!(restarted.step(*step), line);
        assert_eq!(restarted.state, life.state);
        let what = match step {
            At(x, time_ms) => format!("{time_ms}: {x}"),
            Null(time_ms) => format!("{time_ms}: null"),
            Text(time_ms) => format!("{time_ms}: text"),
            Tick(seconds) => format!("{seconds} s"),
        };
        said += format!("{what} -> {line}").trim_end();
        said.push('\n');
    }
    expect.assert_eq(&said);
}

#[test]
fn without_clear_it_resolves_when_when_does_not_hold() {
    let steps = [At(1.0, 0), At(11.0, 1), At(12.0, 2), Null(3), At(11.0, 4), At(10.0, 5)];
    check(
        "when = \"x > 10\"",
        &steps,
        &expect![[r#"
        0: 1 ->
        1: 11 -> firing warning  "a 11.0" at 1 by [1, 1]
        2: 12 ->
        3: null -> resolved warning  "a -" at 3 by [3, 3]
        4: 11 -> firing warning  "a 11.0" at 4 by [4, 4]
        5: 10 -> resolved warning  "a 10.0" at 5 by [5, 5]
    "#]],
    );
}

#[test]
fn clear_is_a_threshold_of_its_own() {
    let steps = [At(11.0, 0), At(9.0, 1), Null(2), At(11.0, 3), At(4.0, 4), At(9.0, 5), At(11.0, 6)];
    check(
        "when = \"x > 10\"\nclear = \"x < 5\"",
        &steps,
        &expect![[r#"
        0: 11 -> firing warning  "a 11.0" at 0 by [0, 0]
        1: 9 ->
        2: null ->
        3: 11 ->
        4: 4 -> resolved warning  "a 4.0" at 4 by [4, 4]
        5: 9 ->
        6: 11 -> firing warning  "a 11.0" at 6 by [6, 6]
    "#]],
    );
}

#[test]
fn for_is_event_time_without_a_break() {
    let steps = [
        At(11.0, 0),
        Tick(60),
        At(11.0, 9),
        At(1.0, 10),
        At(11.0, 11),
        At(11.0, 20),
        At(11.0, 21),
        At(11.0, 50),
    ];
    check(
        "when = \"x > 10\"\nfor = \"10ms\"",
        &steps,
        &expect![[r#"
        0: 11 ->
        60 s ->
        9: 11 ->
        10: 1 ->
        11: 11 ->
        20: 11 ->
        21: 11 -> firing warning  "a 11.0" at 21 by [6, 6]
        50: 11 ->
    "#]],
    );
}

#[test]
fn silence_resolves_as_stale_in_service_time() {
    let steps = [Tick(1), At(11.0, 0), Tick(4), At(12.0, 99_999), Tick(8), Tick(9), Tick(10), At(11.0, 1)];
    check(
        "when = \"x > 10\"\nresolve_after = \"5s\"",
        &steps,
        &expect![[r#"
        1 s ->
        0: 11 -> firing warning  "a 11.0" at 0 by [1, 1]
        4 s ->
        99999: 12 ->
        8 s ->
        9 s -> resolved warning stale "a 11.0" at 1009000 by [1, 1]
        10 s ->
        1: 11 -> firing warning  "a 11.0" at 1 by [7, 7]
    "#]],
    );
}

#[test]
fn repeats_count_from_what_was_last_sent() {
    let steps = [Tick(1), At(11.0, 0), Tick(3), Tick(4), At(12.0, 1), Tick(6), Tick(7), At(1.0, 2), Tick(20)];
    check(
        "when = \"x > 10\"\nrepeat = \"3s\"",
        &steps,
        &expect![[r#"
        1 s ->
        0: 11 -> firing warning  "a 11.0" at 0 by [1, 1]
        3 s ->
        4 s -> firing warning repeat "a 11.0" at 0 by [1, 1]
        1: 12 ->
        6 s ->
        7 s -> firing warning repeat "a 11.0" at 0 by [1, 1]
        2: 1 -> resolved warning  "a 1.0" at 2 by [7, 7]
        20 s ->
    "#]],
    );
}

#[test]
fn absence_needs_a_first_reading_and_ends_with_the_next() {
    let steps =
        [Tick(100), At(1.0, 0), Tick(104), Tick(105), Tick(106), Tick(112), At(2.0, 7), Tick(113), Tick(118)];
    check(
        "absent = \"5s\"\nrepeat = \"7s\"",
        &steps,
        &expect![[r#"
        100 s ->
        0: 1 ->
        104 s ->
        105 s -> firing warning  "a -" at 1105000 by [3, 3]
        106 s ->
        112 s -> firing warning repeat "a -" at 1105000 by [3, 3]
        7: 2 -> resolved warning  "a -" at 7 by [3, 3]
        113 s ->
        118 s -> firing warning  "a -" at 1118000 by [8, 8]
    "#]],
    );
}

#[test]
fn severity_rises_within_an_episode_and_does_not_fall() {
    let steps = [At(11.0, 0), At(60.0, 1), At(11.0, 2), At(70.0, 3), At(1.0, 4), At(60.0, 5)];
    check(
        "when = \"x > 10\"\nseverity = \"x > 50 ? 'critical' : 'warning'\"",
        &steps,
        &expect![[r#"
        0: 11 -> firing warning  "a 11.0" at 0 by [0, 0]
        1: 60 -> firing critical escalated "a 60.0" at 1 by [1, 1]
        2: 11 ->
        3: 70 ->
        4: 1 -> resolved critical  "a 1.0" at 4 by [4, 4]
        5: 60 -> firing critical  "a 60.0" at 5 by [5, 5]
    "#]],
    );
}

#[test]
fn a_failure_changes_nothing_and_a_bad_severity_does_not_keep_it_firing() {
    let steps = [Text(0), At(11.0, 1), Text(2), At(1.0, 3)];
    check(
        "when = \"x > 10\"\nseverity = \"x > 10 ? 'warning' : 'nothing'\"",
        &steps,
        &expect![[r#"
            0: text -> failed: a text and a number have no order
            1: 11 -> firing warning  "a 11.0" at 1 by [1, 1]
            2: text -> failed: a text and a number have no order
            3: 1 -> resolved warning  "a 1.0" at 3 by [3, 3]
        "#]],
    );
}

#[test]
fn an_episode_has_one_id_and_each_change_its_own() {
    let mut life = Life::new("when = \"x > 10\"\nrepeat = \"3s\"");
    let mut rows = Vec::new();
    for (x, seconds) in [(11.0, 0), (11.0, 5), (1.0, 6), (11.0, 7)] {
        let alert = &life.config.alerts[0];
        let (time, value) = (Timestamp::default(), Value::Number(x));
        let moment = Moment { wall: time, service_ns: seconds * 1_000_000_000, cause: life.cause };
        rows.extend(life.state.on_tick(alert, &"a".into(), moment));
        let cause = life.cause.plus(1);
        let row = Row {
            scope: &X(alert, value.clone()),
            time,
            cause,
            offsets: [cause; 2],
            values: &|| values(&value),
            tags: &Values::new,
        };
        rows.extend(life.state.on_row(alert, &"a".into(), &row, moment.service_ns).unwrap());
        life.cause = cause.plus(1);
    }
    let states: Vec<_> = rows.iter().map(|row| (row.state.as_str(), row.reason.as_deref())).collect();
    assert_eq!(states, [("firing", None), ("firing", Some("repeat")), ("resolved", None), ("firing", None)]);
    assert!(rows[..3].iter().all(|row| row.episode == rows[0].episode));
    assert_ne!(rows[3].episode, rows[0].episode);
    let mut ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), rows.len());
}

#[test]
fn next_tick_is_when_there_is_something_to_do() {
    let rules = "when = \"x > 10\"\nresolve_after = \"5s\"\nrepeat = \"3s\"";
    let mut life = Life::new(rules);
    let mut next = Vec::new();
    for step in [Tick(1), At(1.0, 0), At(11.0, 1), Tick(2), At(11.0, 2), Tick(4), Tick(7)] {
        life.step(step);
        next.push(
            life.state.next_tick_ns(&life.config.alerts[0]).map(|ns| Duration::from_nanos(ns).as_secs()),
        );
    }
    assert_eq!(next, [None, None, Some(4), Some(4), Some(4), Some(7), None]);
}

/// The time last sent comes back to the nanosecond, whatever a row's JSON rounds.
#[test]
fn bytes_keep_every_nanosecond_and_every_prefix_is_refused() {
    let mut life = Life::new("when = \"x > 10\"");
    let alert = &life.config.alerts[0];
    let row = Row {
        scope: &X(alert, Value::Number(11.0)),
        time: Timestamp::from_nanos(1_767_225_600_123_456_789),
        cause: Offset(7),
        offsets: [Offset(7); 2],
        values: &|| values(&Value::Number(0.1)),
        tags: &Values::new,
    };
    life.state.on_row(alert, &"a".into(), &row, 3).unwrap().expect("it fires");
    let mut bytes = Vec::new();
    life.state.put(&mut bytes);
    assert_eq!(State::take(&mut Input(&bytes)), Ok(life.state));
    assert!((0..bytes.len()).all(|cut| State::take(&mut Input(&bytes[..cut])).is_err()));
}
