//! The byte budget in front of a stream's writer: it bounds what waits, and can shrink while it is in use.
//!
//! What is taken beyond a shrunken budget stays valid; it is withheld as it comes back, before anybody who waits
//! gets it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::Refused;

/// The smallest budget, as a part of the full one.
const SMALLEST_PART: usize = 4;

/// A budget in bytes.
#[derive(Debug)]
pub struct Budget {
    permits: Semaphore,
    bytes_max: usize,
    withheld: Mutex<Withheld>,
}

/// Bytes of the full budget that are out of use.
#[derive(Debug, Default)]
struct Withheld {
    wanted: usize,
    taken: usize,
}

/// A part of a budget; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A full budget of `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        let permits = Semaphore::new(bytes_max);
        Self { permits, bytes_max, withheld: Mutex::default() }
    }

    /// Waits for `bytes`, or for the smallest budget where that is less: so no append waits for ever.
    pub async fn take(self: &Arc<Self>, bytes: usize) -> Result<Permit, Refused> {
        let bytes = bytes.min(self.bytes_max / SMALLEST_PART);
        let permits = self.permits.acquire_many(bytes as u32).await.map_err(|_| Refused::Closed)?;
        permits.forget();
        Ok(Permit { budget: self.clone(), bytes })
    }

    /// Makes the budget this part of the full one, from a quarter to all of it.
    pub fn set(&self, fraction: f64) {
        let least = self.bytes_max / SMALLEST_PART;
        let bytes = ((self.bytes_max as f64 * fraction) as usize).clamp(least, self.bytes_max);
        let mut withheld = self.withheld();
        withheld.wanted = self.bytes_max - bytes;
        if let Some(surplus) = withheld.taken.checked_sub(withheld.wanted) {
            withheld.taken = withheld.wanted;
            self.permits.add_permits(surplus);
        } else {
            withheld.taken += self.permits.forget_permits(withheld.wanted - withheld.taken);
        }
    }

    /// Bytes taken.
    pub fn used_bytes(&self) -> usize {
        let withheld = self.withheld();
        self.bytes_max.saturating_sub(withheld.taken + self.permits.available_permits())
    }

    /// Bytes that may be taken at the present size.
    pub fn bytes(&self) -> usize {
        self.bytes_max - self.withheld().wanted
    }

    fn give_back(&self, bytes: usize) {
        let mut withheld = self.withheld();
        let owed = withheld.wanted.saturating_sub(withheld.taken).min(bytes);
        withheld.taken += owed;
        self.permits.add_permits(bytes - owed);
    }

    fn withheld(&self) -> MutexGuard<'_, Withheld> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn take(budget: &Arc<Budget>, bytes: usize) -> Option<Permit> {
        budget.take(bytes).now_or_never().map(|taken| taken.expect("open"))
    }

    #[test]
    fn a_budget_shrinks_to_a_quarter_and_grows_again() {
        let budget = Arc::new(Budget::new(1000));
        for (fraction, bytes) in [(0.5, 500), (0.0, 250), (f64::NAN, 250), (7.0, 1000), (1.0, 1000)] {
            budget.set(fraction);
            assert_eq!((budget.bytes(), budget.used_bytes()), (bytes, 0), "{fraction}");
        }
    }

    #[test]
    fn what_is_taken_when_it_shrinks_is_withheld_before_anybody_who_waits_gets_it() {
        let budget = Arc::new(Budget::new(1000));
        let mut taken: Vec<_> = (0..4).map(|_| take(&budget, 250).expect("room")).collect();
        budget.set(0.5);
        assert_eq!((budget.bytes(), budget.used_bytes()), (500, 1000));
        let mut waiting = Box::pin(budget.take(250));
        assert!(waiting.as_mut().now_or_never().is_none());
        taken.pop();
        taken.pop();
        assert!(waiting.as_mut().now_or_never().is_none(), "both are owed");
        taken.pop();
        assert!(waiting.as_mut().now_or_never().is_some());
        drop(waiting);
        taken.clear();
        assert_eq!((budget.bytes(), budget.used_bytes()), (500, 0));
        budget.set(1.0);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn an_append_larger_than_the_smallest_budget_still_gets_through() {
        let budget = Arc::new(Budget::new(1000));
        budget.set(0.0);
        assert!(take(&budget, 5000).is_some());
        assert_eq!(budget.used_bytes(), 0, "given back");
    }
}
