//! What the store asks of an engine for keyed rows, and of the medium that the engine's files lie on.
//!
//! Narrow on purpose: whatever keeps these promises can stand under the store. sled does ([`super::sled`]); tests
//! and simulations use rows in memory that can be cut off, damaged and made to fail.
//!
//! What is promised: a batch is applied whole or not at all; after any end of the process or the power a prefix
//! of the batches, over all trees, is there, and at least those that a returned [`Backend::flush`] followed.
//! Whether an engine keeps its promises is checked, not believed: see [`super::ledger`].

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::StoreError;

/// A set of rows with keys of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tree {
    /// Sensors' states and when they are due.
    States,
    /// Where lanes and sinks stand.
    Cursors,
}

impl Tree {
    /// Every tree.
    pub(crate) const ALL: [Self; 2] = [Self::States, Self::Cursors];

    /// Its name on the disk.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::States => "states",
            Self::Cursors => "cursors",
        }
    }
}

/// New values by key; `None` removes the row.
pub(crate) type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A key and its value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// Rows in the order of their keys; ends at the first error.
pub(crate) type Rows = Box<dyn Iterator<Item = Result<Row, StoreError>> + Send>;

/// Keyed rows. Calls block, from any thread.
pub(crate) trait Backend: Send + Sync {
    /// The value at `key`.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The rows whose keys begin with `prefix`. Batches that are applied meanwhile may be in them or not.
    fn scan(&self, tree: Tree, prefix: &[u8]) -> Rows;

    /// Applies `batch` whole or not at all. Durable only after [`Self::flush`].
    fn apply(&self, tree: Tree, batch: Batch) -> Result<(), StoreError>;

    /// Makes everything applied durable.
    fn flush(&self) -> Result<(), StoreError>;
}

/// Where a backend's data lies.
pub(crate) trait Medium: Send + Sync {
    /// Opens what is there, or something empty. May panic or hang on damaged data.
    fn open(&self) -> Result<Arc<dyn Backend>, StoreError>;

    /// Moves what is there out of the way, for a person to look at; the next [`Self::open`] finds nothing. Says
    /// where it is now, in words; `None` if nothing was there.
    fn set_aside(&self) -> io::Result<Option<String>>;

    /// Removes what is there.
    fn discard(&self) -> io::Result<()>;

    /// Notes durably that what is there must not be used again, and why.
    fn condemn(&self, why: &str) -> io::Result<()>;

    /// The reason given to [`Self::condemn`].
    fn condemned(&self) -> io::Result<Option<String>>;
}
