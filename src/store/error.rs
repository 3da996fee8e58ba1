//! Why the store failed, and what that asks of the caller: wait, rebuild, or stop.

use std::io;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room on the disk. Nothing is damaged; the same call works again once there is room.
    #[error("state store: no room on the disk: {0}")]
    Full(#[source] io::Error),
    /// The disk or its file system refused.
    #[error("state store: {0}")]
    Io(#[source] io::Error),
    /// What is stored is not what was written: the store must be rebuilt.
    #[error("state store: damaged: {0}")]
    Damaged(String),
    /// A newer program wrote it; nothing was touched.
    #[error("state store: {what} has format {format}, this program reads up to {reads}")]
    Newer {
        /// What has the format.
        what: String,
        /// The format found.
        format: u64,
        /// The newest format that this program reads.
        reads: u64,
    },
}

impl StoreError {
    /// Whether the store must be rebuilt: waiting does not help.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }

    /// Whether only a newer program can go on.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. })
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Io(error),
        }
    }
}
