//! What the gateway says of itself: logs, metrics, and the one clock.
//!
//! Stands beside the data's path, below everything (layer 0): shells record here, pure modules do not.
//! [`facts`] is the usual door: one struct per observable fact, which logs and counts together. Counters on
//! the hot path are taken once as [`handles`] and bumped there.
//!
//! Levels: WARN means nothing was lost, ERROR means data was lost or a person must act. Logs go to stderr;
//! stdout belongs to the command's output.

pub mod clock;
pub mod facts;
mod forget;
pub mod handles;
mod limits;
pub mod logs;
pub mod metrics;
mod openmetrics;
mod process;

pub use facts::Fact;
pub use logs::LogFormat;
pub use metrics::Metrics;
