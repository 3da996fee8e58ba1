//! How far lanes have put out, as it is durable in `results`: every segment of it opens with this, and a lane that
//! begins anew asks it what it need not say again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::Offset;

/// By cursor: every output caused below the offset is durable.
pub type Table = BTreeMap<Arc<str>, Offset>;

/// The table as it is now, shared by the writer of `results` and whoever asks.
#[derive(Debug, Default)]
pub struct Emitted(Mutex<Table>);

impl Emitted {
    /// Begins with what recovery found.
    pub fn new(table: Table) -> Self {
        Self(Mutex::new(table))
    }

    /// The table.
    pub fn get(&self) -> Table {
        self.locked().clone()
    }

    /// Takes over what has just become durable.
    pub fn merge(&self, news: Table) {
        self.locked().extend(news);
    }

    fn locked(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
