//! sled 0.34 under the store. The only importer of sled.
//!
//! Its `flush` does not reach the disk: it calls `sync_file_range` only, so every flush is followed by an
//! `fdatasync` of our own on sled's file. Values must stay below its blob threshold (blobs are never synced),
//! batches small (memory jumps): the store sees to both. It remembers its first error for as long as it is open,
//! so after an error the store opens it anew.
//!
//! Sources: sled 0.34.7 `src/pagecache/iobuf.rs`, <https://github.com/spacejam/sled/issues/1452>.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::sled::{Batch as SledBatch, Config, Db, Error};

use super::backend::{Backend, Batch, Medium, Rows, Tree};
use super::{StoreError, files};

/// Page cache of sled. Small: states are read once, when a sensor wakes.
const CACHE_BYTES: u64 = 16 << 20;
/// Directories set aside that are kept for a person to look at: the older ones go.
const SET_ASIDE_KEPT: usize = 2;
/// Beside sled's files: they must not be used again.
const CONDEMNED: &str = "condemned";

/// An open sled.
struct Sled {
    /// In the order of [`Tree::ALL`].
    trees: [::sled::Tree; Tree::ALL.len()],
    db: Db,
    file: File,
}

impl Sled {
    fn tree(&self, tree: Tree) -> &::sled::Tree {
        &self.trees[tree as usize]
    }
}

impl Backend for Sled {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tree(tree).get(key).map_err(failure)?.map(|value| value.to_vec()))
    }

    fn scan(&self, tree: Tree, prefix: &[u8]) -> Rows {
        let rows = self.tree(tree).scan_prefix(prefix);
        Box::new(rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(failure)))
    }

    fn apply(&self, tree: Tree, batch: Batch) -> Result<(), StoreError> {
        let mut writes = SledBatch::default();
        for (key, value) in batch {
            match value {
                Some(value) => writes.insert(key, value),
                None => writes.remove(key),
            }
        }
        self.tree(tree).apply_batch(writes).map_err(failure)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(failure)?;
        Ok(self.file.sync_data()?)
    }
}

/// sled's files in a directory.
pub(super) struct SledDir(pub(super) PathBuf);

impl Medium for SledDir {
    fn open(&self) -> Result<Arc<dyn Backend>, StoreError> {
        let config = Config::new().path(&self.0).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = config.open().map_err(open_failure)?;
        let open = |tree: Tree| db.open_tree(tree.name()).map_err(open_failure);
        let trees = [open(Tree::ALL[0])?, open(Tree::ALL[1])?];
        // sled syncs neither its settings, without which it takes itself for new, nor any name.
        File::open(self.0.join("conf"))?.sync_all()?;
        File::open(&self.0)?.sync_all()?;
        files::sync_parent(&self.0)?;
        Ok(Arc::new(Sled { trees, db, file: File::open(self.0.join("db"))? }))
    }

    fn set_aside(&self) -> io::Result<Option<String>> {
        let others = files::numbered(&self.0, ".damaged-")?;
        let number = others.last().map_or(1, |(number, _)| number + 1);
        let mut to = self.0.clone().into_os_string();
        to.push(format!(".damaged-{number}"));
        match fs::rename(&self.0, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed?,
        }
        files::sync_parent(&self.0)?;
        for (_, old) in others.iter().rev().skip(SET_ASIDE_KEPT - 1) {
            fs::remove_dir_all(old)?;
        }
        Ok(Some(Path::new(&to).display().to_string()))
    }

    fn discard(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn condemn(&self, why: &str) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        files::replace(&self.0.join(CONDEMNED), why.as_bytes())
    }

    fn condemned(&self) -> io::Result<Option<String>> {
        match fs::read(self.0.join(CONDEMNED)) {
            Ok(why) => Ok(Some(String::from_utf8_lossy(&why).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// An error of an open sled: what is not the disk's is damage.
fn failure(error: Error) -> StoreError {
    match error {
        Error::Io(error) => error.into(),
        other => StoreError::Damaged(other.to_string()),
    }
}

/// An error of opening: sled reports files it cannot read as all kinds of IO errors.
fn open_failure(error: Error) -> StoreError {
    match error {
        Error::Io(error) if is_not_the_datas(&error) => error.into(),
        other => StoreError::Damaged(other.to_string()),
    }
}

fn is_not_the_datas(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    // Somebody else has it open: an earlier store of this process that is still closing.
    let is_locked = || error.to_string().starts_with("could not acquire lock");
    matches!(error.kind(), StorageFull | QuotaExceeded | PermissionDenied | ReadOnlyFilesystem) || is_locked()
}
