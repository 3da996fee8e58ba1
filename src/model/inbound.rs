//! What a listener hands to intake: one message, whatever the protocol.

use std::sync::Arc;

use bytes::Bytes;

use super::Timestamp;

/// The protocol a message came by; also the metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// MQTT 3.1.1 or 5.
    Mqtt,
    /// CoAP over UDP.
    Coap,
    /// HTTP.
    Http,
    /// The `backtest` command: no socket at all.
    Backtest,
}

impl Protocol {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Coap => "coap",
            Self::Http => "http",
            Self::Backtest => "backtest",
        }
    }
}

/// What the sender said of the payload's format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// Nothing, or something that says nothing (octet-stream, text/plain, curl's form type).
    Unsaid,
    /// A media type, lower case, without parameters: `application/senml+json`.
    Type(Arc<str>),
    /// A CoAP Content-Format number.
    ContentFormat(u16),
}

/// A message's identity for duplicate detection: an 8-byte hash over what the protocol calls "the same message".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The sender gave none.
    None,
    /// Remembered, but a first transmission: not looked up (MQTT QoS 1 without DUP).
    Remember(u64),
    /// Remembered and looked up: a known one is acknowledged like its original and not processed.
    Match(u64),
    /// As [`Self::Match`], but only an original that arrived within so many seconds counts: afterwards the
    /// protocol gives its ids to other messages (CoAP).
    MatchWithin(u64, u32),
}

impl Identity {
    /// The hash, if there is one.
    pub const fn hash(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Remember(hash) | Self::Match(hash) | Self::MatchWithin(hash, _) => Some(hash),
        }
    }

    /// Whether it is looked up.
    pub const fn is_looked_up(self) -> bool {
        matches!(self, Self::Match(_) | Self::MatchWithin(..))
    }
}

/// One message as received.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// The protocol.
    pub protocol: Protocol,
    /// Who sent it: a user, or `anonymous`.
    pub principal: Arc<str>,
    /// The topic path without a leading slash: `fleet/v17/telemetry`.
    pub topic: Arc<str>,
    /// What the sender said of the format.
    pub media: Media,
    /// The payload.
    pub payload: Bytes,
    /// Arrival by the gateway's clock.
    pub received: Timestamp,
    /// For duplicate detection.
    pub identity: Identity,
}
