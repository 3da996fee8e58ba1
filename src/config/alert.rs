//! `[alert]`: conditions with a life cycle, and what they say.

use std::sync::Arc;
use std::time::Duration;

use crate::expr::{Names, Program};
use crate::model::Severity;

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
