//! When to try again (pure): jittered exponential back-off, and a breaker that lets one row through as a probe.
//!
//! Jitter after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), the "equal" kind: half of the
//! wait is fixed, half is random, so that many sinks do not hit a counterpart that comes back at once.

use std::time::Duration;

/// The wait after the first failure.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait of our own choice.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The longest wait a counterpart may ask for.
const ASKED_WAIT_MAX: Duration = Duration::from_secs(3600);
/// Failures in a row after which the breaker opens.
pub const FAILURES_TO_OPEN: u32 = 5;

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Everything.
    Closed,
    /// Nothing: the counterpart failed too often.
    Open,
    /// One row, to see whether the counterpart is back.
    HalfOpen,
}

/// The memory of a sink's failures.
#[derive(Clone, Debug)]
pub struct Retrier {
    failures: u32,
    breaker: Breaker,
    random: u64,
}

impl Retrier {
    /// One without failures; `seed` makes its jitter, the same for the same seed.
    pub fn new(seed: u64) -> Self {
        Self { failures: 0, breaker: Breaker::Closed, random: seed }
    }

    /// What may be sent now.
    pub fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes a success.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.breaker = Breaker::Closed;
    }

    /// Notes a failure; returns how long to wait, at least what the counterpart `asked` for (an hour at most).
    pub fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_TO_OPEN {
            self.breaker = Breaker::Open;
        }
        let wait = (FIRST_WAIT * 2_u32.pow(doublings)).min(WAIT_MAX);
        let jittered = wait / 2 + (wait / 2).mul_f64(self.fraction());
        jittered.max(asked.unwrap_or_default().min(ASKED_WAIT_MAX))
    }

    /// Notes that the wait is over: an open breaker lets a probe through.
    pub fn waited(&mut self) {
        if self.breaker == Breaker::Open {
            self.breaker = Breaker::HalfOpen;
        }
    }

    /// The next of a uniform sequence in [0, 1): SplitMix64 (Steele, Lea, Flood 2014).
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The upper 53 bits fill a double's mantissa.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_within_their_jitter() {
        for seed in 0..200 {
            let mut retrier = Retrier::new(seed);
            for full_ms in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000] {
                let full = Duration::from_millis(full_ms);
                let wait = retrier.failed(None);
                assert!(wait >= full / 2 && wait <= full, "seed {seed}: {wait:?} for {full:?}");
            }
        }
    }

    #[test]
    fn the_jitter_spreads() {
        let waits: Vec<_> = (0..100).map(|seed| Retrier::new(seed).failed(None).as_millis()).collect();
        assert!(waits.iter().any(|wait| *wait < 115) && waits.iter().any(|wait| *wait > 185), "{waits:?}");
    }

    #[test]
    fn a_counterpart_may_ask_for_more_but_not_for_ever() {
        for (asked_s, expected_s) in [(0, 0), (7, 7), (1_000_000, 3_600)] {
            let wait = Retrier::new(1).failed(Some(Duration::from_secs(asked_s)));
            assert_eq!(wait.as_secs(), expected_s);
        }
    }

    #[test]
    fn the_breaker_opens_probes_and_closes() {
        let mut retrier = Retrier::new(0);
        for _ in 1..FAILURES_TO_OPEN {
            retrier.failed(None);
            retrier.waited();
            assert_eq!(retrier.breaker(), Breaker::Closed);
        }
        retrier.failed(None);
        assert_eq!(retrier.breaker(), Breaker::Open);
        retrier.waited();
        assert_eq!(retrier.breaker(), Breaker::HalfOpen);
        retrier.failed(None);
        assert_eq!(retrier.breaker(), Breaker::Open, "a failed probe opens it again");
        retrier.waited();
        retrier.succeeded();
        assert_eq!((retrier.breaker(), retrier.failures()), (Breaker::Closed, 0));
    }

    #[test]
    fn endless_failure_does_not_overflow() {
        let mut retrier = Retrier::new(3);
        let waits = std::iter::repeat_with(|| retrier.failed(None)).take(100_000);
        assert!(waits.max() <= Some(WAIT_MAX));
    }
}
