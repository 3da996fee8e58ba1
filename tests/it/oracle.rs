//! `forebay backtest` gives the rows that Apache Flink gave (`tests/data/oracle`).
//!
//! [`case`] makes a configuration of a case's `spec.json` and runs the real binary, [`rows`] reads and compares.
//! A case of another window kind needs its words in [`case`] and two lines here.

mod case;
mod rows;

use case::Case;

/// The rows, their number, and the readings that were too late, each as Flink had them.
fn check(name: &str) {
    let case = Case::load(name);
    let outcome = case.backtest();
    let expected = case.expected();
    assert_eq!(expected.len(), case.spec.result.rows, "the case itself: rows in the file and in the spec");
    rows::assert_same(&outcome.results, &expected);
    if let Some(late) = case.spec.result.late_dropped {
        assert_eq!(outcome.late_count, late, "late readings in the summary");
        assert_eq!(outcome.late.len() as u64, late, "late rows");
    }
    if let Some(expected) = case.expected_late() {
        assert_eq!(outcome.late, expected, "late rows in order of arrival");
    }
    assert_eq!(outcome.lines, case.spec.input_events, "lines read");
}

#[test]
fn tumbling_with_a_watermark_for_all() {
    check("01_tumble_1m");
    check("02_tumble_5m_seed");
}

#[test]
fn filter_after_the_watermark_and_having() {
    check("09_filter_having");
}

#[test]
fn readings_on_the_borders_of_windows() {
    check("13_edge_boundary");
}

#[test]
fn days_of_utc() {
    check("18_day_utc");
}

#[test]
fn the_fleet_rule() {
    check("21_fleet_speeding");
}

#[test]
fn tumbling_with_a_watermark_per_key() {
    check("25_perkey_watermark_tumble_1m");
    check("26_backlog_perkey");
}

#[test]
fn lateness_fires_again() {
    check("30_ds_allowed_lateness_60s");
}
