//! Facts about room on disk.

use tracing::{info, warn};

use super::Fact;
use crate::telemetry::Metrics;

/// The room on disk has changed, and with it who is taken.
pub struct DiskLevelChanged {
    /// 0: everybody is taken; 1: bulk sources are put off; 2: all but alarm sources are.
    pub scarcity: u8,
    /// Whether there is less room than before.
    pub is_worse: bool,
    /// Free bytes of the file system.
    pub free_bytes: u64,
}

impl Fact for DiskLevelChanged {
    fn record(&self, metrics: &Metrics) {
        metrics.disk_level.set(i64::from(self.scarcity));
        let put_off = match self.scarcity {
            0 => "nobody",
            1 => "bulk sources",
            _ => "all but alarm sources",
        };
        let free_bytes = self.free_bytes;
        if self.is_worse {
            warn!(put_off, free_bytes, "room on disk runs out, senders keep their messages");
        } else {
            info!(put_off, free_bytes, "there is more room on disk again");
        }
    }
}
