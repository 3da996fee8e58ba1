//! The clock: the only place where wall time and monotonic time enter the house.
//!
//! Pure modules take `now` as an argument; the journal carries wall time in its ticks, so that a replay sees
//! the same times (`.clippy.toml` bans other calls).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;

/// No build is older than this source: 2026-11-01T00:00:00Z, for builds without `SOURCE_DATE_EPOCH`.
const SOURCE_DATE_SECONDS: i64 = 1_793_491_200;

/// The wall clock in whole milliseconds, as rows carry them. A board without a battery may show 1970 until it has heard from a time server: compare
/// with [`build_date`].
#[expect(clippy::disallowed_methods, reason = "this is the one place where wall time enters")]
pub fn now() -> Timestamp {
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    };
    Timestamp::from_millis(millis)
}

/// The monotonic clock, for durations and service time. It stands still while the machine sleeps.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// CPU time that all threads of this process have taken, user and system.
pub fn process_cpu() -> Duration {
    let taken = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(taken.tv_sec).unwrap_or_default(),
        u32::try_from(taken.tv_nsec).unwrap_or_default(),
    )
}

/// A point in time that no right clock shows any more: `SOURCE_DATE_EPOCH` of the build where the packager
/// set it (<https://reproducible-builds.org/specs/source-date-epoch/>), else a date kept in the source.
pub const fn build_date() -> Timestamp {
    const SECONDS: i64 = match option_env!("SOURCE_DATE_EPOCH") {
        None => SOURCE_DATE_SECONDS,
        Some(text) => match i64::from_str_radix(text, 10) {
            Ok(seconds) => seconds,
            Err(_) => panic!("SOURCE_DATE_EPOCH is not a whole number of seconds"),
        },
    };
    Timestamp::from_millis(SECONDS * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_clock_is_past_the_build_date_and_runs_forward() {
        let (wall, steady) = (now(), monotonic());
        assert!(wall > build_date(), "{wall} is before the build date {}", build_date());
        assert!(now() >= wall && monotonic() >= steady);
    }
}
