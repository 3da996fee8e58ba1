//! The lines of the show (pure): a window's row, an alert, the status. The word `alert` begins alert lines and
//! stands in no row or status, so that a pipe can pick them out.

use std::fmt::Write as _;

use super::latency::Quantiles;
use super::series::show_time;
use crate::model::{AlertRow, AlertState, ResultRow, Timestamp, Value};

/// What is said of a moment of the show.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Event time of the newest row.
    pub machine_time: Timestamp,
    /// Readings acknowledged a second.
    pub readings_per_second: f64,
    /// From sending to the acknowledgement.
    pub acknowledgement: Option<Quantiles>,
    /// Durable readings that no lane has processed.
    pub lag_records: i64,
    /// Alerts firing now.
    pub firing: usize,
}

/// `2013-12-10 07:00  press-1  mean 53.1  low 50.2  high 57.0  …`: columns in the order of their names.
pub fn result(row: &ResultRow) -> String {
    let mut line = format!("{}  {:8}", show_time(row.end), row.key);
    for (name, value) in &row.values {
        // Writing to a text cannot fail.
        let _ = match value {
            Value::Number(number) if number.fract() != 0.0 => write!(line, "  {name} {number:.1}"),
            Value::Number(number) => write!(line, "  {name} {number}"),
            Value::Text(text) => write!(line, "  {name} {text}"),
            Value::Bool(value) => write!(line, "  {name} {value}"),
            Value::Null => write!(line, "  {name} -"),
        };
    }
    if row.revision > 0 {
        let _ = write!(line, "  (revision {})", row.revision);
    }
    line
}

/// `alert firing    press-1  warning   2013-12-10 10:00  press-1 is failing: …`.
pub fn alert(row: &AlertRow) -> String {
    let mut line = format!(
        "alert {:8}  {:8}  {:8}  {}",
        row.state.as_str(),
        row.key,
        row.severity.as_str(),
        show_time(row.time)
    );
    // A resolved alert keeps the text it fired with, which is no news any more.
    let _ = match (row.state, &row.reason) {
        (AlertState::Firing, None) => write!(line, "  {}", row.summary),
        (AlertState::Firing, Some(reason)) => write!(line, "  {reason}: {}", row.summary),
        (AlertState::Resolved, Some(reason)) => write!(line, "  {reason}"),
        (AlertState::Resolved, None) => Ok(()),
    };
    line
}

/// One line of less than 80 characters.
pub fn status(status: &Status) -> String {
    let acknowledgement =
        status.acknowledgement.map_or_else(String::new, |took| format!("  {}", quantiles(took)));
    format!(
        "{}  {:.0} readings/s{acknowledgement}  lag {}  firing {}",
        show_time(status.machine_time),
        status.readings_per_second,
        status.lag_records,
        status.firing
    )
}

/// `ack p50 2.1 p99 5.3 ms`.
pub fn quantiles(took: Quantiles) -> String {
    let millis = |took: std::time::Duration| took.as_secs_f64() * 1000.0;
    format!("ack p50 {:.1} p99 {:.1} ms", millis(took.p50), millis(took.p99))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use expect_test::expect;

    use super::*;
    use crate::model::{ResultId, Severity};

    const TIME: Timestamp = Timestamp::from_millis(1_386_662_400_000);

    fn alert_row(state: AlertState, reason: Option<&str>) -> AlertRow {
        AlertRow {
            id: ResultId::EMPTY,
            alert: "failing".into(),
            key: "press-1".into(),
            state,
            severity: Severity::Critical,
            time: TIME,
            reason: reason.map(Into::into),
            summary: "press-1 is failing".into(),
            values: BTreeMap::new(),
            tags: BTreeMap::new(),
            episode: ResultId::EMPTY,
            offsets: [0, 0],
        }
    }

    #[test]
    fn a_result_shows_its_columns() {
        let number = |name: &str, number| (name.into(), Value::Number(number));
        let mut row = ResultRow {
            id: ResultId::EMPTY,
            pipeline: "hourly".into(),
            key: "press-1".into(),
            start: TIME,
            end: TIME,
            revision: 0,
            sequence: None,
            partial: false,
            tags: BTreeMap::new(),
            values: [number("mean", 53.123), number("n", 12.0), ("x".into(), Value::Null)].into(),
        };
        expect!["2013-12-10 08:00  press-1   mean 53.1  n 12  x -"].assert_eq(&result(&row));
        row.revision = 2;
        assert!(result(&row).ends_with("  (revision 2)"));
    }

    #[test]
    fn an_alert_begins_with_the_word() {
        let lines = [
            alert(&alert_row(AlertState::Firing, None)),
            alert(&alert_row(AlertState::Firing, Some("escalated"))),
            alert(&alert_row(AlertState::Resolved, None)),
            alert(&alert_row(AlertState::Resolved, Some("stale"))),
        ];
        expect![[r#"
            alert firing    press-1   critical  2013-12-10 08:00  press-1 is failing
            alert firing    press-1   critical  2013-12-10 08:00  escalated: press-1 is failing
            alert resolved  press-1   critical  2013-12-10 08:00
            alert resolved  press-1   critical  2013-12-10 08:00  stale"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn a_status_fits_into_a_line_and_is_no_alert() {
        let took = Quantiles { p50: Duration::from_micros(2_140), p99: Duration::from_micros(15_360) };
        let mut now = Status {
            machine_time: TIME,
            readings_per_second: 863.7,
            acknowledgement: Some(took),
            lag_records: 1234,
            firing: 3,
        };
        let line = status(&now);
        expect!["2013-12-10 08:00  864 readings/s  ack p50 2.1 p99 15.4 ms  lag 1234  firing 3"]
            .assert_eq(&line);
        assert!(line.len() < 80 && !line.contains("alert"));
        now.acknowledgement = None;
        expect!["2013-12-10 08:00  864 readings/s  lag 1234  firing 3"].assert_eq(&status(&now));
    }
}
