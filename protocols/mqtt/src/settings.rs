//! Limits and deadlines of connections, each with its default and the reason for it.

use std::time::Duration;

/// Messages in a burst at most: the unit the journal behind the host is laid out for.
pub const BURST_MESSAGES_MAX: usize = 256;
/// Bytes of frames in a burst at most, except that one larger frame is a burst of its own.
pub const BURST_BYTES_MAX: usize = 64 * 1024;
/// Bursts that may wait for the host; with more the socket is not read.
pub const BURSTS_WAITING_MAX: usize = 4;

/// What of a PUBLISH may come on top of the payload: topic and properties.
pub(crate) const PUBLISH_HEAD_BYTES_MAX: usize = 4 * 1024;
/// CONNECT frame at most: held before anybody is authenticated, so it is small; wills count into it.
pub(crate) const CONNECT_BYTES_MAX: usize = 16 * 1024;
/// Any other frame at most: filters of a SUBSCRIBE, reason strings.
pub(crate) const CONTROL_BYTES_MAX: usize = 16 * 1024;
/// Reason string at most, so that an answer stays far below any client's packet limit.
pub(crate) const REASON_BYTES_MAX: usize = 512;

/// Limits of the connections of one [`crate::Server`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Payload at most, in bytes. A frame that announces more than this plus 4 KiB for topic and
    /// properties is refused from its fixed header.
    pub max_message_bytes: usize,
    /// Receive Maximum announced to MQTT 5 clients, at least 1: QoS 1 and 2 publishes without final answer. On
    /// 3.1.1, which cannot announce it, it bounds unreleased QoS 2 packet ids.
    ///
    /// Default 1024 = 4 bursts of 256: the most that may wait for the host; a larger window would only
    /// fill socket buffers. With a sync every 3 ms it lets one connection do 340,000 messages/s.
    pub receive_maximum: u16,
    /// Client id at most, in bytes.
    pub client_id_bytes_max: usize,
    /// From accept to a complete CONNECT.
    pub connect_deadline: Duration,
    /// A write that makes no end: the peer does not read; the connection is closed.
    pub write_timeout: Duration,
    /// A frame begun and not continued for so long: the connection is closed.
    pub stall_timeout: Duration,
    /// How long a closing connection waits for bursts that the host has not answered.
    pub drain_timeout: Duration,
    /// How long a closed connection is read and discarded, so that the peer sees the last words instead
    /// of a reset.
    pub linger: Duration,
    /// How long a connection is held unread after [`crate::Verdict::Later`] at most, and without a keep
    /// alive.
    pub hold_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_message_bytes: 1024 * 1024,
            receive_maximum: 1024,
            client_id_bytes_max: 256,
            connect_deadline: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            linger: Duration::from_millis(500),
            hold_max: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// The Maximum Packet Size of the CONNACK, without the fixed header.
    pub(crate) fn max_remaining_bytes(&self) -> usize {
        self.max_message_bytes + PUBLISH_HEAD_BYTES_MAX
    }
}
