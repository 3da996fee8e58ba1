//! How connections go wrong and end, with the code each ending has on the wire.

use std::io;

use bytes::Bytes;

use crate::host::Version;
use crate::topic::TopicFault;

/// What a peer did that no version of the protocol allows, or that exceeds an announced limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The first packet is not a CONNECT.
    #[error("first packet has type {packet_type}, not CONNECT")]
    NotConnect {
        /// The upper four bits of the first byte.
        packet_type: u8,
    },
    /// A protocol level other than 4 and 5.
    #[error("protocol level {level} is not supported")]
    UnsupportedVersion {
        /// The level the client asked for.
        level: u8,
    },
    /// A client id that is too long or holds control characters.
    #[error("client id of {bytes} bytes is not acceptable")]
    ClientId {
        /// Its length.
        bytes: usize,
    },
    /// A packet type that a client may not send, or not now (a second CONNECT, AUTH).
    #[error("packet type {packet_type} is not allowed from a client")]
    Forbidden {
        /// The upper four bits of the first byte.
        packet_type: u8,
    },
    /// Bytes that are no packet.
    #[error("malformed packet of type {packet_type}: {detail}")]
    Malformed {
        /// The upper four bits of the first byte.
        packet_type: u8,
        /// What is wrong with it.
        detail: String,
    },
    /// A frame or payload over the limit; decided before its body is read.
    #[error("packet of {} bytes exceeds the limit of {bytes_max}", evidence.announced_bytes)]
    TooLarge {
        /// The limit it exceeds.
        bytes_max: usize,
        /// Topic and first bytes, as far as they are known.
        evidence: Box<Evidence>,
    },
    /// A PUBLISH to something that is no topic name.
    #[error("{fault}")]
    Topic {
        /// The rule it breaks.
        fault: TopicFault,
        /// The publish.
        evidence: Box<Evidence>,
    },
    /// A topic alias, though none is offered.
    #[error("topic alias {alias} exceeds the topic alias maximum of 0")]
    TopicAlias {
        /// The alias.
        alias: u16,
    },
    /// More unanswered publishes than announced.
    #[error("more than {receive_maximum} publishes in flight")]
    ReceiveMaximum {
        /// The limit announced.
        receive_maximum: u16,
    },
    /// The decoder panicked; the frame is dropped with the connection.
    #[error("decoder failed on a packet of type {packet_type}")]
    Decoder {
        /// The upper four bits of the first byte.
        packet_type: u8,
    },
}

/// A refused publish as far as it was read, for a dead letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Topic as received: perhaps not UTF-8, perhaps cut.
    pub topic: Bytes,
    /// Payload as received, its first [`Evidence::PAYLOAD_BYTES_MAX`] bytes.
    pub payload: Bytes,
    /// Length that the frame announced after its fixed header.
    pub announced_bytes: usize,
}

impl Evidence {
    /// Payload bytes kept at most.
    pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024;
}

impl ProtocolError {
    /// Short constant word for metrics and audit lines.
    pub fn label(&self) -> &'static str {
        match self {
            ProtocolError::NotConnect { .. } => "not_connect",
            ProtocolError::UnsupportedVersion { .. } => "version",
            ProtocolError::ClientId { .. } => "client_id",
            ProtocolError::Forbidden { .. } => "forbidden_packet",
            ProtocolError::Malformed { .. } => "malformed_packet",
            ProtocolError::TooLarge { .. } => "too_large",
            ProtocolError::Topic { .. } => "topic",
            ProtocolError::TopicAlias { .. } => "topic_alias",
            ProtocolError::ReceiveMaximum { .. } => "receive_maximum",
            ProtocolError::Decoder { .. } => "decoder",
        }
    }

    /// The refused publish, where there is one.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            ProtocolError::TooLarge { evidence, .. } | ProtocolError::Topic { evidence, .. } => {
                Some(evidence)
            }
            _ => None,
        }
    }

    /// The code of the DISCONNECT that answers it on MQTT 5.
    pub(crate) fn disconnect_code(&self) -> DisconnectCode {
        match self {
            ProtocolError::Malformed { .. } => DisconnectCode::MalformedPacket,
            ProtocolError::Topic { fault: TopicFault::NotUtf8 { .. }, .. } => DisconnectCode::MalformedPacket,
            ProtocolError::Topic { fault: TopicFault::Empty, .. } => DisconnectCode::ProtocolError,
            ProtocolError::Topic { .. } => DisconnectCode::TopicNameInvalid,
            ProtocolError::TooLarge { .. } => DisconnectCode::PacketTooLarge,
            ProtocolError::TopicAlias { .. } => DisconnectCode::TopicAliasInvalid,
            ProtocolError::ReceiveMaximum { .. } => DisconnectCode::ReceiveMaximumExceeded,
            ProtocolError::Decoder { .. } => DisconnectCode::Unspecified,
            ProtocolError::NotConnect { .. }
            | ProtocolError::UnsupportedVersion { .. }
            | ProtocolError::ClientId { .. }
            | ProtocolError::Forbidden { .. } => DisconnectCode::ProtocolError,
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// DISCONNECT: the will is discarded.
    #[error("client disconnected")]
    Disconnected,
    /// DISCONNECT that asks for the will (MQTT 5: any code but 0x00).
    #[error("client disconnected with its will")]
    DisconnectedWithWill,
    /// The peer closed the stream without DISCONNECT.
    #[error("peer closed the connection")]
    PeerClosed,
    /// The stream failed.
    #[error("connection failed: {0}")]
    Io(io::ErrorKind),
    /// No complete CONNECT within the deadline.
    #[error("no CONNECT in time")]
    ConnectDeadline,
    /// The host refused the CONNECT.
    #[error("connect refused: {0}")]
    Refused(ConnectRefusal),
    /// Nothing received for one and a half times the keep alive.
    #[error("keep alive expired")]
    KeepAlive,
    /// A frame was begun and not finished.
    #[error("a packet was not finished in time")]
    Stalled,
    /// The peer does not read what is sent to it.
    #[error("peer does not read")]
    WriteTimeout,
    /// Another connection came with the same client id.
    #[error("taken over by a connection with the same client id")]
    TakenOver,
    /// The embedder shuts down.
    #[error("server shuts down")]
    Shutdown,
    /// The host said [`crate::Verdict::Later`] and the client was held as long as it may be.
    #[error("overloaded, the client has to resend")]
    Overload,
    /// The host said [`crate::Verdict::Close`].
    #[error("closed by the host: {0:?}")]
    Host(DisconnectCode),
    /// The peer broke the protocol.
    #[error("protocol error: {0}")]
    Protocol(#[from] ProtocolError),
}

impl From<io::Error> for CloseReason {
    fn from(error: io::Error) -> Self {
        CloseReason::Io(error.kind())
    }
}

impl CloseReason {
    /// Short constant word for metrics and audit lines.
    pub fn label(&self) -> &'static str {
        match self {
            CloseReason::Disconnected => "disconnected",
            CloseReason::DisconnectedWithWill => "disconnected_with_will",
            CloseReason::PeerClosed => "peer_closed",
            CloseReason::Io(_) => "io",
            CloseReason::ConnectDeadline => "connect_deadline",
            CloseReason::Refused(_) => "refused",
            CloseReason::KeepAlive => "keep_alive",
            CloseReason::Stalled => "stalled",
            CloseReason::WriteTimeout => "write_timeout",
            CloseReason::TakenOver => "taken_over",
            CloseReason::Shutdown => "shutdown",
            CloseReason::Overload => "overload",
            CloseReason::Host(_) => "host",
            CloseReason::Protocol(_) => "protocol",
        }
    }

    /// The code of the last DISCONNECT to an MQTT 5 client; `None` where the peer is gone, ended it
    /// itself, or was never connected.
    pub(crate) fn disconnect_code(&self) -> Option<DisconnectCode> {
        match self {
            CloseReason::KeepAlive => Some(DisconnectCode::KeepAliveTimeout),
            CloseReason::Stalled => Some(DisconnectCode::Unspecified),
            CloseReason::TakenOver => Some(DisconnectCode::SessionTakenOver),
            CloseReason::Shutdown => Some(DisconnectCode::ServerShuttingDown),
            CloseReason::Overload => Some(DisconnectCode::QuotaExceeded),
            CloseReason::Host(code) => Some(*code),
            CloseReason::Protocol(error) => Some(error.disconnect_code()),
            _ => None,
        }
    }

    /// Whether writing to the peer makes sense.
    pub(crate) fn peer_listens(&self) -> bool {
        !matches!(self, CloseReason::Io(_) | CloseReason::WriteTimeout)
    }
}

/// Why a CONNECT is refused; becomes a CONNACK code on both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ConnectRefusal {
    /// 3.1.1: 1; 5: 0x84.
    #[error("unsupported protocol version")]
    UnsupportedVersion,
    /// 3.1.1: 2; 5: 0x85.
    #[error("client id not valid")]
    ClientIdInvalid,
    /// 3.1.1: 4; 5: 0x86.
    #[error("bad user name or password")]
    BadCredentials,
    /// 3.1.1: 5; 5: 0x87.
    #[error("not authorized")]
    NotAuthorized,
    /// 3.1.1: 3; 5: 0x88.
    #[error("server unavailable")]
    Unavailable,
    /// 3.1.1: 3; 5: 0x89.
    #[error("server busy")]
    Busy,
    /// 3.1.1: 5; 5: 0x8A.
    #[error("banned")]
    Banned,
    /// 3.1.1: 5; 5: 0x8C. Given for every CONNECT with an authentication method.
    #[error("authentication method not supported")]
    BadAuthenticationMethod,
    /// 3.1.1: 3; 5: 0x97.
    #[error("quota exceeded")]
    QuotaExceeded,
    /// 3.1.1: 3; 5: 0x9F.
    #[error("connection rate exceeded")]
    RateExceeded,
    /// 3.1.1: the connection is closed instead; 5: 0x90. The will's topic is no topic name.
    #[error("will topic not valid")]
    WillTopicInvalid,
    /// 3.1.1: the connection is closed instead; 5: 0x95. The CONNECT or its will is too large.
    #[error("packet too large")]
    TooLarge,
    /// 3.1.1: the connection is closed instead; 5: 0x81.
    #[error("malformed packet")]
    Malformed,
}

impl ConnectRefusal {
    /// Whether this version has a code for it; if not the connection is closed without CONNACK.
    pub(crate) fn can_be_told(self, version: Version) -> bool {
        version == Version::V5
            || !matches!(
                self,
                ConnectRefusal::WillTopicInvalid | ConnectRefusal::TooLarge | ConnectRefusal::Malformed
            )
    }
}

/// Reason codes of a DISCONNECT from server to client (MQTT 5.0 §3.14.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DisconnectCode {
    /// 0x80
    Unspecified = 0x80,
    /// 0x81
    MalformedPacket = 0x81,
    /// 0x82
    ProtocolError = 0x82,
    /// 0x83
    ImplementationSpecific = 0x83,
    /// 0x87
    NotAuthorized = 0x87,
    /// 0x89
    ServerBusy = 0x89,
    /// 0x8B
    ServerShuttingDown = 0x8B,
    /// 0x8D
    KeepAliveTimeout = 0x8D,
    /// 0x8E
    SessionTakenOver = 0x8E,
    /// 0x90
    TopicNameInvalid = 0x90,
    /// 0x93
    ReceiveMaximumExceeded = 0x93,
    /// 0x94
    TopicAliasInvalid = 0x94,
    /// 0x95
    PacketTooLarge = 0x95,
    /// 0x96
    MessageRateTooHigh = 0x96,
    /// 0x97
    QuotaExceeded = 0x97,
    /// 0x98
    AdministrativeAction = 0x98,
    /// 0x99
    PayloadFormatInvalid = 0x99,
}
