//! A refused message, kept with its bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::{Identity, Reason, Timestamp};

/// A refused message as it goes to the `dead-letters` stream.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The source that refused it; empty where none matched.
    pub source: Arc<str>,
    /// Why.
    pub reason: Reason,
    /// What and where: starts with a JSON pointer, record or line where there is one.
    pub detail: String,
    /// The topic path.
    pub topic: Arc<str>,
    /// Who sent it.
    pub principal: Arc<str>,
    /// Arrival by the gateway's clock.
    pub received: Timestamp,
    /// The line of a backtest input or NDJSON body, from 1.
    pub line: Option<u64>,
    /// The original bytes; for `too_large` the first [`KEPT_BYTES_MAX`].
    pub payload: Bytes,
    /// Length of the message as sent, where that is more than what is kept.
    pub length_bytes: u64,
    /// For duplicate detection.
    pub identity: Identity,
}

/// What is kept of a message that is too large.
pub const KEPT_BYTES_MAX: usize = 4096;
