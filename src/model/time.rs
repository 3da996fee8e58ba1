//! Points in event time and wall time. There is no clock here: `now` comes as an argument.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOS_PER_MILLI: i64 = 1_000_000;

/// A point in time: nanoseconds since the Unix epoch, UTC, from 1677 to 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point `nanos` nanoseconds after (negative: before) the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The point `millis` milliseconds after the epoch; saturates at the range of the type.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(NANOS_PER_MILLI))
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down: -0.5 ms is -1.
    pub const fn floor_millis(self) -> i64 {
        self.0.div_euclid(NANOS_PER_MILLI)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 is for people; rows carry milliseconds. Shows milliseconds with the fraction the source had.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, rest) = (self.0 / NANOS_PER_MILLI, (self.0 % NANOS_PER_MILLI).unsigned_abs());
        let sign = if self.0 < 0 && millis == 0 { "-" } else { "" };
        if rest == 0 {
            return write!(f, "{sign}{millis}");
        }
        let digits = format!("{rest:06}");
        write!(f, "{sign}{millis}.{}", digits.trim_end_matches('0'))
    }
}

/// Rows carry milliseconds: an integer, with a fraction only where the source had one.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % NANOS_PER_MILLI == 0 {
            serializer.serialize_i64(self.0 / NANOS_PER_MILLI)
        } else {
            serializer.serialize_f64(self.0 as f64 / NANOS_PER_MILLI as f64)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        if let Some(millis) = number.as_i64() {
            return millis
                .checked_mul(NANOS_PER_MILLI)
                .map(Self)
                .ok_or_else(|| de::Error::custom("time out of range"));
        }
        let millis = number.as_f64().ok_or_else(|| de::Error::custom("time is not a number"))?;
        Ok(Self((millis * NANOS_PER_MILLI as f64).round() as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_round_down_on_both_sides_of_the_epoch() {
        for (nanos, millis) in [(0, 0), (1, 0), (999_999, 0), (1_000_000, 1), (-1, -1), (-1_000_000, -1)] {
            assert_eq!(Timestamp::from_nanos(nanos).floor_millis(), millis, "{nanos} ns");
        }
    }

    #[test]
    fn shows_a_fraction_only_where_there_is_one() {
        for (nanos, text) in [(5_000_000, "5"), (5_500_000, "5.5"), (-500_000, "-0.5"), (-1_250_000, "-1.25")]
        {
            assert_eq!(Timestamp::from_nanos(nanos).to_string(), text);
        }
    }
}
