//! The disk as the journal sees it: few calls, so that a simulated one can stand in.
//!
//! Every file operation of the journal goes through [`Disk`] and [`DiskFile`]: [`real`] is the operating
//! system's, `sim` (tests only) loses what was not synced, fails on demand and fills up. The contract is that of
//! POSIX without its comforts: written bytes are durable after a sync of the file, names after a sync of their
//! directory, and after a failed sync nothing is known about what was written since the one before.

use std::fmt::Debug;
use std::io;
use std::path::Path;

pub mod real;
#[cfg(test)]
pub(crate) mod sim;

pub use real::RealDisk;

/// A file's name and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name within its directory.
    pub name: String,
    /// Its length, room given beforehand included.
    pub bytes: u64,
}

/// A file system. Errors are those of the operating system; none is retried here.
pub trait Disk: Debug + Send + Sync {
    /// Whether there is a file or directory at `path`.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Creates the directory `dir`, whose parent exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The files in `dir`, in no order. Directories are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Opens the file at `path` for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// An empty file at `path`, in the place of one that may be there, with room for `bytes` given beforehand
    /// (its length is `bytes` then, all zeros) where the file system can.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>>;

    /// Gives the file at `from` the name `to`, in the place of one that may be there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the file at `path`.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable: those given, changed and removed.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that can still be written to the file system of `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Whether calls may block the thread for long: then readers go to a thread that may.
    fn blocks(&self) -> bool {
        true
    }
}

/// An open file. Places are absolute, so that several readers can share one.
pub trait DiskFile: Debug + Send + Sync {
    /// Its length.
    fn bytes(&self) -> io::Result<u64>;

    /// Fills `buffer` from place `at`, or as much of it as the file has: how much.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Fills `buffer` from place `at`; [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let is_whole = self.read_at(buffer, at)? == buffer.len();
        is_whole.then_some(()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The first place at or behind `at` that may hold anything but zeros; `None` if there is none.
    fn data_from(&self, at: u64) -> io::Result<Option<u64>>;

    /// Writes all of `bytes` to place `at`.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Gives room beforehand for the first `bytes`, also where there are holes, where the file system can.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Cuts or lengthens the file.
    fn set_bytes(&self, bytes: u64) -> io::Result<()>;

    /// Makes what was written durable, and the length if reading it needs that.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes everything about the file durable but its name.
    fn sync_all(&self) -> io::Result<()>;
}

/// Makes sure that `dir` and its name are on disk. What is above it must be: see [`ensure_path`].
///
/// # Errors
/// Those of the disk.
pub fn ensure_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if !disk.exists(dir)? {
        disk.create_dir(dir)?;
    }
    // Also if it was there: whoever created it may have been killed before this.
    disk.sync_dir(parent_of(dir))
}

/// Makes sure that `dir` and every name on the way to it are on disk.
///
/// # Errors
/// Those of the disk. A directory that may not be read is passed over: somebody else gave its names.
pub fn ensure_path(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let parent = parent_of(dir);
    if parent == dir || parent == Path::new(".") {
        return ensure_dir(disk, dir);
    }
    ensure_path(disk, parent)?;
    match ensure_dir(disk, dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && disk.exists(dir)? => Ok(()),
        done => done,
    }
}

/// The directory that holds the name `dir`.
fn parent_of(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => dir,
    }
}

/// The content of a small file; `None` if there is none.
///
/// # Errors
/// Those of the disk.
pub fn read_small(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    const BYTES_MAX: u64 = 1 << 20;
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = file.bytes()?;
    if bytes > BYTES_MAX {
        let problem = format!("{} has {bytes} bytes, more than {BYTES_MAX}", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    let mut content = vec![0; bytes as usize];
    file.read_exact_at(&mut content, 0)?;
    Ok(Some(content))
}

/// Puts a small file in the place of `path`: after any end there is the old content or the new.
///
/// # Errors
/// Those of the disk; either content may be found then.
pub fn replace_small(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let file = disk.create(&new, 0)?;
    file.write_all_at(content, 0)?;
    file.sync_all()?;
    disk.rename(&new, path)?;
    path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
}
