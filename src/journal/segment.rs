//! Segment files: frames one after the other, preallocated with zeros, named by their first offset.
//!
//! A segment ends where the next one begins, whatever it still holds: that makes recovery's steps safe in
//! any order, and a failed segment need not be mended before the stream goes on.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ballast::Ballast;
use super::disk::{Disk, DiskFile};
use crate::model::Offset;

mod read;
mod spare;

pub use read::SegmentReader;
pub use spare::Spare;

/// Size at which a segment is closed and the next one opened, unless a test wants many.
pub const SEGMENT_BYTES: u64 = 64 << 20;
const SUFFIX: &str = ".seg";
/// A file on its way to become a segment.
const NEW_SUFFIX: &str = ".new";

/// The directory of one stream.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The disk it is on.
    pub disk: Arc<dyn Disk>,
    /// Its path.
    pub dir: PathBuf,
    /// Size at which its segments are closed.
    pub segment_bytes: u64,
    /// Where next segments are made ahead.
    pub spares: Spares,
    /// What is kept back for a full disk.
    pub ballast: Arc<Ballast>,
}

/// Where the file of a stream's next segment is made while the present one fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spares {
    /// On a thread of its own.
    Aside,
    /// On the writer's, for tests that want everything in order.
    Inline,
}

impl Folder {
    /// Room that a new segment gets beforehand: none while the disk is full.
    fn given_bytes(&self) -> u64 {
        if self.ballast.is_released() { 0 } else { self.segment_bytes }
    }

    /// The path of the segment that begins at `base`.
    pub fn path(&self, base: Offset) -> PathBuf {
        path(&self.dir, base)
    }

    /// First offsets of all segments, ascending.
    pub fn list(&self) -> io::Result<Vec<Offset>> {
        list(&*self.disk, &self.dir)
    }

    /// Sizes of all segments by their first offsets.
    pub fn sizes(&self) -> io::Result<BTreeMap<Offset, u64>> {
        sizes(&*self.disk, &self.dir)
    }

    /// Removes what a start that was cut short left half made.
    pub fn sweep(&self) -> io::Result<()> {
        for entry in self.disk.list(&self.dir)? {
            if entry.name.ends_with(NEW_SUFFIX) {
                self.disk.remove(&self.dir.join(entry.name))?;
            }
        }
        Ok(())
    }

    /// Opens the segment that begins at `base` for reading.
    pub fn open(&self, base: Offset) -> io::Result<SegmentReader> {
        Ok(SegmentReader::new(self.disk.open(&self.path(base))?, base))
    }
}

/// First offsets of all segments in `dir`, ascending.
pub fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<Offset>> {
    Ok(sizes(disk, dir)?.into_keys().collect())
}

fn sizes(disk: &dyn Disk, dir: &Path) -> io::Result<BTreeMap<Offset, u64>> {
    let entries = disk.list(dir)?;
    let base = |name: &str| name.strip_suffix(SUFFIX)?.parse().ok().map(Offset);
    Ok(entries.iter().filter_map(|entry| Some((base(&entry.name)?, entry.bytes))).collect())
}

/// The path in `dir` of the segment that begins at `base`.
pub fn path(dir: &Path, base: Offset) -> PathBuf {
    dir.join(format!("{:020}{SUFFIX}", base.0))
}

/// The segment that is written to.
#[derive(Debug)]
pub struct SegmentWriter {
    file: Box<dyn DiskFile>,
    base: Offset,
    bytes_max: u64,
    written_bytes: u64,
    synced_bytes: u64,
}

impl SegmentWriter {
    /// Creates the segment that begins at `base` and holds `frames` (already encoded), durably. A segment
    /// of that name is replaced: it holds nothing that `frames` does not.
    pub fn create(folder: &Folder, base: Offset, frames: &[u8]) -> io::Result<Self> {
        let path = folder.path(base);
        let new = path.with_extension(&NEW_SUFFIX[1..]);
        let file = folder.disk.create(&new, folder.given_bytes())?;
        file.write_all_at(frames, 0)?;
        file.sync_all()?;
        folder.disk.rename(&new, &path)?;
        folder.disk.sync_dir(&folder.dir)?;
        let bytes = frames.len() as u64;
        let bytes_max = folder.segment_bytes;
        Ok(Self { file, base, bytes_max, written_bytes: bytes, synced_bytes: bytes })
    }

    /// Begins an empty segment at `base`, durably, in the file made ahead if there is one. A segment of that name is
    /// replaced: it holds nothing.
    pub fn begin(folder: &Folder, base: Offset, spare: Option<spare::Made>) -> io::Result<Self> {
        let Some(spare) = spare else { return Self::create(folder, base, &[]) };
        folder.disk.rename(&spare.path, &folder.path(base))?;
        folder.disk.sync_dir(&folder.dir)?;
        let bytes_max = folder.segment_bytes;
        Ok(Self { file: spare.file, base, bytes_max, written_bytes: 0, synced_bytes: 0 })
    }

    /// First offset.
    pub fn base(&self) -> Offset {
        self.base
    }

    /// Whether it is time for the next segment.
    pub fn is_full(&self) -> bool {
        self.written_bytes >= self.bytes_max
    }

    /// Whether it is time to make the next segment's file.
    pub fn is_nearly_full(&self) -> bool {
        self.written_bytes >= self.bytes_max / 4 * 3
    }

    /// Bytes written.
    pub fn bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Writes `frames` and makes them durable.
    ///
    /// # Errors
    /// Any error leaves the segment's durable part as it was and the rest undefined: go on in a new segment. The
    /// sync is never tried again.
    pub fn commit(&mut self, frames: &[u8]) -> io::Result<()> {
        self.file.write_all_at(frames, self.written_bytes)?;
        self.written_bytes += frames.len() as u64;
        self.file.sync_data()?;
        self.synced_bytes = self.written_bytes;
        Ok(())
    }

    /// Cuts the file to its durable length, durably: gives back what it does not use. Nothing depends on it.
    pub fn cut(&self) -> io::Result<()> {
        self.file.set_bytes(self.synced_bytes)?;
        self.file.sync_all()
    }
}
