//! Keyed state: sensors' states, when they are due, cursors of lanes and sinks.
//!
//! Everything here can be rebuilt from the journal; that is why it may live in sled 0.34, which loses and damages
//! rows without a word ([`sled`]). So every row is accounted for ([`ledger`]), what must be there is written down
//! outside ([`manifest`]), all rows go to a file of our own every few minutes ([`dump`]), and a store that is not
//! what it was is set aside and restored ([`opening`]). Values are cut into pieces that sled can take
//! ([`pieces`]).
//!
//! Invariants: what [`Store::flush`], [`Store::put_cursor`] or [`Store::commit`] made durable is there after any
//! crash, or its loss is found at the next opening; a full disk is an error and never damage.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use crate::model::{Offset, StreamName};
use crate::telemetry::facts::{Fact, StoreDumped};
use crate::telemetry::{Metrics, clock};

mod error;
pub(crate) mod backend;
mod home;
mod sled;
mod files;
mod ledger;
mod pieces;
mod keys;
mod marks;
mod manifest;
mod outside;
mod opening;
mod mending;
mod dump;
#[cfg(test)]
pub(crate) mod memory;

use backend::{Batch, Tree};
pub use error::StoreError;
pub(crate) use home::Home;
pub use home::Setup;
pub use keys::StateKey;
use ledger::{FORMAT, Ledger};
pub use manifest::{Manifest, Past, Reader};
pub use marks::{Mark, Marks};
pub use opening::Found;
use opening::Opened;
use outside::{Entry, Outside};

/// Most keys of one batch, but for those of one state; more makes sled's memory jump.
const BATCH_KEYS_MAX: usize = 1_000;

/// The store. Calls block; none of them is on the path of an acknowledgement.
///
/// After an error of the disk it is closed, and the next call opens it anew: when there is room again, the store
/// works again. After damage every call fails until [`Self::mend`], but for what sinks commit: that is kept outside.
pub struct Store {
    home: Home,
    state: Mutex<State>,
    /// Held while it is written, so that no older one replaces a newer one.
    outside: Mutex<Outside>,
    /// What the newest dump needs of the journal.
    dumped: Mutex<Option<Arc<Marks>>>,
    found: Mutex<Found>,
    /// Why it must be restored.
    damage: watch::Sender<Option<String>>,
    /// Told when the disk is full.
    when_full: OnceLock<WhenFull>,
}

enum State {
    Open(Arc<Ledger>),
    Closed,
    Damaged(String),
}

/// Somebody who hears of a full disk.
type WhenFull = Box<dyn Fn(&io::Error) + Send + Sync>;

/// A sensor's state on its way to the store.
#[derive(Clone, Copy, Debug)]
pub struct StateRow<'a> {
    /// Whose.
    pub key: StateKey<'a>,
    /// The state.
    pub state: &'a [u8],
    /// When it wants to be woken. It is written in the same batch: one is never without the other.
    pub due: &'a [u8],
}

/// When a saved state wants to be woken: its grouping, its key and the row.
pub type DueRow = (u64, String, Vec<u8>);

impl Store {
    /// Opens or creates the store in `dir`; the manifest and the dumps lie beside it.
    ///
    /// # Errors
    /// As [`Self::open_with`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let setup = Setup { dir: dir.to_owned(), journal: "".into(), metrics: Arc::new(Metrics::new()) };
        Self::open_with(setup, Manifest::read(dir)?)
    }

    /// Opens or creates a store whose `manifest` was read before. One that is damaged is set aside and restored.
    ///
    /// # Errors
    /// [`StoreError::Full`] and the disk's errors: try again later. [`StoreError::Newer`]: nothing was touched.
    pub fn open_with(setup: Setup, manifest: Option<Manifest>) -> Result<Self, StoreError> {
        Self::over(Home::new(setup), manifest)
    }

    /// As [`Self::open_with`], over whatever medium `home` has.
    pub(crate) fn over(home: Home, manifest: Option<Manifest>) -> Result<Self, StoreError> {
        let Opened { ledger, outside, found } = opening::open(&home, manifest.unwrap_or_default())?;
        let state = Mutex::new(State::Open(Arc::new(ledger)));
        let outside = Mutex::new(outside);
        let (dumped, found) = (Mutex::default(), Mutex::new(found));
        let (damage, when_full) = (watch::Sender::new(None), OnceLock::new());
        Ok(Self { home, state, outside, dumped, found, damage, when_full })
    }

    /// From now on `tell` hears of it when the disk is full: somebody may make room. Once is enough.
    pub fn when_full(&self, tell: impl Fn(&io::Error) + Send + Sync + 'static) {
        // Whoever came first is told.
        let _ = self.when_full.set(Box::new(tell));
    }

    /// What opening found, or [`Self::mend`] since.
    pub fn found(&self) -> Found {
        *lock(&self.found)
    }

    /// The state of `key`, if it has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn state(&self, key: &StateKey<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|ledger| pieces::get(ledger, Tree::States, &key.bytes()))
    }

    /// Grouping and key of every state of `lane`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keys(&self, lane: &str) -> Result<Vec<(u64, String)>, StoreError> {
        self.with(|ledger| keys::of_states(ledger, lane))
    }

    /// When the states of `lane` want to be woken. A state that was saved by an older program is not among them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn dues(&self, lane: &str) -> Result<Vec<DueRow>, StoreError> {
        self.with(|ledger| keys::dues(ledger, lane))
    }

    /// Writes states; durable only after [`Self::flush`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_states<'a>(&self, rows: impl Iterator<Item = StateRow<'a>>) -> Result<(), StoreError> {
        self.with(|ledger| {
            let mut batch = Batch::new();
            for StateRow { key, state, due } in rows {
                pieces::put(ledger, Tree::States, (&key.due_bytes(), due), &mut batch)?;
                pieces::put(ledger, Tree::States, (&key.bytes(), state), &mut batch)?;
                if batch.len() >= BATCH_KEYS_MAX {
                    ledger.apply(Tree::States, std::mem::take(&mut batch))?;
                }
            }
            ledger.apply(Tree::States, batch)
        })
    }

    /// The cursor called `name`: `lane/main`, `sink/log`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cursor(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|ledger| pieces::get(ledger, Tree::Cursors, name.as_bytes()))
    }

    /// Writes a cursor; it is on disk when this returns, and so is everything written before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_cursor(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.with(|ledger| {
            put_cursor(ledger, name, bytes)?;
            ledger.flush().map(drop)
        })
    }

    /// Writes the cursor of a sink, which stands at `mark`. It is on disk when this returns, and a restored store
    /// has it again: so it is taken also while the store is damaged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_sink(&self, name: &str, text: &str, mark: Mark) -> Result<(), StoreError> {
        let entry = Entry { name: name.to_owned(), mark, text: text.to_owned() };
        loop {
            let put = self.with(|ledger| {
                put_cursor(ledger, name, text.as_bytes())?;
                lock(&self.outside).commit(entry.clone())
            });
            let Err(StoreError::Damaged(_)) = put else { return put };
            // Held, so that restoring takes it over or has not begun.
            let state = lock(&self.state);
            if matches!(*state, State::Damaged(_)) {
                return lock(&self.outside).commit(entry);
            }
        }
    }

    /// As [`Self::put_cursor`] for a lane's checkpoint, which stands at `mark`. From now on a store that does not
    /// hold it, and everything written before, is damaged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn commit(&self, name: &str, bytes: &[u8], mark: Mark) -> Result<(), StoreError> {
        self.with(|ledger| {
            put_cursor(ledger, name, bytes)?;
            let mut outside = lock(&self.outside);
            let accounts = ledger.flush()?;
            outside.manifest.marks.set(name, mark);
            outside.save(accounts)
        })
    }

    /// Names of the cursors that begin with `prefix`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cursor_names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.with(|ledger| keys::of_cursors(ledger, prefix))
    }

    /// Removes the states of `lane`, then the cursor called `cursor`; durable when this returns.
    ///
    /// # Errors
    /// [`StoreError`]; what is left is removed by another call.
    pub fn remove_lane(&self, lane: &str, cursor: &str) -> Result<(), StoreError> {
        self.with(|ledger| {
            for prefix in keys::prefixes_of(lane) {
                pieces::remove(ledger, Tree::States, &prefix)?;
            }
            pieces::remove(ledger, Tree::Cursors, &pieces::prefix(cursor.as_bytes()))?;
            let mut outside = lock(&self.outside);
            let accounts = ledger.flush()?;
            outside.manifest.forget(cursor);
            outside.save(accounts)
        })
    }

    /// Removes the cursor of a sink that is no more, durably. None is no error.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove_sink(&self, name: &str) -> Result<(), StoreError> {
        self.with(|ledger| {
            pieces::remove(ledger, Tree::Cursors, &pieces::prefix(name.as_bytes()))?;
            let mut outside = lock(&self.outside);
            outside.manifest.forget(name);
            outside.save(ledger.flush()?)
        })
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn flush(&self) -> Result<(), StoreError> {
        self.with(|ledger| ledger.flush().map(drop))
    }

    /// Where the reader called `name` begins if it has no cursor: the stream's end when it was first seen.
    pub fn begin(&self, name: &str, stream: StreamName) -> Option<Offset> {
        lock(&self.outside).manifest.begin(name, stream)
    }

    /// Writes all rows to a new dump, at leisure, reads it back and removes old ones.
    ///
    /// # Errors
    /// [`StoreError`]: the older dumps stay.
    pub fn dump(&self) -> Result<(), StoreError> {
        let started = clock::monotonic();
        let written = self.with(|ledger| {
            let marks = {
                let mut outside = lock(&self.outside);
                outside.save(ledger.flush()?)?;
                outside.manifest.marks.clone()
            };
            dump::write(&self.home, ledger, marks)
        })?;
        StoreDumped { path: &written.path.display(), rows: written.rows, took: started.elapsed() }
            .record(&self.home.metrics);
        *lock(&self.dumped) = Some(Arc::new(written.header.marks));
        Ok(())
    }

    /// From now on dumps, also one under way, are written as fast as can be: somebody waits.
    pub fn hurry(&self) {
        self.home.is_hurried.store(true, Ordering::Relaxed);
    }

    /// What the newest dump that was read back needs of the journal: nothing from these marks on may be removed.
    /// `None`: there is none, so nothing may be removed at all. A reader without a mark needs everything.
    pub fn dumped(&self) -> Option<Arc<Marks>> {
        lock(&self.dumped).clone()
    }

    /// Looks for a dump of an earlier run, so that [`Self::dumped`] knows it; reads it whole.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_dump(&self) -> Result<Option<Arc<Marks>>, StoreError> {
        if let Some(dump) = dump::newest(&self.home)? {
            lock(&self.dumped).get_or_insert_with(|| Arc::new(dump.header.marks));
        }
        Ok(self.dumped())
    }
}

fn put_cursor(ledger: &Ledger, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    pieces::put(ledger, Tree::Cursors, (name.as_bytes(), bytes), &mut batch)?;
    ledger.apply(Tree::Cursors, batch)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
