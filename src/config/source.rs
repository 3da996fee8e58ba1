//! `[source]`: which messages are taken, and how they become readings.

use std::sync::Arc;

use serde::Deserialize;

use crate::model::Timestamp;

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
