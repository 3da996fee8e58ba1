//! Facts about room on disk.

use std::fmt::Display;

use tracing::{error, info, warn};

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

/// The disk is full, and the room kept back for that is given back.
pub struct BallastReleased<'a> {
    /// Who found it full: a stream, `state store`.
    pub by: &'a str,
    /// What it was told.
    pub error: &'a dyn Display,
    /// Bytes that must be free before messages are taken again.
    pub needed_bytes: u64,
}

impl Fact for BallastReleased<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.disk_ballast_released.inc();
        let Self { by, error, needed_bytes } = self;
        error!(by, %error, needed_bytes, "the disk is full: no message is taken until there is room");
    }
}

/// There is room on the disk again.
pub struct BallastRestored {
    /// Bytes kept back.
    pub bytes: u64,
}

impl Fact for BallastRestored {
    fn record(&self, _: &Metrics) {
        info!(kept_bytes = self.bytes, "there is room on the disk again, messages are taken");
    }
}

/// The gateway starts without room for what it keeps back.
pub struct BallastMissing<'a> {
    /// Bytes that must be free before messages are taken.
    pub needed_bytes: u64,
    /// Why it could not be made.
    pub error: &'a dyn Display,
}

impl Fact for BallastMissing<'_> {
    fn record(&self, _: &Metrics) {
        let Self { needed_bytes, error } = self;
        error!(%error, needed_bytes, "no room for the ballast: no message is taken until there is");
    }
}
