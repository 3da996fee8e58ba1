//! How long acknowledgements took.

use std::time::Duration;

/// Durations as they came.
#[derive(Debug, Default)]
pub struct Latencies {
    micros: Vec<u32>,
    /// Where the current interval begins.
    since: usize,
}

/// The middle and the slow end of some durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// Half took no longer.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
}

impl Latencies {
    /// One more.
    pub fn push(&mut self, took: Duration) {
        self.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// Those of the interval that ends now; `None` where there were none.
    pub fn take_interval(&mut self) -> Option<Quantiles> {
        let interval = quantiles(&self.micros[self.since..]);
        self.since = self.micros.len();
        interval
    }

    /// All of them.
    pub fn all(&self) -> Option<Quantiles> {
        quantiles(&self.micros)
    }
}

/// By nearest rank.
fn quantiles(micros: &[u32]) -> Option<Quantiles> {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    let rank = |percent: usize| (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    let at = |percent| sorted.get(rank(percent)).map(|micros| Duration::from_micros(u64::from(*micros)));
    Some(Quantiles { p50: at(50)?, p99: at(99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_interval_or_of_all() {
        let millis =
            |p50, p99| Some(Quantiles { p50: Duration::from_millis(p50), p99: Duration::from_millis(p99) });
        let mut latencies = Latencies::default();
        assert_eq!(latencies.take_interval(), None);
        (1..=100).rev().for_each(|took_ms| latencies.push(Duration::from_millis(took_ms)));
        assert_eq!(latencies.take_interval(), millis(50, 99));
        latencies.push(Duration::from_millis(200));
        assert_eq!(latencies.take_interval(), millis(200, 200));
        assert_eq!(latencies.all(), millis(51, 100));
    }
}
