//! Ends of a range of the journal as they are written on the command line: offsets, times, ages.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use crate::config;
use crate::journal::past::Past;
use crate::model::{Offset, Timestamp};

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `1234` or `offset:1234`.
    Offset(Offset),
    /// `2026-11-24T06:00:00Z`: the first record that arrived then or later.
    Time(Timestamp),
    /// `-2h`: so long ago.
    Ago(Duration),
}

/// Why a text is no end of a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no offset (1234), time (2026-11-24T06:00:00Z) or age (-2h)")]
pub struct BoundError(String);

impl FromStr for Bound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        let no_bound = || BoundError(text.to_owned());
        if let Some(age) = text.strip_prefix('-') {
            return config::duration(age).map(Self::Ago).ok_or_else(no_bound);
        }
        if let Ok(offset) = text.strip_prefix("offset:").unwrap_or(text).parse() {
            return Ok(Self::Offset(Offset(offset)));
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| no_bound())?;
        let nanos = i64::try_from(time.as_nanosecond()).map_err(|_| no_bound())?;
        Ok(Self::Time(Timestamp::from_nanos(nanos)))
    }
}

impl Bound {
    /// The offset meant, within what `past` holds; `now` is the wall clock.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn offset(self, past: &Past, now: Timestamp) -> io::Result<Offset> {
        let offset = match self {
            Self::Offset(offset) => offset,
            Self::Time(time) => past.at_time(time)?,
            Self::Ago(age) => past.at_time(before(now, age))?,
        };
        Ok(offset.clamp(past.oldest(), past.end()))
    }
}

/// The time `span` before `time`.
pub fn before(time: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(time.nanos().saturating_sub(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_times_and_ages_are_told_apart() {
        let time = |ms| Bound::Time(Timestamp::from_millis(ms));
        for (text, bound) in [
            ("0", Bound::Offset(Offset(0))),
            ("offset:12", Bound::Offset(Offset(12))),
            ("-90s", Bound::Ago(Duration::from_secs(90))),
            ("-1h30m", Bound::Ago(Duration::from_secs(5400))),
            ("2026-01-01T00:00:00Z", time(1_767_225_600_000)),
            ("2026-01-01T01:00:00.5+01:00", time(1_767_225_600_500)),
        ] {
            assert_eq!(text.parse(), Ok(bound), "{text}");
        }
        for text in ["", "-", "-2", "yesterday", "2026-01-01", "offset:x", "1e3"] {
            assert_eq!(text.parse::<Bound>(), Err(BoundError(text.to_owned())), "{text}");
        }
    }
}
