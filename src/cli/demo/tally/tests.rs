//! A run in small: five samples, one labelled hour.

use super::*;
use crate::cli::demo::series::Sample;
use crate::model::{ResultId, Severity, Value};

const HOUR_MS: i64 = 3_600_000;

fn hour(hour: i64) -> Timestamp {
    Timestamp::from_millis(hour * HOUR_MS)
}

/// Five samples: two in hour 0, two in hour 1, one in hour 2; hour 1 is a labelled failure.
fn series() -> Series {
    let sample = |half: i64| Sample { time: Timestamp::from_millis(half * HOUR_MS / 2), temperature: 1.0 };
    Series { samples: (0..5).map(sample).collect(), failures: vec![Failure { from: hour(1), to: hour(2) }] }
}

fn row(key: &str, start: i64, revision: u32, n: f64) -> Output {
    Output::Result(ResultRow {
        id: ResultId::EMPTY,
        pipeline: "hourly".into(),
        key: key.into(),
        start: hour(start),
        end: hour(start + 1),
        revision,
        sequence: None,
        partial: false,
        tags: BTreeMap::new(),
        values: [("n".into(), Value::Number(n))].into(),
    })
}

fn alert(key: &str, state: AlertState, at: i64, reason: Option<&str>) -> Output {
    Output::Alert(AlertRow {
        id: ResultId::EMPTY,
        alert: "failing".into(),
        key: key.into(),
        state,
        severity: Severity::Warning,
        time: hour(at),
        reason: reason.map(Into::into),
        summary: String::new(),
        values: BTreeMap::new(),
        tags: BTreeMap::new(),
        episode: ResultId::EMPTY,
        offsets: [0, 0],
    })
}

/// A tally with all readings acknowledged and all full windows fired.
fn played() -> Tally {
    let mut tally = Tally::new(&series());
    for (machine, account) in MACHINES.iter().zip(0..) {
        tally.accounts[account].sent = 5;
        tally.accounts[account].acknowledged = 5;
        tally.output(&row(machine.name, 0, 0, 2.0));
        tally.output(&row(machine.name, 1, 0, 2.0));
    }
    tally
}

#[test]
fn a_full_run_has_no_losses_and_ends_with_the_last_full_window() {
    let mut tally = Tally::new(&series());
    assert!(!tally.is_complete());
    for machine in MACHINES {
        tally.output(&row(machine.name, 0, 0, 2.0));
    }
    assert!(!tally.is_complete(), "hour 1 is to come");
    let tally = played();
    assert!(tally.is_complete());
    assert_eq!(tally.losses(), Vec::<String>::new());
    assert_eq!((tally.left_open(), tally.acknowledged()), (1, 15));
}

#[test]
fn what_is_missing_is_named() {
    let mut tally = played();
    tally.accounts[1].acknowledged = 4;
    tally.output(&row("press-3", 1, 1, 1.0));
    tally.output(&row("somebody-else", 1, 0, 9.0));
    assert_eq!(
        tally.losses(),
        [
            "press-2: 4 of 5 readings were acknowledged",
            "press-2: the windows hold 4 of 3 acknowledged readings",
            "press-3: the windows hold 3 of 4 acknowledged readings",
        ]
    );
}

#[test]
fn a_later_revision_replaces_the_count_of_its_window() {
    let mut tally = played();
    tally.output(&row("press-1", 0, 1, 2.0));
    assert_eq!((tally.accounts[0].rows, tally.accounts[0].counted()), (3, 4));
}

#[test]
fn a_failure_is_noticed_by_the_first_new_alert_in_its_window() {
    let mut tally = played();
    for (key, state, at, reason) in [
        ("press-1", AlertState::Firing, 0, None),
        ("press-1", AlertState::Firing, 1, Some("escalated")),
        ("press-2", AlertState::Firing, 1, None),
        ("press-2", AlertState::Resolved, 2, None),
        ("press-2", AlertState::Firing, 2, None),
        ("press-3", AlertState::Firing, 0, None),
        ("press-3", AlertState::Resolved, 1, Some("stale")),
    ] {
        tally.output(&alert(key, state, at, reason));
    }
    let noticed = tally.noticed();
    assert_eq!(noticed[0].at, [None, Some(hour(1)), None]);
    assert!(!noticed[0].by_all());
    assert_eq!(tally.outside(), [(hour(0), 2)].into());
    assert_eq!(tally.firing(), 2);
}
