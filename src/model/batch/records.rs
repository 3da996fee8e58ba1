//! Which reading is a copy of which, where the source says how to tell (`dedup`).
//!
//! Intake gives such readings an id, the journal keeps it beside them and looks it up. Most batches hold none, and
//! then the column is empty.

use super::{Batch, BatchBuilder};

/// The identity of one reading: an 8-byte hash, of its content or of the id its device gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordId {
    /// The hash; 0 stands for "none", so a hash of 0 is given as 1.
    hash: u64,
    /// For how many seconds a second one is a copy.
    pub within_s: u32,
}

impl RecordId {
    /// The id with this hash.
    pub fn new(hash: u64, within_s: u32) -> Self {
        Self { hash: hash.max(1), within_s }
    }

    /// The hash, if this is an id.
    pub fn hash(self) -> Option<u64> {
        (self.hash != 0).then_some(self.hash)
    }
}

impl Batch {
    /// Whether any reading has an id.
    pub fn has_record_ids(&self) -> bool {
        !self.record_ids.is_empty()
    }

    /// The id of the reading in `row`, if it has one.
    pub fn record_id(&self, row: usize) -> Option<RecordId> {
        self.record_ids.get(row).copied().filter(|id| id.hash != 0)
    }
}

impl BatchBuilder {
    /// Gives the last reading an id.
    pub fn identify(&mut self, id: RecordId) {
        let last = self.batch.rows.len().saturating_sub(1);
        self.batch.record_ids.resize(last, RecordId::default());
        self.batch.record_ids.push(id);
    }

    pub(super) fn complete_record_ids(&mut self) {
        if !self.batch.record_ids.is_empty() {
            self.batch.record_ids.resize(self.batch.rows.len(), RecordId::default());
        }
    }
}
