//! What the engine puts out: window results, late readings, alerts. One JSON shape for every sink.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ResultId, Timestamp, Value};

/// Names and values in the order of the names.
pub type Values = BTreeMap<Arc<str>, Value>;

/// One row of the `results` stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Output {
    /// A window fired.
    Result(ResultRow),
    /// A reading came after all its windows had fired (`late = "keep"`).
    Late(Late),
    /// An alert changed its state, or repeats.
    Alert(AlertRow),
}

/// A window's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    /// Hash of gateway, journal, pipeline, generation, key, start, end, sequence and revision.
    pub id: ResultId,
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// The key's value.
    pub key: Arc<str>,
    /// Start of the window, inclusive.
    pub start: Timestamp,
    /// End of the window, exclusive.
    pub end: Timestamp,
    /// 0 for the first firing, one more for each accepted late reading.
    pub revision: u32,
    /// Position among the key's rows, for windows that can share their times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The journal did not reach back to the window's start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// The pipeline's `tags`, each with its last value.
    pub tags: Values,
    /// The columns of `select`.
    pub values: Values,
}

/// A reading that came too late for its windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Late {
    /// The pipeline that dropped it.
    pub pipeline: Arc<str>,
    /// The key's value.
    pub key: Arc<str>,
    /// The reading's event time.
    pub time: Timestamp,
    /// The reading's fields.
    pub values: Values,
}

/// An alert's state after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertState {
    /// The condition holds (long enough).
    Firing,
    /// The condition is over, or nothing was heard for `resolve_after`.
    Resolved,
}

impl AlertState {
    /// The word in rows and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// To be looked at some time.
    Info,
    /// To be looked at today.
    Warning,
    /// Somebody gets up.
    Critical,
}

impl Severity {
    /// The word in rows, metrics and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity called `word`.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|severity| severity.as_str() == word)
    }
}

/// A change of an alert's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRow {
    /// Hash of the episode, the state and the offset of the cause.
    pub id: ResultId,
    /// The alert's name.
    pub alert: Arc<str>,
    /// The key it is about.
    pub key: Arc<str>,
    /// The state now.
    pub state: AlertState,
    /// The severity now.
    pub severity: Severity,
    /// Event time of the cause: the window's end, or the reading's time.
    pub time: Timestamp,
    /// `stale` when resolved for want of news, `escalated` when its severity rose, `repeat` when sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// The text for people.
    pub summary: String,
    /// What the condition saw.
    pub values: Values,
    /// Tags of the row that caused it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Values,
    /// Hash of alert, key and offset of the first cause: one per firing-to-resolved episode.
    pub episode: ResultId,
    /// Journal offsets of the first and last reading behind it.
    pub offsets: [u64; 2],
}
