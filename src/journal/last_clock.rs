//! The clock as it was last journalled, shared by all streams of a journal: ages count by it.

use std::sync::{Mutex, PoisonError};

use super::record::Clock;

/// The last clock that is durable in `readings`.
#[derive(Debug, Default)]
pub struct LastClock(Mutex<Clock>);

impl LastClock {
    /// Begins with what recovery found.
    pub fn new(clock: Clock) -> Self {
        Self(Mutex::new(clock))
    }

    /// The clock.
    pub fn get(&self) -> Clock {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time has passed.
    pub fn set(&self, clock: Clock) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = clock;
    }
}
