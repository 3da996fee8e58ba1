//! Segment files: frames one after the other, preallocated with zeros, named by their first offset.
//!
//! A segment ends where the next one begins, whatever it still holds: that makes recovery's steps safe in
//! any order. The only IO on segment files is here.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::frame::{self, FrameError, HEADER_BYTES, Header};
use super::record::{Chunk, Content};
use crate::model::Offset;

/// Size at which a segment is closed and the next one opened.
pub const SEGMENT_BYTES: u64 = 64 << 20;
const SUFFIX: &str = ".seg";

/// The path of the segment that begins at `base`.
pub fn path(dir: &Path, base: Offset) -> PathBuf {
    dir.join(format!("{:020}{SUFFIX}", base.0))
}

/// First offsets of all segments in `dir`, ascending.
pub fn list(dir: &Path) -> io::Result<Vec<Offset>> {
    let mut bases = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let base =
            name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|base| base.parse().ok());
        bases.extend(base.map(Offset));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Makes the names in `dir` durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The segment that is written to.
pub struct SegmentWriter {
    file: File,
    base: Offset,
    written_bytes: u64,
    synced_bytes: u64,
}

impl SegmentWriter {
    /// Creates the segment that begins at `base` and holds `frames` (already encoded), durably. A segment
    /// of that name is replaced: it holds nothing that `frames` does not.
    pub fn create(dir: &Path, base: Offset, frames: &[u8]) -> io::Result<Self> {
        let path = path(dir, base);
        let new = path.with_extension("new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
        preallocate(&file)?;
        file.write_all_at(frames, 0)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        sync_dir(dir)?;
        let bytes = frames.len() as u64;
        Ok(Self { file, base, written_bytes: bytes, synced_bytes: bytes })
    }

    /// First offset.
    pub fn base(&self) -> Offset {
        self.base
    }

    /// Whether it is time for the next segment.
    pub fn is_full(&self) -> bool {
        self.written_bytes >= SEGMENT_BYTES
    }

    /// Writes `frames` and makes them durable.
    ///
    /// # Errors
    /// Any error leaves the segment's durable part as it was and the rest undefined: [`Self::cut`] it and go on
    /// in a new segment. The sync is never tried again.
    pub fn commit(&mut self, frames: &[u8]) -> io::Result<()> {
        self.file.write_all_at(frames, self.written_bytes)?;
        self.written_bytes += frames.len() as u64;
        self.file.sync_data()?;
        self.synced_bytes = self.written_bytes;
        Ok(())
    }

    /// Cuts the file to its durable length, durably.
    pub fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.synced_bytes)?;
        self.file.sync_all()
    }
}

/// Gives the file its blocks beforehand, so that a sync has no metadata of the file system to write but the
/// marks of what is written. File systems that cannot are fine too.
fn preallocate(file: &File) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, SEGMENT_BYTES) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What stands at a place of a segment.
pub enum Item {
    /// A frame with a right checksum.
    Frame(Header, Content),
    /// Bytes that are no frame.
    Damaged,
    /// Nothing was ever written here.
    End,
}

/// Reads a segment from front to back.
pub struct SegmentReader {
    file: File,
    base: Offset,
    at: u64,
    buffer: Vec<u8>,
}

impl SegmentReader {
    /// Opens the segment that begins at `base`.
    pub fn open(dir: &Path, base: Offset) -> io::Result<Self> {
        Ok(Self { file: File::open(path(dir, base))?, base, at: 0, buffer: Vec::new() })
    }

    /// First offset of the segment.
    pub fn base(&self) -> Offset {
        self.base
    }

    /// Place of the next frame in the file.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The header at the current place, not checked against its payload.
    pub fn peek(&mut self) -> io::Result<Result<Header, FrameError>> {
        let Some(raw) = self.raw_header()? else { return Ok(Err(FrameError::Empty)) };
        Ok(frame::decode_header(&raw))
    }

    /// Steps over the frame that `header` (from [`Self::peek`]) begins.
    pub fn skip(&mut self, header: &Header) {
        self.at += header.frame_bytes();
    }

    /// Reads the item at the current place and steps over it if it is a frame.
    ///
    /// # Errors
    /// IO errors, and a frame of a newer format as [`io::ErrorKind::Unsupported`].
    pub fn next(&mut self) -> io::Result<Item> {
        let Some(raw) = self.raw_header()? else { return Ok(Item::End) };
        let header = match frame::decode_header(&raw) {
            Ok(header) => header,
            Err(FrameError::Empty) => return Ok(Item::End),
            Err(FrameError::Damaged) => return Ok(Item::Damaged),
            Err(newer @ FrameError::Newer(_)) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, newer));
            }
        };
        self.buffer.resize(header.packed_bytes as usize, 0);
        match self.file.read_exact_at(&mut self.buffer, self.at + HEADER_BYTES as u64) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Item::Damaged),
            Err(error) => return Err(error),
        }
        let Ok(payload) = frame::decode_payload(&raw, &header, &self.buffer) else {
            return Ok(Item::Damaged);
        };
        let Some(content) = Content::decode(&header, payload) else { return Ok(Item::Damaged) };
        self.at += header.frame_bytes();
        Ok(Item::Frame(header, content))
    }

    /// Steps from a damaged place to the next frame with a right checksum whose first offset is at least
    /// `least`; `false`, and no step, if there is none.
    pub fn resync(&mut self, least: Offset) -> io::Result<bool> {
        let damaged = self.at;
        let length = self.file.metadata()?.len();
        let mut rest = vec![0; usize::try_from(length.saturating_sub(damaged)).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut rest, damaged)?;
        for skipped in 1..rest.len().saturating_sub(HEADER_BYTES) {
            if !rest[skipped..].starts_with(b"FBJ1") {
                continue;
            }
            self.at = damaged + skipped as u64;
            if matches!(self.peek()?, Ok(header) if header.base >= least)
                && matches!(self.next()?, Item::Frame(..))
            {
                self.at = damaged + skipped as u64;
                return Ok(true);
            }
        }
        self.at = damaged;
        Ok(false)
    }

    /// The bytes from place `from` to place `to`.
    pub fn bytes(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; (to - from) as usize];
        self.file.read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    }

    fn raw_header(&self) -> io::Result<Option<[u8; HEADER_BYTES]>> {
        let mut raw = [0; HEADER_BYTES];
        match self.file.read_exact_at(&mut raw, self.at) {
            Ok(()) => Ok(Some(raw)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The chunk that `header` and `content` make.
pub fn chunk(header: &Header, content: Content) -> Chunk {
    Chunk { base: header.base, count: header.count, received: header.received, content }
}
