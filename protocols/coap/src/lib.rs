//! CoAP (RFC 7252) over UDP: a server for devices that push data, and a small client.
//!
//! [`serve`] runs on a socket bound by the embedder and hands whole bursts of requests to a [`Host`].
//! A datagram's way through the crate:
//!
//! 1. `guard` checks the bytes: what is malformed never reaches the decoder;
//! 2. `exchange` knows the message ids seen: a retransmission gets the stored answer, not a second execution;
//! 3. [`Host::door`] may refuse for overload, before options and payload are decoded;
//! 4. `wire` decodes with coap-lite's `Packet`, the only place besides encoding that touches coap-lite;
//! 5. `blockwise` joins Block1 uploads (RFC 7959) into one body;
//! 6. [`Host::handle`] gets the burst, and its answers leave together. A request with a [`Fault`] (too large, no
//!    readable path) is in it too, so that the host may keep it before it is refused.
//!
//! `server` is the task that moves it, `block` the option value both directions share.
//!
//! Invariants: a success code is sent only after the host returned it (an empty ACK promises nothing), and
//! never for a request with a fault;
//! a message is handed to the host at most once while its id is remembered; every table has a limit.
//! Absent on purpose: Observe, DTLS, multicast, proxying, OSCORE, conditional requests (`If-Match`).

// What the embedder supplies and sees.
mod fault;
mod host;
mod message;
mod settings;

// The task, and what a datagram meets on its way, in order.
mod server;

mod guard;

mod exchange;

mod wire;

mod blockwise;

mod block;

// The other side.
pub mod client;

pub use client::Client;
pub use fault::Fault;
pub use host::{Dropped, Host};
pub use message::{Code, Method, Reliability, Request, Response, Token};
pub use server::serve;
pub use settings::{Settings, Timing, UploadLimits};
