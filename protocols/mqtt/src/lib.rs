//! MQTT 3.1.1 and 5 for publishers: the server side of a connection, and a small client.
//!
//! The crate owns what happens between a byte stream and a [`Host`]: handshake, keep alive, takeover,
//! QoS 0, 1 and 2 towards the server, wills, refusals. It owns no socket: the embedder accepts,
//! permits, wraps in TLS and hands over any `AsyncRead + AsyncWrite`.
//!
//! On the data's path it stands first: bytes become [`Message`]s, everything decoded from one socket
//! read goes to [`Host::publish`] as one burst, and what the host answers goes back as one write.
//!
//! Invariants:
//! - No PUBACK or PUBREC leaves before the host's verdict on that message; a verdict of
//!   [`Verdict::Later`] sends none at all.
//! - Acknowledgements leave in the order of their publishes.
//! - A connection holds at most [`BURSTS_WAITING_MAX`] bursts; beyond that the socket is not read.
//! - Nothing is buffered beyond a frame the fixed header of which was allowed; a body over the limit
//!   is never collected.
//! - No client can stop anything but its own connection: packet types and sizes are judged before the
//!   decoder runs, and a panic of the decoder ends one connection.
//! - There are no subscriptions here yet: SUBSCRIBE is answered with a failure code.
//!
//! Sources: MQTT 3.1.1 and MQTT 5.0 (OASIS). The codec is rumqttd's, behind a trait in `codec`; no
//! type of it is visible outside.

mod host;
pub use host::{
    Connect, Host, Message, Properties, Qos, Refusal, RefusalCode, Topic, Verdict, Version, Will,
};
mod error;
pub use error::{CloseReason, ConnectRefusal, DisconnectCode, Evidence, ProtocolError};
mod settings;
pub use settings::{BURST_BYTES_MAX, BURST_MESSAGES_MAX, BURSTS_WAITING_MAX, Settings};
mod topic;
pub use topic::TopicFault;
mod codec;
mod connection;
mod frame;
mod inflight;
mod registry;
pub use connection::Server;
pub mod client;
