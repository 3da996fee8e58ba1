//! When a reading was taken: the source's `time` rule.
//!
//! Integers are exact in every unit. A double holds seconds of today to about 0.2 µs, so numbers with a
//! fraction are rounded to the microsecond (as the `senml` crate does): `1767225600.1` s is exactly that.
//! RFC 3339 texts keep nanoseconds.

use crate::config::{MissingTime, TimeRule, TimeUnit};
use crate::model::batch::TIME_IS_RECEIVED;
use crate::model::{Reason, Timestamp};

use super::document::{Entry, Node, Number};
use super::rejection::Rejection;

/// What intake may make of a message's arrival time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It stands in for a missing time.
    At(Timestamp),
    /// It means nothing (`backtest`): a reading that needs it is refused.
    Unknown(Timestamp),
}

impl Arrival {
    /// The time in the reading's `received` column.
    pub fn received(self) -> Timestamp {
        let (Self::At(time) | Self::Unknown(time)) = self;
        time
    }
}

/// A reading's time and [`TIME_IS_RECEIVED`] or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// Event time.
    pub time: Timestamp,
    /// The row's flags.
    pub flags: u8,
}

/// The time of the reading `root`.
///
/// # Errors
/// [`Reason::Time`] where there is none that the rule takes.
pub fn of_document(rule: &TimeRule, root: Node<'_>, arrival: Arrival) -> Result<EventTime, Rejection> {
    let Some(at) = &rule.at else {
        return instead(rule, arrival, "the source says of no member that it is the time");
    };
    let found = root.pointer(at).filter(|node| !matches!(node.entry(), Entry::Null));
    let time = match found {
        None => instead(rule, arrival, "the time is missing"),
        Some(node) => read(rule.unit, node).and_then(|time| not_before(rule, time, arrival)),
    };
    time.map_err(|refusal| refusal.at(&at.text))
}

/// The time of a SenML record.
///
/// # Errors
/// As [`of_document`].
pub fn of_record(rule: &TimeRule, time: senml::Time, arrival: Arrival) -> Result<EventTime, Rejection> {
    match (time.given, arrival) {
        (senml::Given::Missing, _) => instead(rule, arrival, "the time is missing"),
        (senml::Given::Relative, Arrival::Unknown(_)) => {
            Err(refused("the time counts from its arrival, which a backtest does not know"))
        }
        _ => not_before(rule, Timestamp::from_nanos(time.ns), arrival),
    }
}

fn not_before(rule: &TimeRule, time: Timestamp, arrival: Arrival) -> Result<EventTime, Rejection> {
    match rule.min {
        Some(min) if time < min => {
            instead(rule, arrival, &format!("{time} ms is before the earliest time taken, {min} ms"))
        }
        _ => Ok(EventTime { time, flags: 0 }),
    }
}

/// What the rule says to do without a usable time.
fn instead(rule: &TimeRule, arrival: Arrival, problem: &str) -> Result<EventTime, Rejection> {
    match (rule.missing, arrival) {
        (MissingTime::Received, Arrival::At(time)) => Ok(EventTime { time, flags: TIME_IS_RECEIVED }),
        (MissingTime::Received, Arrival::Unknown(_)) => {
            Err(refused(format!("{problem}, and a backtest has no arrival time to take instead")))
        }
        (MissingTime::Refuse, _) => Err(refused(problem)),
    }
}

fn read(unit: TimeUnit, node: Node<'_>) -> Result<Timestamp, Rejection> {
    match (node.entry(), unit) {
        (Entry::Text(text), TimeUnit::Rfc3339) => rfc3339(text),
        (_, TimeUnit::Rfc3339) => Err(refused(format!("{} is not an RFC 3339 text", node.kind()))),
        (Entry::Number(number), _) => {
            nanos(*number, unit).map(Timestamp::from_nanos).ok_or_else(|| refused("the time is out of range"))
        }
        _ => Err(refused(format!("{} is not a number", node.kind()))),
    }
}

fn rfc3339(text: &str) -> Result<Timestamp, Rejection> {
    let time: jiff::Timestamp =
        text.parse().map_err(|_| refused(format!("{text:?} is not a time as RFC 3339 writes it")))?;
    let nanos = i64::try_from(time.as_nanosecond()).map_err(|_| refused("the time is out of range"))?;
    Ok(Timestamp::from_nanos(nanos))
}

/// Nanoseconds since the epoch; `None` beyond the years 1677 to 2262.
fn nanos(number: Number, unit: TimeUnit) -> Option<i64> {
    let (unit_nanos, units_per_micro) = match unit {
        TimeUnit::Seconds => (1_000_000_000, 1e6),
        TimeUnit::Millis => (1_000_000, 1e3),
        TimeUnit::Micros => (1_000, 1.0),
        TimeUnit::Nanos | TimeUnit::Rfc3339 => (1, 1e-3),
    };
    match number {
        Number::Integer(value) => value.checked_mul(unit_nanos),
        Number::Double(value) => {
            let micros = (value * units_per_micro).round();
            // `as` is exact: an integral double within the range of i64.
            (micros.abs() < 9.2e15).then(|| micros as i64 * 1_000)
        }
    }
}

fn refused(text: impl Into<String>) -> Rejection {
    Rejection::new(Reason::Time, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::json;

    #[test]
    fn units_and_fractions() {
        let table = [
            (TimeUnit::Seconds, "1767225600", Some(1_767_225_600_000_000_000)),
            (TimeUnit::Seconds, "1767225600.1", Some(1_767_225_600_100_000_000)),
            (TimeUnit::Seconds, "1767225600.123456", Some(1_767_225_600_123_456_000)),
            (TimeUnit::Seconds, "1.7672256e9", Some(1_767_225_600_000_000_000)),
            (TimeUnit::Seconds, "-0.5", Some(-500_000_000)),
            (TimeUnit::Seconds, "9223372037", None),
            (TimeUnit::Seconds, "1e300", None),
            (TimeUnit::Millis, "1767225600123", Some(1_767_225_600_123_000_000)),
            (TimeUnit::Millis, "1767225600123.25", Some(1_767_225_600_123_250_000)),
            (TimeUnit::Micros, "1767225600123456", Some(1_767_225_600_123_456_000)),
            (TimeUnit::Nanos, "1767225600123456789", Some(1_767_225_600_123_456_789)),
            (TimeUnit::Nanos, "18446744073709551615", None),
            (TimeUnit::Rfc3339, "\"2026-01-01T01:00:00.123456789+01:00\"", Some(1_767_225_600_123_456_789)),
            (TimeUnit::Rfc3339, "\"1600-01-01T00:00:00Z\"", None),
            (TimeUnit::Rfc3339, "\"2026-01-01 00:00\"", None),
            (TimeUnit::Rfc3339, "1767225600", None),
            (TimeUnit::Millis, "\"1767225600\"", None),
            (TimeUnit::Millis, "[1]", None),
        ];
        for (unit, text, want) in table {
            let document = json::decode(text.as_bytes()).unwrap();
            let found = read(unit, document.root());
            assert_eq!(found.as_ref().ok().map(|time| time.nanos()), want, "{text} {unit:?}: {found:?}");
            assert!(found.is_ok_and(|_| true) || want.is_none());
        }
    }
}
