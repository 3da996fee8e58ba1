//! Connections over an in-memory stream, on paused time: what a peer sends, byte for byte, what the
//! host is handed and when, and what comes back.

#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

mod attacks;
mod client;
mod closing;
mod connecting;
mod harness;
mod publishing;
mod random;
