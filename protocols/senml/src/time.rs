//! Times: SenML's seconds to integer nanoseconds and back (RFC 8428 §4.5.3).
//!
//! A double holds seconds of today's epoch to about 0.2 µs. Every conversion therefore rounds to
//! the microsecond, so that a time that was given in whole micro- or milliseconds comes out as
//! exactly that, in JSON and in CBOR alike. Base time and time are converted one by one and added
//! as integers, for the same reason.

use crate::error::Kind;

/// Seconds from which on a time is absolute: 2^28, 1978-07-04T21:24:16Z.
const ABSOLUTE_FROM_S: f64 = 268_435_456.0;
const NS_PER_US: i64 = 1_000;

/// When a value was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Nanoseconds since the epoch, as POSIX counts them.
    pub ns: i64,
    /// What the sender said of it.
    pub given: Given,
}

/// What the sender said of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// A time since the epoch.
    Absolute,
    /// A time relative to "now"; [`Time::ns`] was made with the receiver's `now`.
    Relative,
    /// Neither `t` nor `bt`: roughly "now", and [`Time::ns`] is the receiver's `now`.
    Missing,
}

/// Adds base time and time, and takes the sum as absolute from 2^28 s on, as relative to `now_ns` below.
pub(crate) fn resolve(base: Option<f64>, time: Option<f64>, now_ns: i64) -> Result<Time, Kind> {
    if base.is_none() && time.is_none() {
        return Ok(Time { ns: now_ns, given: Given::Missing });
    }
    let (base, time) = (base.unwrap_or(0.0), time.unwrap_or(0.0));
    let sum = to_ns(base).zip(to_ns(time)).and_then(|(base_ns, time_ns)| base_ns.checked_add(time_ns));
    let sum_ns = sum.ok_or(Kind::TimeRange)?;
    if base + time >= ABSOLUTE_FROM_S {
        return Ok(Time { ns: sum_ns, given: Given::Absolute });
    }
    let ns = now_ns.checked_add(sum_ns).ok_or(Kind::TimeRange)?;
    Ok(Time { ns, given: Given::Relative })
}

/// Seconds since the epoch, to the microsecond. `None`: too early for SenML to say.
pub(crate) fn absolute_seconds(ns: i64) -> Option<f64> {
    let us = ns.saturating_add(NS_PER_US / 2).div_euclid(NS_PER_US);
    // Below 2^53 µs (year 2255) the double is exact, so that the division rounds once.
    let seconds = us as f64 / 1e6;
    (seconds >= ABSOLUTE_FROM_S).then_some(seconds)
}

fn to_ns(seconds: f64) -> Option<i64> {
    let us = (seconds * 1e6).round();
    let max_us = (i64::MAX / NS_PER_US) as f64;
    // `as` is exact: an integral double within the range of i64.
    (us.abs() < max_us).then(|| us as i64 * NS_PER_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Base time, time, and what they resolve to.
    type Row = (Option<f64>, Option<f64>, Result<Time, Kind>);

    const NOW_NS: i64 = 1_700_000_000_000_000_123;

    #[test]
    fn rfc8428_4_5_3_times() {
        let relative = |offset_ns| Ok(Time { ns: NOW_NS + offset_ns, given: Given::Relative });
        let absolute = |ns| Ok(Time { ns, given: Given::Absolute });
        let table: [Row; 15] = [
            (None, None, Ok(Time { ns: NOW_NS, given: Given::Missing })),
            (None, Some(0.0), relative(0)),
            (Some(0.0), None, relative(0)),
            (None, Some(-5.0), relative(-5_000_000_000)),
            (Some(-10.0), Some(2.5), relative(-7_500_000_000)),
            (None, Some(0.02), relative(20_000_000)),
            (None, Some(268_435_455.0), relative(268_435_455_000_000_000)),
            (None, Some(268_435_456.0), absolute(268_435_456_000_000_000)),
            (Some(268_435_455.0), Some(1.0), absolute(268_435_456_000_000_000)),
            (Some(1_276_020_076.001), None, absolute(1_276_020_076_001_000_000)),
            (Some(1.320067464e9), Some(0.1), absolute(1_320_067_464_100_000_000)),
            (Some(1_276_020_076.001), Some(-5.0), absolute(1_276_020_071_001_000_000)),
            (Some(1e12), None, Err(Kind::TimeRange)),
            (Some(1e300), Some(-1e300), Err(Kind::TimeRange)),
            (None, Some(-9.3e9), Err(Kind::TimeRange)),
        ];
        for (base, time, want) in table {
            assert_eq!(resolve(base, time, NOW_NS), want, "bt {base:?} t {time:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whole_microseconds_survive(us in 268_435_456_000_000_i64..4_102_444_800_000_000) {
            let seconds = absolute_seconds(us * NS_PER_US).expect("after 2^28 s");
            let text: f64 = format!("{}.{:06}", us / 1_000_000, us % 1_000_000).parse().unwrap();
            proptest::prop_assert_eq!(seconds, text);
            proptest::prop_assert_eq!(to_ns(seconds), Some(us * NS_PER_US));
        }
    }
}
