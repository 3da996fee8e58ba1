//! Tells a courier to end: for good, or because another one goes on with its sink.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// Tells a courier to end. Clones are told together.
#[derive(Clone, Default)]
pub struct Stop {
    told: CancellationToken,
    has_heir: Arc<AtomicBool>,
}

impl Stop {
    /// The courier delivers what is there, as far as that goes at once, and ends.
    pub fn drain(&self) {
        self.told.cancel();
    }

    /// The courier ends after what it is delivering: another one goes on from its cursors.
    pub fn hand_over(&self) {
        self.has_heir.store(true, Ordering::Release);
        self.told.cancel();
    }

    /// Waits until the courier is to end.
    pub(super) async fn told(&self) {
        self.told.cancelled().await;
    }

    /// Whether another courier takes over.
    pub(super) fn has_heir(&self) -> bool {
        self.has_heir.load(Ordering::Acquire)
    }
}
