//! Keeps a flood of facts from becoming a flood of log lines. Counting is never limited.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::clock;

/// Most different places remembered by [`Once`]; a configuration has fewer rules than this.
const PLACES_MAX: usize = 4096;

/// The limits of one gateway's log, one for each fact that a sender or a counterpart can repeat at will.
#[derive(Default)]
pub(super) struct LogLimits {
    pub(super) refused: Throttle,
    pub(super) denied: Throttle,
    pub(super) late: Throttle,
    pub(super) retries: Throttle,
    pub(super) rejected: Throttle,
    pub(super) expressions: Once,
}

/// Lets one line through a second and counts the others.
#[derive(Default)]
pub(super) struct Throttle {
    start: OnceLock<Instant>,
    /// Nanoseconds after `start` from which a line may pass again.
    next_nanos: AtomicU64,
    suppressed: AtomicU64,
}

impl Throttle {
    const EVERY: Duration = Duration::from_secs(1);

    /// `Some(n)` if a line may be written now: `n` were held back since the one before.
    pub(super) fn admit(&self) -> Option<u64> {
        self.admit_at(clock::monotonic())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let start = *self.start.get_or_init(|| now);
        let nanos = now.saturating_duration_since(start).as_nanos() as u64;
        let next = self.next_nanos.load(Ordering::Relaxed);
        let until = nanos + Self::EVERY.as_nanos() as u64;
        let passes = nanos >= next
            && self.next_nanos.compare_exchange(next, until, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if passes {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Lets one line through for each place, for ever.
#[derive(Default)]
pub(super) struct Once(Mutex<HashSet<Box<str>>>);

impl Once {
    /// Whether `place` has not been seen before.
    pub(super) fn admit(&self, place: &str) -> bool {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !places.contains(place) && places.len() < PLACES_MAX && places.insert(place.into())
    }

    /// Forgets all places: the rules have changed.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_with_the_number_held_back() {
        let (throttle, start) = (Throttle::default(), clock::monotonic());
        let at = |millis| throttle.admit_at(start + Duration::from_millis(millis));
        let seen = [0, 1, 999, 1000, 1001, 5000].map(at);
        assert_eq!(seen, [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn each_place_once_until_the_rules_change() {
        let once = Once::default();
        assert_eq!([once.admit("a"), once.admit("a"), once.admit("b")], [true, false, true]);
        once.forget();
        assert!(once.admit("a"));
    }
}
