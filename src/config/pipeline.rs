//! `[pipeline]`: what is computed from readings, by which key, in which windows.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::Start;
use crate::expr::{Names, Program};

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
