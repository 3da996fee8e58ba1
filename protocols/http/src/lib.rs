//! HTTP/1.1 server for any byte stream: limits, deadlines, `application/problem+json`.
//!
//! The embedder owns accept, connection permits and TLS, and gives each stream to [`serve`]; it
//! answers through [`Host`]. A request goes: head parsed by hyper → [`Host::admit`] decides from the
//! head alone → body read under its limit and deadline → [`Host::handle`] → answer. What cannot go that way
//! ([`Host::too_large`], [`Host::bad_target`]) is shown to the host with its body's beginning, to be kept.
//!
//! Invariants:
//! - No body byte is waited for before `admit` said so; `100 Continue` goes out at that moment, not before.
//! - A body that arrives in one frame is handed over without copying; it never exceeds what `admit` allowed.
//! - Every wait for the peer has a deadline: idle, head, body, taking the answer, closing. Only
//!   [`Host::handle`] may take as long as it likes, and a peer that left does not cancel it.
//! - No type of hyper stands in a public signature.
//!
//! Sources: RFC 9110 (semantics), RFC 9112 (HTTP/1.1), RFC 9457 (problem details).

mod host;
mod server;

mod body;
mod exchange;
mod stream;
mod watch;

mod head;
mod problem;
mod response;
mod target;

pub use head::{Head, Method, Request};
pub use host::{Admission, BadTarget, CloseReason, Dropped, Host, Oversize, Settings};
pub use problem::Problem;
pub use response::{Response, Status};
pub use server::serve;
pub use target::{Segments, TargetError};
