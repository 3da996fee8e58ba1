//! Rows as a comparison sees them: what they are about, and what they say of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{Output, Timestamp};

/// What a row is about. Rows are shown in this order: by time, then by pipeline or alert, then by key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// A window's end, or an alert's event time; nanoseconds since the epoch.
    pub time_ns: i64,
    /// The pipeline's or alert's name.
    pub name: String,
    /// The key.
    pub key: String,
    /// What kind of row.
    pub kind: Kind,
    /// A window's start; an alert's time.
    pub start_ns: i64,
    /// Position among the key's rows.
    pub sequence: Option<u64>,
    /// A window's revision.
    pub revision: u32,
}

/// The kind of a row, an alert's state and reason included: both are part of what happened then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A window's result.
    Result,
    /// An alert in this state, for this reason.
    Alert(String, Option<String>),
}

/// A row to compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// What it is about.
    pub place: Place,
    /// What it says, as JSON, less what differs between any two configurations: ids and offsets.
    pub says: Map<String, Value>,
}

impl Item {
    /// The row of `output`; `None` for late readings, which are counted only.
    pub fn of(output: &Output) -> Option<Self> {
        match output {
            Output::Result(row) => Some(Self {
                place: Place {
                    time_ns: row.end.nanos(),
                    name: row.pipeline.to_string(),
                    key: row.key.to_string(),
                    kind: Kind::Result,
                    start_ns: row.start.nanos(),
                    sequence: row.sequence,
                    revision: row.revision,
                },
                says: says(output),
            }),
            Output::Alert(row) => Some(Self {
                place: Place {
                    time_ns: row.time.nanos(),
                    name: row.alert.to_string(),
                    key: row.key.to_string(),
                    kind: Kind::Alert(
                        row.state.as_str().to_owned(),
                        row.reason.as_deref().map(str::to_owned),
                    ),
                    start_ns: row.time.nanos(),
                    sequence: None,
                    revision: 0,
                },
                says: says(output),
            }),
            Output::Late(_) => None,
        }
    }

    /// Event time.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_nanos(self.place.time_ns)
    }

    /// Bytes in memory, roughly.
    pub fn bytes(&self) -> usize {
        256 + self.place.name.len() + self.place.key.len() + self.says.len() * 128
    }
}

fn says(output: &Output) -> Map<String, Value> {
    let Ok(Value::Object(mut row)) = serde_json::to_value(output) else { return Map::new() };
    for own in ["id", "episode", "offsets"] {
        row.remove(own);
    }
    row
}
