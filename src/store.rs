//! Keyed state in sled: sensor states, cursors. The only importer of sled.
//!
//! Everything here can be rebuilt from the journal; that is why it may live in sled 0.34, whose `flush` does
//! not reach the disk: it calls `sync_file_range` only, so every [`Store::flush`] is followed by an `fdatasync`
//! of our own on sled's file. Values stay below sled's blob threshold (blobs are never synced): larger ones
//! are cut into pieces. Rows carry a crc32c.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::bytes::{Input, put_varint};

/// Page cache of sled. Small: states are read once, when a sensor wakes.
const CACHE_BYTES: u64 = 16 << 20;
/// Largest value of one sled row: well below half of sled's blob threshold with 16 items a leaf.
const PIECE_BYTES_MAX: usize = 7_000;
/// Most keys of one batch; more makes sled's memory jump.
const BATCH_KEYS_MAX: usize = 1_000;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// sled or the disk under it.
    #[error("state store: {0}")]
    Sled(#[from] sled::Error),
    /// The disk.
    #[error("state store: {0}")]
    Io(#[from] std::io::Error),
    /// sled panicked while opening damaged files.
    #[error("state store in {0}: damaged, sled cannot open it")]
    Unopenable(PathBuf),
    /// A row does not match its checksum.
    #[error("state store: damaged row {0:?}")]
    Damaged(String),
}

/// The store. Calls block; none of them is on the path of an acknowledgement.
///
/// sled remembers its first error for as long as it is open (a full disk, say), so after an error it is closed,
/// and the next call opens it anew: when there is room again, the store works again.
pub struct Store {
    dir: PathBuf,
    open: Mutex<Option<Arc<Open>>>,
}

struct Open {
    states: sled::Tree,
    cursors: sled::Tree,
    db: sled::Db,
    file: File,
}

impl Open {
    fn new(dir: &Path) -> Result<Self, StoreError> {
        let open = || {
            let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
            let db = config.open()?;
            Ok::<_, sled::Error>((db.open_tree("states")?, db.open_tree("cursors")?, db))
        };
        let opened =
            catch_unwind(AssertUnwindSafe(open)).map_err(|_| StoreError::Unopenable(dir.to_owned()))?;
        let (states, cursors, db) = opened?;
        Ok(Self { states, cursors, db, file: File::open(dir.join("db"))? })
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        Ok(self.file.sync_data()?)
    }
}

impl Store {
    /// Opens or creates the store in `dir`.
    ///
    /// # Errors
    /// [`StoreError::Unopenable`] where sled would panic.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let open = Mutex::new(Some(Arc::new(Open::new(dir)?)));
        Ok(Self { dir: dir.to_owned(), open })
    }

    /// The state of `key` in `lane`, if it has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn state(&self, key: &StateKey<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|open| get(&open.states, &key.bytes()))
    }

    /// All states of `lane`: grouping, key and bytes.
    ///
    /// # Errors
    /// [`StoreError`]; iteration ends there.
    pub fn states(
        &self,
        lane: &str,
    ) -> Result<impl Iterator<Item = Result<StateRow, StoreError>> + use<>, StoreError> {
        let tree = self.with(|open| Ok(open.states.clone()))?;
        let prefix = StateKey { lane, keying: 0, key: "" }.bytes()[..=lane.len()].to_vec();
        let start = prefix.len();
        let heads = tree.scan_prefix(prefix).filter(|row| row.as_ref().map_or(true, |(key, _)| is_head(key)));
        Ok(heads.map(move |row| {
            let (key, _) = row?;
            let name = &key[..key.len() - PIECE_SUFFIX];
            let damaged = || StoreError::Damaged(String::from_utf8_lossy(name).into_owned());
            let (keying, text) = name[start..].split_at_checked(8).ok_or_else(damaged)?;
            let keying = u64::from_be_bytes(keying.try_into().expect("eight bytes were split off"));
            let text = std::str::from_utf8(text).map_err(|_| damaged())?.to_owned();
            let bytes = get(&tree, name)?.ok_or_else(damaged)?;
            Ok((keying, text, bytes))
        }))
    }

    /// Writes states; durable only after [`Self::flush`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_states<'a>(
        &self,
        rows: impl Iterator<Item = (StateKey<'a>, &'a [u8])>,
    ) -> Result<(), StoreError> {
        self.with(|open| {
            let mut batch = sled::Batch::default();
            let mut keys = 0;
            for (key, bytes) in rows {
                keys += put(&mut batch, &key.bytes(), bytes);
                if keys >= BATCH_KEYS_MAX {
                    open.states.apply_batch(std::mem::take(&mut batch))?;
                    keys = 0;
                }
            }
            Ok(open.states.apply_batch(batch)?)
        })
    }

    /// The cursor called `name`: `lane/main`, `sink/log`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cursor(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|open| get(&open.cursors, name.as_bytes()))
    }

    /// Writes a cursor; it is on disk when this returns, and so is everything written before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_cursor(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.with(|open| {
            let mut batch = sled::Batch::default();
            put(&mut batch, name.as_bytes(), bytes);
            open.cursors.apply_batch(batch)?;
            open.flush()
        })
    }

    /// Names of the cursors that begin with `prefix`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cursor_names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.with(|open| {
            let mut names = Vec::new();
            for row in open.cursors.scan_prefix(prefix.as_bytes()).keys() {
                let key = row?;
                if is_head(&key) {
                    names.push(String::from_utf8_lossy(&key[..key.len() - PIECE_SUFFIX]).into_owned());
                }
            }
            // The mark behind a name sorts it after longer ones.
            names.sort_unstable();
            Ok(names)
        })
    }

    /// Removes the states of `lane`, then the cursor called `cursor`; durable when this returns.
    ///
    /// # Errors
    /// [`StoreError`]; what is left is removed by another call.
    pub fn remove_lane(&self, lane: &str, cursor: &str) -> Result<(), StoreError> {
        self.with(|open| {
            let prefix = [lane.as_bytes(), &[0]].concat();
            remove(&open.states, open.states.scan_prefix(prefix))?;
            remove(&open.cursors, open.cursors.scan_prefix([cursor.as_bytes(), &[PIECE_MARK]].concat()))?;
            open.flush()
        })
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn flush(&self) -> Result<(), StoreError> {
        self.with(Open::flush)
    }

    /// Works with the open store. After an error of sled or the disk it is closed; the next call opens it anew,
    /// which fails for as long as somebody else still works with the old one.
    fn with<T>(&self, work: impl FnOnce(&Open) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let open = self.reopened()?;
        let result = work(&open);
        if matches!(result, Err(StoreError::Sled(_) | StoreError::Io(_))) {
            let mut current = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &open)) {
                *current = None;
            }
        }
        result
    }

    fn reopened(&self) -> Result<Arc<Open>, StoreError> {
        let mut current = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(open) => Ok(open.clone()),
            None => Ok(current.insert(Arc::new(Open::new(&self.dir)?)).clone()),
        }
    }
}

/// A saved state: grouping, key and bytes.
type StateRow = (u64, String, Vec<u8>);

/// Which sensor's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateKey<'a> {
    /// The lane.
    pub lane: &'a str,
    /// The grouping.
    pub keying: u64,
    /// The key.
    pub key: &'a str,
}

impl StateKey<'_> {
    fn bytes(&self) -> Vec<u8> {
        [self.lane.as_bytes(), &[0], &self.keying.to_be_bytes(), self.key.as_bytes()].concat()
    }
}

/// Behind a name: a byte that no UTF-8 text holds, and the number of the piece.
const PIECE_SUFFIX: usize = 3;
const PIECE_MARK: u8 = 0xff;

fn piece_key(name: &[u8], piece: usize) -> Vec<u8> {
    let piece = u16::try_from(piece).unwrap_or(u16::MAX).to_be_bytes();
    [name, &[PIECE_MARK], &piece].concat()
}

fn is_head(key: &[u8]) -> bool {
    key.ends_with(&[PIECE_MARK, 0, 0])
}

/// Cuts `bytes` into pieces; the first begins with their number and the checksum of the whole.
fn put(batch: &mut sled::Batch, name: &[u8], bytes: &[u8]) -> usize {
    let mut whole = Vec::with_capacity(bytes.len() + 8);
    put_varint(&mut whole, bytes.len() as u64);
    whole.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    whole.extend_from_slice(bytes);
    let pieces = whole.chunks(PIECE_BYTES_MAX);
    let count = pieces.len();
    pieces.enumerate().for_each(|(at, piece)| batch.insert(piece_key(name, at), piece));
    count
}

/// Removes `rows` from `tree`, in batches.
fn remove(tree: &sled::Tree, rows: sled::Iter) -> Result<(), StoreError> {
    let mut batch = sled::Batch::default();
    for (at, row) in rows.keys().enumerate() {
        batch.remove(row?);
        if at % BATCH_KEYS_MAX == BATCH_KEYS_MAX - 1 {
            tree.apply_batch(std::mem::take(&mut batch))?;
        }
    }
    Ok(tree.apply_batch(batch)?)
}

/// Puts the pieces together. Pieces behind the end are left from a longer value.
fn get(tree: &sled::Tree, name: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(head) = tree.get(piece_key(name, 0))? else { return Ok(None) };
    let damaged = || StoreError::Damaged(String::from_utf8_lossy(name).into_owned());
    let mut input = Input(&head);
    let length = input.varint().map_err(|_| damaged())? as usize;
    let crc = input.take(4).map_err(|_| damaged())?.try_into().expect("four bytes were taken");
    let mut bytes = input.0.to_vec();
    for piece in 1.. {
        if bytes.len() >= length {
            break;
        }
        bytes.extend_from_slice(&tree.get(piece_key(name, piece))?.ok_or_else(damaged)?);
    }
    let is_right = bytes.len() == length && crc32c::crc32c(&bytes) == u32::from_le_bytes(crc);
    if is_right { Ok(Some(bytes)) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_any_size_come_back_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        fn key(key: &str) -> StateKey<'_> {
            StateKey { lane: "main", keying: 7, key }
        }
        let value = |size: usize| (0..size).map(|n| (n % 251) as u8).collect::<Vec<_>>();
        let sizes = [0, 1, PIECE_BYTES_MAX - 6, PIECE_BYTES_MAX, 3 * PIECE_BYTES_MAX + 5];
        {
            let store = Store::open(dir.path()).expect("opens");
            let names: Vec<String> = sizes.iter().map(|size| format!("s{size}")).collect();
            let values: Vec<_> = sizes.iter().map(|size| value(*size)).collect();
            let rows = names.iter().zip(&values).map(|(name, value)| (key(name), value.as_slice()));
            store.put_states(rows).expect("writes");
            store.put_cursor("lane/main", b"c").expect("writes");
        }
        let store = Store::open(dir.path()).expect("opens again");
        for size in sizes {
            assert_eq!(store.state(&key(&format!("s{size}"))).expect("reads"), Some(value(size)));
        }
        let all: Vec<_> = store.states("main").expect("reads").map(|row| row.expect("reads")).collect();
        assert_eq!(all.len(), sizes.len());
        assert!(all.iter().all(|(keying, name, bytes)| *keying == 7 && *name == format!("s{}", bytes.len())));
        assert_eq!(store.states("mai").expect("reads").count(), 0);
        assert_eq!(store.cursor("lane/main").expect("reads").as_deref(), Some(b"c".as_slice()));
        assert_eq!(store.cursor("lane/other").expect("reads"), None);
    }

    #[test]
    fn a_removed_lane_leaves_its_neighbours() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("opens");
        let lanes = ["main", "main+birth-7", "mai"];
        for lane in lanes {
            let keys: Vec<String> = (0..BATCH_KEYS_MAX + 3).map(|n| n.to_string()).collect();
            let rows = keys.iter().map(|key| (StateKey { lane, keying: 0, key }, [1, 2].as_slice()));
            store.put_states(rows).expect("writes");
            store.put_cursor(&format!("lane/{lane}"), &vec![3; 20_000]).expect("writes");
        }
        assert_eq!(store.cursor_names("lane/main").expect("reads"), ["lane/main", "lane/main+birth-7"]);
        store.remove_lane("main", "lane/main").expect("removes");
        let counts = lanes.map(|lane| store.states(lane).expect("reads").count());
        assert_eq!(counts, [0, BATCH_KEYS_MAX + 3, BATCH_KEYS_MAX + 3]);
        assert_eq!(store.cursor_names("lane/").expect("reads"), ["lane/mai", "lane/main+birth-7"]);
    }

    #[test]
    fn a_shorter_value_replaces_a_longer_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("opens");
        store.put_cursor("x", &vec![1; 20_000]).expect("writes");
        store.put_cursor("x", &[2; 10]).expect("writes");
        assert_eq!(store.cursor("x").expect("reads"), Some(vec![2; 10]));
    }
}
