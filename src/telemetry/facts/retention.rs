//! Facts about what retention removes.

use tracing::{error, info};

use super::Fact;
use crate::telemetry::Metrics;

/// A segment was removed: its records are older or more than the limits allow, and nobody kept them.
pub struct SegmentRemoved<'a> {
    /// Of which stream.
    pub stream: &'a str,
    /// Its first offset.
    pub first: u64,
    /// One past its last offset.
    pub end: u64,
    /// Its bytes.
    pub bytes: u64,
    /// The limit: `bytes`, `age` or `room`.
    pub why: &'a str,
}

impl Fact for SegmentRemoved<'_> {
    fn record(&self, metrics: &Metrics) {
        let Self { stream, first, end, bytes, why } = *self;
        metrics.journal_removed_segments.with_label_values(&[stream, why]).inc();
        info!(stream, first, end, bytes, why, "segment removed");
    }
}

/// Records were removed that a consumer which is further behind than it may be had not seen.
pub struct LeftBehind<'a> {
    /// Who: `sink/tsdb`.
    pub by: &'a str,
    /// In which stream.
    pub stream: &'a str,
    /// How many records.
    pub records: u64,
    /// Whether this is the first since it last moved.
    pub is_first: bool,
}

impl Fact for LeftBehind<'_> {
    fn record(&self, metrics: &Metrics) {
        let Self { by, stream, records, is_first } = *self;
        metrics.journal_left_behind_records.with_label_values(&[by]).inc_by(records);
        if is_first {
            error!(
                by,
                stream, records, "records removed that it has not seen: it is further behind than max_lag"
            );
        }
    }
}
