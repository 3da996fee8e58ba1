//! How the gateway is doing: the snapshot behind `/api/v1/status` and `forebay status`.

use serde::{Deserialize, Serialize};

use crate::model::Offset;

/// The path of the snapshot.
pub const PATH: &str = "/api/v1/status";

/// A snapshot of a running gateway. What a gateway of another version does not say reads as empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// `id` of `[gateway]`.
    pub gateway: String,
    /// The program's version.
    pub version: String,
    /// Hash of the configuration in force.
    pub config_hash: String,
    /// Seconds since the start.
    pub uptime_seconds: f64,
    /// Why nothing is taken at present; `None`: the gateway is ready.
    pub not_ready: Option<String>,
    /// Why no lane runs at present; `None`: they run.
    pub lanes_wait: Option<String>,
    /// What devices can reach, in the order of the configuration.
    pub listeners: Vec<ListenerStatus>,
    /// The journal's streams.
    pub streams: Vec<StreamStatus>,
    /// The lanes.
    pub lanes: Vec<LaneStatus>,
    /// The sinks, in the order of the configuration.
    pub sinks: Vec<SinkStatus>,
    /// The alerts, in the order of the configuration.
    pub alerts: Vec<AlertStatus>,
    /// Free bytes of the data directory's file system.
    pub disk_free_bytes: u64,
}

/// A listener and one of its addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// The table's name.
    pub name: String,
    /// The protocol.
    pub kind: String,
    /// Where it is bound: the port the system gave, where the configuration says 0.
    pub address: String,
}

/// A stream of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// `readings`, `results`, `dead-letters`.
    pub name: String,
    /// The first offset that is not durable yet.
    pub durable: Offset,
    /// The oldest offset kept.
    pub oldest: Offset,
    /// Bytes waiting to be written.
    pub queued_bytes: u64,
    /// Whether a write or sync failed, so that nothing is taken.
    pub failed: bool,
}

/// A lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneStatus {
    /// The lane's name.
    pub name: String,
    /// The next reading to be processed.
    pub position: Offset,
    /// Results of all readings before it are durable.
    pub emitted: Offset,
    /// States of all readings before it are durable.
    pub checkpoint: Offset,
    /// Durable records not processed.
    pub lag_records: u64,
    /// Age of the oldest of them.
    pub lag_seconds: f64,
}

/// A sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// The table's name.
    pub name: String,
    /// Records not confirmed by the counterpart.
    pub lag_records: u64,
    /// Age of the oldest of them.
    pub lag_seconds: f64,
    /// Whether deliveries are held back after failures.
    pub breaker_open: bool,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertStatus {
    /// The table's name.
    pub name: String,
    /// Keys it fires for now.
    pub firing: u64,
}
