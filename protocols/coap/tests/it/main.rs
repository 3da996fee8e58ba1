//! The server and the client over loopback sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod blocks;
mod client;
mod harness;
mod server;
