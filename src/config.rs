//! What a checked configuration says. Only `config::check` makes one; the file's shape is `config::raw`.
//!
//! Names refer to things that exist, durations and sizes are in range, expressions are compiled: whoever
//! holds a [`Config`] need not check again.
//!
//! The way of a file: `load` reads it, `document` finds tables and places in it, `raw` is their shape, `check`
//! makes the [`Config`] or says everything that is wrong (`problem`); `later` names what is promised only. What
//! differs between two is [`change`]'s to say.

pub mod change;
mod check;
mod document;
mod generation;
mod later;
mod load;
mod problem;
mod raw;
mod scalar;

#[cfg(test)]
mod tests;

pub use load::{admin_socket, from_record, from_text, load};
pub use problem::{Problem, Problems};
pub(crate) use scalar::duration;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::expr::{Names, Program};
use crate::model::{Severity, Timestamp};

/// A whole configuration.
#[derive(Debug)]
pub struct Config {
    /// `[gateway]`.
    pub gateway: Gateway,
    /// `[journal]`.
    pub journal: Journal,
    /// `[listen.*]`, in file order.
    pub listeners: Vec<Listener>,
    /// `[access]`.
    pub access: Access,
    /// `[source.*]`, in file order: the first match takes a message.
    pub sources: Vec<Source>,
    /// `[pipeline.*]`, in file order.
    pub pipelines: Vec<Pipeline>,
    /// `[alert.*]`, in file order.
    pub alerts: Vec<Alert>,
    /// `[[route]]`, in file order, then one for each `to`.
    pub routes: Vec<Route>,
    /// `[sink.*]`, in file order.
    pub sinks: Vec<Sink>,
    /// The text of all files, as the `Config` record of the journal keeps it (secrets are not in it).
    pub text: Arc<str>,
    /// A short hash of `text`, as in `forebay_config_info`.
    pub hash: String,
}

/// Who this gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// `id`: part of every result id.
    pub id: Arc<str>,
    /// Where journal and state live.
    pub data_dir: PathBuf,
    /// The socket by which the command line reaches the daemon.
    pub admin: PathBuf,
}

/// Limits of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// `[journal]`: the readings stream.
    pub readings: StreamLimits,
    /// `[journal.results]`.
    pub results: StreamLimits,
    /// `[journal.dead_letters]`.
    pub dead_letters: StreamLimits,
    /// `[journal.messages]`.
    pub messages: StreamLimits,
    /// The shortest time from one sync to the next.
    pub commit_linger: Duration,
    /// Free space of the file system below which intake refuses.
    pub min_free_bytes: u64,
}

/// How much of a stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Bytes on disk.
    pub max_bytes: u64,
    /// Age by arrival.
    pub max_age: Duration,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The table's name.
    pub name: Arc<str>,
    /// The protocol.
    pub kind: ListenerKind,
    /// Addresses; port 0 takes any free one.
    pub bind: Vec<SocketAddr>,
    /// Largest payload in bytes.
    pub max_message_bytes: usize,
    /// Most connections at once (MQTT, HTTP).
    pub max_connections: usize,
    /// HTTP: what is served.
    pub serve: Vec<Serve>,
}

/// A listener's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// MQTT 3.1.1 and 5 on one port.
    Mqtt,
    /// CoAP over UDP.
    Coap,
    /// HTTP/1.1.
    Http,
}

/// A part of the HTTP surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serve {
    /// `POST /ingest/…`.
    Ingest,
    /// `/api/v1/…`.
    Api,
    /// `/metrics`.
    Metrics,
    /// `/`.
    Console,
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who needs no credentials.
    pub anonymous: Anonymous,
    /// What MQTT 3.1.1 does with a forbidden publish.
    pub on_denied: OnDenied,
}

/// From where anonymous access is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anonymous {
    /// Nowhere.
    Never,
    /// From this machine (and not through a proxy).
    Loopback,
    /// From everywhere.
    Everywhere,
}

/// What MQTT 3.1.1, which has no refusal, does with a forbidden publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDenied {
    /// Acknowledges and drops it, audited.
    Ack,
    /// Closes the connection.
    Close,
}

/// How one kind of message becomes readings.
#[derive(Debug)]
pub struct Source {
    /// The table's name.
    pub name: Arc<str>,
    /// Which topic paths it takes.
    pub topic: TopicPattern,
    /// How payloads are decoded.
    pub format: Format,
    /// The sensor's name; `None`: from the SenML name, or the first capture, else the topic path.
    pub sensor: Option<SensorTemplate>,
    /// Where the event time comes from.
    pub time: TimeRule,
    /// The JSON Schema payloads must meet.
    pub schema: Option<Schema>,
    /// Who is refused first when room runs out.
    pub priority: Priority,
    /// `[source.X.fields]`; `None`: every scalar member becomes a field.
    pub fields: Option<Vec<FieldRule>>,
    /// How readings that were sent twice are told; `None`: equal ones are all legitimate.
    pub dedup: Option<Dedup>,
}

/// How readings are told that a device sent twice without its protocol saying so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedup {
    /// What makes two readings of one source the same.
    pub by: DedupBy,
    /// For how long a second one is a copy: whole seconds, at least one.
    pub within_s: u32,
}

/// What makes two readings the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupBy {
    /// The same sensor, time and fields.
    Content,
    /// The same sensor and the same scalars at these places of its JSON or CBOR object. An object that lacks one is
    /// no copy of anything.
    Record(Vec<Pointer>),
}

/// A topic pattern: levels of text and named captures, `+` and a last `#`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern {
    /// As written.
    pub text: Arc<str>,
    /// The levels.
    pub levels: Vec<TopicLevel>,
}

/// One level of a topic pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicLevel {
    /// Exactly this text.
    Text(Arc<str>),
    /// Any one level, named: `{vehicle}`.
    Capture(Arc<str>),
    /// Any one level: `+`.
    Any,
    /// All further levels, none included: `#`.
    Rest,
}

/// Text with captures and JSON pointers in braces: `{vehicle}`, `site/{/boot/id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorTemplate {
    /// As written.
    pub text: Arc<str>,
    /// The parts in order.
    pub parts: Vec<TemplatePart>,
}

/// A part of a [`SensorTemplate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// This text.
    Text(Arc<str>),
    /// The topic capture of this name.
    Capture(Arc<str>),
    /// The scalar at this JSON pointer of the payload.
    Pointer(Pointer),
}

/// A JSON pointer (RFC 6901), split and unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// As written: `/a/b`.
    pub text: Arc<str>,
    /// The reference tokens.
    pub tokens: Vec<Arc<str>>,
}

/// How payloads are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// By content type or content format.
    Auto,
    /// SenML, JSON or CBOR by content type, else by the first byte.
    Senml,
    /// One JSON object (or an array of them).
    Json,
    /// One CBOR map (or an array of them).
    Cbor,
    /// One JSON object a line.
    Ndjson,
}

/// Where the event time comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeRule {
    /// Where in the payload; `None`: SenML has its own, others take the arrival time.
    pub at: Option<Pointer>,
    /// The unit of a number there.
    pub unit: TimeUnit,
    /// What to do without a time, or with one before `min`.
    pub missing: MissingTime,
    /// Earliest time believed.
    pub min: Option<Timestamp>,
}

/// Unit of a numeric time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanos,
    /// RFC 3339 text.
    Rfc3339,
}

/// What to do without a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingTime {
    /// Take the arrival time and flag the reading.
    Received,
    /// Refuse as `time`.
    Refuse,
}

/// A JSON Schema by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The name in the configuration.
    pub name: Arc<str>,
    /// The document; it compiled when it was checked.
    pub document: Arc<serde_json::Value>,
}

/// Who is refused first when room runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// First.
    Bulk,
    /// Then.
    Normal,
    /// Last.
    Alarm,
}

/// One field of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// The field's name.
    pub name: Arc<str>,
    /// Where in the payload. For SenML: the name less the sensor, as one token.
    pub at: Pointer,
    /// The unit the field has; SenML values are converted to it.
    pub unit: Option<Arc<str>>,
}

/// One windowed (or plain) computation.
#[derive(Debug)]
pub struct Pipeline {
    /// The table's name.
    pub name: Arc<str>,
    /// Names of the sources it reads.
    pub from: Vec<Arc<str>>,
    /// Every name its `where`, `key`, `select` and `tags` use; slots of the programs below.
    pub inputs: Names,
    /// `where`.
    pub filter: Option<Program>,
    /// What readings are grouped by.
    pub key: Key,
    /// Carried into the rows: name and slot in `inputs`.
    pub tags: Vec<(Arc<str>, usize)>,
    /// The lane it runs in.
    pub lane: Arc<str>,
    /// The window.
    pub window: Window,
    /// The watermark.
    pub watermark: Watermark,
    /// The columns.
    pub select: Vec<Column>,
    /// `having`, over [`Pipeline::outputs`].
    pub having: Option<Program>,
    /// Names `having` sees: the columns, tags, `key`, `start`, `end`.
    pub outputs: Names,
    /// Hash of everything that its state depends on.
    pub generation: u64,
    /// Where it starts when it is new.
    pub start: Start,
}

/// What readings are grouped by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The sensor's name.
    Sensor,
    /// Nothing: all readings together.
    All,
    /// These tags or fields: name and slot in the pipeline's inputs.
    Fields(Vec<(Arc<str>, usize)>),
}

/// A window kind with its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// Windows of `size`, one after the other, starting at multiples of it plus `offset`.
    Tumbling {
        /// Length in milliseconds, more than 0.
        size_ms: i64,
        /// Shift of the starts in milliseconds.
        offset_ms: i64,
    },
}

/// How event time advances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Whose watermark it is.
    pub scope: Scope,
    /// How far it trails the largest event time, in milliseconds.
    pub delay_ms: i64,
    /// How long a fired window still takes late readings, in milliseconds.
    pub lateness_ms: i64,
    /// What becomes of a reading that is too late even so.
    pub late: LateRule,
    /// After this long without a reading, open windows of a key fire (scope `key`).
    pub idle: Option<Duration>,
    /// A reading further ahead of wall time than this does not move the watermark.
    pub max_ahead: Option<Duration>,
    /// A key's watermark is forgotten after this long without a reading.
    pub forget: Duration,
}

/// Whose watermark it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Each key's own.
    Key,
    /// One for all keys of the pipeline.
    Source,
}

/// What becomes of late readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LateRule {
    /// Counted.
    Count,
    /// Counted, and written to `results` as `late`.
    Keep,
}

/// A column of a pipeline's rows.
#[derive(Debug)]
pub struct Column {
    /// The column's name.
    pub name: Arc<str>,
    /// What it computes.
    pub aggregate: Aggregate,
}

/// An aggregate over the readings of a window. Programs read the pipeline's `inputs`.
#[derive(Debug)]
pub enum Aggregate {
    /// `count()`: readings, nulls included.
    Count,
    /// `count(x)`: non-null values of a name; true values of an expression.
    CountOf(Program),
    /// `sum(x)`: plain double sum in arrival order.
    Sum(Program),
    /// `avg(x)`: sum over count.
    Avg(Program),
    /// `min(x)`.
    Min(Program),
    /// `max(x)`.
    Max(Program),
    /// `stddev_pop(x)`: population standard deviation (Welford).
    StddevPop(Program),
}

impl Aggregate {
    /// The program of its argument; `None` for `count()`.
    pub fn program(&self) -> Option<&Program> {
        match self {
            Self::Count => None,
            Self::CountOf(program)
            | Self::Sum(program)
            | Self::Avg(program)
            | Self::Min(program)
            | Self::Max(program)
            | Self::StddevPop(program) => Some(program),
        }
    }
}

/// A condition with a life cycle.
#[derive(Debug)]
pub struct Alert {
    /// The table's name.
    pub name: Arc<str>,
    /// What it reads.
    pub on: AlertInput,
    /// Its condition.
    pub condition: Condition,
    /// Every name its programs use.
    pub inputs: Names,
    /// `for`: how long, in event time, the condition must hold.
    pub hold_ms: i64,
    /// Resolved as stale after this long (service time) without a row.
    pub resolve_after: Option<Duration>,
    /// Sent again this often while firing (service time).
    pub repeat: Option<Duration>,
    /// How bad.
    pub severity: SeverityRule,
    /// The text for people.
    pub summary: Template,
    /// The lane it runs in.
    pub lane: Arc<str>,
}

/// What an alert reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertInput {
    /// The rows of this pipeline (index into [`Config::pipelines`]), also those `having` keeps back.
    Pipeline(usize),
    /// The readings of this source (index into [`Config::sources`]).
    Source(usize),
}

/// When an alert fires.
#[derive(Debug)]
pub enum Condition {
    /// On what a row says.
    Threshold {
        /// Fires when this holds.
        when: Program,
        /// Resolves when this holds; `None`: when `when` does not.
        clear: Option<Program>,
    },
    /// On silence: no reading for this long (service time).
    Absent(Duration),
}

/// How bad an alert is.
#[derive(Debug)]
pub enum SeverityRule {
    /// Always this.
    Fixed(Severity),
    /// An expression that yields the word.
    Computed(Program),
}

/// Text with `{name}` and `{name:.1}` holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// As written.
    pub text: Arc<str>,
    /// The parts in order.
    pub parts: Vec<SummaryPart>,
}

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SummaryPart {
    /// This text.
    Text(Arc<str>),
    /// The value in this slot of the alert's inputs, with this many decimals.
    Hole {
        /// Slot in the alert's inputs.
        slot: usize,
        /// `{x:.1}`: 1. `None`: as the value is.
        decimals: Option<u8>,
    },
}

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
