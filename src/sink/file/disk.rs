//! The file operations of the file sink, as a trait: one real implementation, one in the tests that fails or
//! crashes at the n-th.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// Which file a path leads to. Inode numbers are used again soon after a file is deleted, so the time of birth
/// belongs to it where the file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    inode: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born_ns: Option<u64>,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub id: FileId,
    pub length: u64,
}

/// The operations. Each is whole and durable when it returns, unless it says otherwise.
pub(super) trait Disk: Send {
    /// What is at `path`; `None` where there is nothing.
    fn find(&mut self, path: &Path) -> io::Result<Option<Found>>;
    /// Makes a new file, and its folder if need be.
    fn create(&mut self, path: &Path) -> io::Result<()>;
    /// Whether the file is empty or ends with a line end.
    fn ends_with_line(&mut self, path: &Path) -> io::Result<bool>;
    /// Appends; not yet durable, and on an error perhaps in part.
    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended durable.
    fn sync(&mut self, path: &Path) -> io::Result<()>;
    /// Cuts the file to `length`.
    fn truncate(&mut self, path: &Path, length: u64) -> io::Result<()>;
    /// Renames within a folder; replaces what is at `to`.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// The file system.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn find(&mut self, path: &Path) -> io::Result<Option<Found>> {
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born_ns = born.and_then(|born| u64::try_from(born.as_nanos()).ok());
        Ok(Some(Found { id: FileId { inode: metadata.ino(), born_ns }, length: metadata.len() }))
    }

    fn create(&mut self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder(path))?;
        OpenOptions::new().append(true).create_new(true).open(path)?;
        sync_folder(path)
    }

    fn ends_with_line(&mut self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(true);
        }
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok(last == *b"\n")
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).open(path)?.write_all(bytes)
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_data()
    }

    fn truncate(&mut self, path: &Path, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(length)?;
        file.sync_data()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        sync_folder(to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)?;
        sync_folder(path)
    }
}

fn folder(path: &Path) -> &Path {
    // A bare file name has the empty path as its parent.
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}
