//! Every limit and every time of the server, with its default and the reason for it.

use std::time::Duration;

/// Limits and times of [`serve`](crate::serve).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The largest body, whether in one datagram or in blocks; beyond it 4.13. Default 64 KiB.
    pub body_bytes_max: usize,
    /// The most datagrams read before the host is called. Default 256.
    pub burst_datagrams_max: usize,
    /// Once so many bytes are read, the host is called. Default 64 KiB.
    pub burst_bytes_max: usize,
    /// Bursts the host may be working on; at the limit the socket is not read, and the kernel's buffer is
    /// the queue. Default 8.
    pub bursts_in_flight_max: usize,
    /// Message ids remembered, about 270 bytes each (measured). At the limit the oldest finished one is forgotten
    /// early; if none is finished, the newcomer gets 5.03. Default 131,072: 530 messages/s for the full 247 s.
    pub exchanges_max: usize,
    /// Separate responses retransmitted at a time; beyond it one is sent once only. Default 16,384.
    pub separates_max: usize,
    /// Limits of Block1 uploads.
    pub uploads: UploadLimits,
    /// Times of the message layer.
    pub timing: Timing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 * 1024,
            burst_datagrams_max: 256,
            burst_bytes_max: 64 * 1024,
            bursts_in_flight_max: 8,
            exchanges_max: 131_072,
            separates_max: 16_384,
            uploads: UploadLimits::default(),
            timing: Timing::default(),
        }
    }
}

/// Limits of unfinished Block1 uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadLimits {
    /// Uploads of one endpoint at a time. Default 4.
    pub per_endpoint_max: usize,
    /// Uploads of all endpoints at a time. Default 1,024.
    pub uploads_max: usize,
    /// Bytes held by all uploads. Default 16 MiB.
    pub bytes_max: usize,
    /// An upload without a block for so long is forgotten. Default 60 s.
    pub idle: Duration,
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self {
            per_endpoint_max: 4,
            uploads_max: 1_024,
            bytes_max: 16 * 1024 * 1024,
            idle: Duration::from_secs(60),
        }
    }
}

/// Times of the message layer (RFC 7252 §4.8); the defaults are the RFC's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// A host that answers within this time is piggy-backed on the ACK. Default 1 s, half of a client's
    /// ACK_TIMEOUT.
    pub piggyback: Duration,
    /// ACK_TIMEOUT, multiplied by a random 1 to 1.5 and doubled on every retransmission. Default 2 s.
    pub ack_timeout: Duration,
    /// MAX_RETRANSMIT. Default 4.
    pub retransmits_max: u32,
    /// EXCHANGE_LIFETIME: how long a confirmable message's id is remembered. Default 247 s.
    pub exchange_lifetime: Duration,
    /// NON_LIFETIME: the same for a non-confirmable message. Default 145 s.
    pub non_lifetime: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            piggyback: Duration::from_secs(1),
            ack_timeout: Duration::from_secs(2),
            retransmits_max: 4,
            exchange_lifetime: Duration::from_secs(247),
            non_lifetime: Duration::from_secs(145),
        }
    }
}
