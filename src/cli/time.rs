//! Points in time as people read them on the command line.

use crate::model::Timestamp;

/// `time` as RFC 3339 in UTC, with milliseconds where it has any.
pub fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.floor_millis())
        .map_or_else(|_| format!("{time} ms"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_utc() {
        for (ms, text) in [(1_767_225_600_000, "2026-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59.999Z")] {
            assert_eq!(rfc3339(Timestamp::from_millis(ms)), text);
        }
    }
}
