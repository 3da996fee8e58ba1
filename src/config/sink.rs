//! `[[route]]` and `[sink]`: which outputs go where.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::model::Severity;

/// Which outputs go to which sinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The kind of output; `None`: results, alerts.
    pub of: Option<OutputKind>,
    /// Only of these pipelines or sources; empty: any.
    pub from: Vec<Arc<str>>,
    /// Only these alerts; empty: any.
    pub alert: Vec<Arc<str>>,
    /// Only alerts of these severities; empty: any.
    pub severity: Vec<Severity>,
    /// Names of the sinks.
    pub to: Vec<Arc<str>>,
    /// Whether later routes are not looked at.
    pub is_final: bool,
}

/// What can be routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputKind {
    /// Readings as they were journalled.
    Reading,
    /// Window results.
    Result,
    /// Alert changes.
    Alert,
    /// Readings too late for their windows.
    Late,
    /// Refused messages.
    DeadLetter,
}

/// Where outputs go.
#[derive(Debug)]
pub struct Sink {
    /// The table's name.
    pub name: Arc<str>,
    /// The kind with its own settings.
    pub kind: SinkKind,
    /// How far the sink may fall behind before its cursor moves on with a gap.
    pub max_lag: MaxLag,
    /// What happens then.
    pub on_max_lag: OnMaxLag,
    /// Alerts older than this are not sent after an outage.
    pub max_age: Duration,
    /// Where a new sink starts.
    pub start: Start,
}

/// How far behind a sink may fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxLag {
    /// Half of the stream's bytes.
    HalfOfStream,
    /// This many bytes.
    Bytes(u64),
    /// This long.
    Age(Duration),
}

/// What happens to a sink that is too far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMaxLag {
    /// Its cursor moves on, with a gap, a metric and an alert.
    Gap,
    /// The stream is kept for it, whatever else that stops.
    Hold,
}

/// Where a new reader of a stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the tail.
    Now,
    /// At the oldest record kept.
    Earliest,
}

/// A sink's kind with its own settings.
#[derive(Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// NDJSON, rotated, exactly once.
    File(FileSink),
    /// InfluxDB 1.x line protocol over HTTP.
    Influxdb(InfluxdbSink),
    /// JSON by POST.
    Webhook(WebhookSink),
}

/// `kind = "file"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSink {
    /// The file; rotated ones are `.1`, `.2`, ….
    pub path: PathBuf,
    /// Size at which it is rotated.
    pub rotate_bytes: u64,
    /// Rotated files kept.
    pub keep: usize,
}

/// `kind = "influxdb"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfluxdbSink {
    /// Base URL.
    pub url: String,
    /// Database name.
    pub database: String,
    /// User and password, if any.
    pub credentials: Option<(String, Secret)>,
    /// Whether a point's time is the window's end instead of its start.
    pub time: PointTime,
}

/// Which end of a window a point's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PointTime {
    /// The window's start.
    Start,
    /// The window's end.
    End,
}

/// `kind = "webhook"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSink {
    /// Where to POST.
    pub url: String,
    /// Extra headers.
    pub headers: Vec<(String, Secret)>,
    /// Key of the HMAC-SHA256 signature, if any.
    pub secret: Option<Secret>,
    /// Time limit of one request.
    pub timeout: Duration,
}

/// A secret: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
