//! What a step puts out (pure), and the one order of it.

use std::sync::Arc;

use crate::expr::Failure;
use crate::model::{Offset, Output};

/// An output with what decides its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Emission {
    /// The record that caused it.
    pub cause: Offset,
    /// Pipelines in file order, then alerts in file order.
    pub rank: u32,
    /// The key.
    pub key: Arc<str>,
    /// Start of the window, ms.
    pub start_ms: i64,
    /// Revision of the row.
    pub revision: u32,
    /// The output.
    pub output: Output,
}

/// Everything one or more steps put out besides their new states.
#[derive(Debug, Default)]
pub struct Effects {
    /// Outputs, in no particular order until [`Self::sort`].
    pub emissions: Vec<Emission>,
    /// Readings that were too late: index of the pipeline and number.
    pub late: Vec<(usize, u64)>,
    /// Evaluations that failed: where (a configuration key) and why. At most [`FAILURES_MAX`].
    pub failures: Vec<(String, Failure)>,
    /// All of them.
    pub failure_count: u64,
}

/// Failures kept with their texts in one round; the rest is counted.
pub const FAILURES_MAX: usize = 64;

impl Effects {
    /// Whether there is nothing to hand on.
    pub fn is_empty(&self) -> bool {
        self.emissions.is_empty() && self.late.is_empty() && self.failure_count == 0
    }

    /// Notes a failed evaluation at `place`.
    pub fn failed(&mut self, place: impl FnOnce() -> String, failure: Failure) {
        self.failure_count += 1;
        if self.failures.len() < FAILURES_MAX {
            self.failures.push((place(), failure));
        }
    }

    /// Counts a late reading of the pipeline at `index`.
    pub fn late(&mut self, index: usize) {
        match self.late.iter_mut().find(|(known, _)| *known == index) {
            Some((_, count)) => *count += 1,
            None => self.late.push((index, 1)),
        }
    }

    /// Takes over everything of `other`.
    pub fn merge(&mut self, mut other: Self) {
        self.emissions.append(&mut other.emissions);
        for (index, count) in other.late {
            match self.late.iter_mut().find(|(known, _)| *known == index) {
                Some((_, known)) => *known += count,
                None => self.late.push((index, count)),
            }
        }
        self.failure_count += other.failure_count;
        let room = FAILURES_MAX - self.failures.len();
        self.failures.extend(other.failures.into_iter().take(room));
    }

    /// The one order: by cause first, so that batch borders and partitions change nothing.
    pub fn sort(&mut self) {
        self.emissions.sort_by(|a, b| {
            let place = |e: &Emission| (e.cause, e.rank);
            let rest = |e: &Emission| (e.start_ms, e.revision);
            place(a).cmp(&place(b)).then_with(|| a.key.cmp(&b.key)).then_with(|| rest(a).cmp(&rest(b)))
        });
    }
}
