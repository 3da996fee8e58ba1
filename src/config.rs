//! What a checked configuration says. Only `config::check` makes one; the file's shape is `config::raw`.
//!
//! Names refer to things that exist, durations and sizes are in range, expressions are compiled: whoever
//! holds a [`Config`] need not check again.
//!
//! The types stand in the order of the file's tables: `gateway`, `source`, `pipeline`, `alert`, `sink`.
//!
//! The way of a file: `load` reads it, `document` finds tables and places in it, `raw` is their shape, `check`
//! makes the [`Config`] or says everything that is wrong (`problem`); `later` names what is promised only. What
//! differs between two is [`change`]'s to say.

mod alert;
pub mod change;
mod check;
mod document;
mod gateway;
mod generation;
mod later;
mod load;
mod pipeline;
mod problem;
mod raw;
mod scalar;
mod sink;
mod source;

#[cfg(test)]
mod tests;

pub use alert::{Alert, AlertInput, Condition, SeverityRule, SummaryPart, Template};
pub use gateway::{
    Access, Anonymous, Gateway, Journal, Listener, ListenerKind, OnDenied, Serve, StreamLimits,
};
pub use load::{admin_socket, from_record, from_text, load};
pub use pipeline::{Aggregate, Column, Key, LateRule, Pipeline, Scope, Watermark, Window};
pub use problem::{Problem, Problems};
pub(crate) use scalar::duration;
pub use sink::{
    FileSink, InfluxdbSink, MaxLag, OnMaxLag, OutputKind, PointTime, Route, Secret, Sink, SinkKind, Start,
    WebhookSink,
};
pub use source::{
    Dedup, DedupBy, FieldRule, Format, MissingTime, Pointer, Priority, Schema, SensorTemplate, Source,
    TemplatePart, TimeRule, TimeUnit, TopicLevel, TopicPattern,
};

use std::sync::Arc;

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
