//! What an embedder supplies and what it is handed: the [`Host`] trait and the types that cross it.
//!
//! These are domain types: a [`Topic`] is checked, a [`Qos`] is one of three, and nothing of the wire
//! (flags, property numbers, rumqttd's types) is left in them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{CloseReason, ConnectRefusal, DisconnectCode, ProtocolError};
use crate::topic::{self, TopicFault};

/// The embedder: decides who may connect and what becomes of each message.
pub trait Host: Send + Sync + 'static {
    /// What the host knows of an accepted client.
    type Session: Send + Sync + 'static;

    /// Decides on a CONNECT that is well formed. The client id is never empty here.
    ///
    /// # Errors
    /// The refusal is put into the CONNACK and the connection ends.
    fn connect(
        &self,
        request: Connect,
    ) -> impl Future<Output = Result<Arc<Self::Session>, ConnectRefusal>> + Send;

    /// Takes a burst; resolves when each message is durable or finally refused, with one verdict per
    /// message in the same order. A missing verdict counts as [`Verdict::Later`].
    ///
    /// Waiting here is the backpressure: with [`crate::BURSTS_WAITING_MAX`] calls unresolved the socket
    /// is not read. The calls of one connection are first polled in the order of their messages, and
    /// then concurrently. A call is not dropped because the client leaves, only if it takes longer than
    /// [`crate::Settings::drain_timeout`] after that.
    ///
    /// The buffers of a burst are one allocation of its size; copy what outlives the verdict by long.
    fn publish(
        &self,
        session: &Arc<Self::Session>,
        burst: Vec<Message>,
    ) -> impl Future<Output = Vec<Verdict>> + Send;

    /// The connection of an accepted client is over: all its bursts, the will included, are settled.
    /// With a takeover the successor's `connect` comes first.
    fn closed(&self, session: &Arc<Self::Session>, reason: &CloseReason);

    /// The peer broke the protocol; the connection ends. `session` is `None` before the CONNACK.
    /// A content-like offence carries [`crate::Evidence`] so that it can be kept as a dead letter: the
    /// connection waits for this future (at most `drain_timeout`) before it answers.
    fn protocol_error(
        &self,
        peer: Option<SocketAddr>,
        session: Option<&Arc<Self::Session>>,
        error: &ProtocolError,
    ) -> impl Future<Output = ()> + Send;
}

/// Protocol version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol level 5.
    V5,
}

/// Quality of service of a publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// At most once: no acknowledgement exists.
    #[default]
    AtMostOnce,
    /// At least once: PUBACK.
    AtLeastOnce,
    /// Exactly once: PUBREC, PUBREL, PUBCOMP.
    ExactlyOnce,
}

impl Qos {
    /// The two bits of the wire; `None` for 3, which no version allows.
    pub(crate) const fn from_bits(bits: u8) -> Option<Qos> {
        match bits {
            0 => Some(Qos::AtMostOnce),
            1 => Some(Qos::AtLeastOnce),
            2 => Some(Qos::ExactlyOnce),
            _ => None,
        }
    }
}

/// A topic name: UTF-8, not empty, without wildcards and NUL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Topic(Bytes);

impl Topic {
    /// Checks the bytes of a topic name.
    ///
    /// # Errors
    /// Says which rule of MQTT 5.0 §4.7 the name breaks.
    pub fn new(bytes: Bytes) -> Result<Topic, TopicFault> {
        topic::check_name(&bytes)?;
        Ok(Topic(bytes))
    }

    /// Wraps a name that [`topic::check_name`] passed.
    pub(crate) fn checked(bytes: Bytes) -> Topic {
        debug_assert!(topic::check_name(&bytes).is_ok());
        Topic(bytes)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("a topic is checked when it is made")
    }

    /// The name as bytes that share the burst's buffer.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// A CONNECT as the host sees it.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The client's id, or the one assigned to it because it sent none.
    pub client_id: String,
    /// Version the client speaks.
    pub version: Version,
    /// User name; `None` if absent or empty.
    pub username: Option<String>,
    /// Password; `None` if absent or empty. It must be UTF-8, a limit of the codec.
    pub password: Option<String>,
    /// Remote address as told by the embedder.
    pub peer: Option<SocketAddr>,
    /// Clean session (3.1.1) or clean start (5).
    pub clean: bool,
    /// Keep alive in seconds; 0 switches it off.
    pub keep_alive_s: u16,
    /// Message to publish for the client when it leaves without DISCONNECT.
    pub will: Option<Will>,
}

impl fmt::Debug for Connect {
    /// Leaves the password out, so that no log can hold it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("version", &self.version)
            .field("username", &self.username)
            .field("peer", &self.peer)
            .field("clean", &self.clean)
            .field("keep_alive_s", &self.keep_alive_s)
            .field("will", &self.will)
            .finish_non_exhaustive()
    }
}

/// A will. It reaches [`Host::publish`] as an ordinary message with `is_will` when the connection ends
/// in any way but a DISCONNECT that discards it. A will delay is not observed: sessions end with their
/// connection, and then MQTT 5.0 §3.1.3.2.2 sends the will at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where to.
    pub topic: Topic,
    /// What.
    pub payload: Bytes,
    /// Quality of service asked for; nobody waits for an acknowledgement.
    pub qos: Qos,
    /// Whether it is to be retained.
    pub retain: bool,
    /// MQTT 5 properties, if any.
    pub properties: Option<Box<Properties>>,
}

/// One publish of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub topic: Topic,
    /// What.
    pub payload: Bytes,
    /// MQTT 5 properties; `None` if there are none.
    pub properties: Option<Box<Properties>>,
    /// Quality of service.
    pub qos: Qos,
    /// Packet id; 0 with QoS 0 and for a will.
    pub packet_id: u16,
    /// The client says that it may have sent this before.
    pub dup: bool,
    /// The client wants it retained.
    pub retain: bool,
    /// A will, not a PUBLISH.
    pub is_will: bool,
}

/// MQTT 5 properties of a publish or a will.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// MIME type of the payload.
    pub content_type: Option<String>,
    /// Payload format indicator 1: the client says the payload is UTF-8.
    pub payload_is_utf8: bool,
    /// Seconds after which the message is worthless.
    pub expiry_s: Option<u32>,
    /// Topic for an answer.
    pub response_topic: Option<String>,
    /// What to put into the answer.
    pub correlation_data: Option<Bytes>,
    /// Name and value pairs in the client's order.
    pub user: Vec<(String, String)>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Durable: acknowledged.
    Accepted,
    /// Finally refused, its dead letter is durable: acknowledged with a reason code on MQTT 5, plainly
    /// on 3.1.1, which has no refusal (closing would make the client resend the same message for ever).
    Refused(Refusal),
    /// Not now: no acknowledgement, so that the client's duty to resend stays. The socket is not read
    /// for half the keep alive, then the connection is closed (MQTT 5: DISCONNECT 0x97). With QoS 0 the
    /// message is gone, and the connection goes on.
    Later,
    /// Not acknowledged; the connection is closed with this code after the verdicts before it are sent.
    Close(DisconnectCode),
}

/// A final refusal of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Reason code of the PUBACK or PUBREC.
    pub code: RefusalCode,
    /// Reason string for people; may be empty. Cut to 512 bytes, left out if the client asked for none.
    pub reason: String,
}

/// The reason codes that MQTT 5.0 allows in a PUBACK or PUBREC (§3.4.2.1) and a host may choose.
/// 0x95 is not among them: use [`Verdict::Close`] for a message that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// 0x80: none of the others.
    Unspecified,
    /// 0x83: valid, but not for this server.
    ImplementationSpecific,
    /// 0x87: the client may not publish this.
    NotAuthorized,
    /// 0x90: no such topic here.
    TopicNameInvalid,
    /// 0x97: a limit was exceeded.
    QuotaExceeded,
    /// 0x99: the payload is not what it should be.
    PayloadFormatInvalid,
}
