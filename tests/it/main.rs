//! Integration tests: one binary, so that the daemon is linked once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics, with the place")]

mod admin;
mod backtest;
mod backup;
mod coap;
mod crash;
mod disk_full;
mod demo;
mod engine;
mod faults;
mod harness;
mod house;
mod http;
mod journal_commands;
mod metrics;
mod mqtt;
mod oracle;
mod refusals;
mod reload;
mod replay;
mod retention;
mod sinks;
mod store;
