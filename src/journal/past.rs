//! A stream's directory seen from outside, beside its writer or without one: for replay, checks and backups.
//!
//! Nothing is written and nothing is locked. [`Past::open`] fixes how far may be read: beside a running writer up to
//! the highest durable mark of the last segment (a sync may yet fail for what stands behind it), without one as far
//! as recovery would go. [`pieces`] walks the frames from there on; damage and holes come as [`Hole`]s between
//! them, so that nothing is passed over in silence.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::RealDisk;
use super::frame::{self, Header};
use super::record::{Chunk, Clock, Content, Record};
use super::segment;
use crate::model::{Offset, Timestamp};

mod pieces;
#[cfg(test)]
mod tests;

pub use pieces::Pieces;
use pieces::{Payloads, UNLIMITED};

/// How far a stream may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Up to the highest durable mark: a writer may be at work.
    Durable,
    /// Every frame that recovery would keep.
    Whole,
}

/// A stream's directory as it was when it was opened.
#[derive(Clone, Debug)]
pub struct Past {
    dir: PathBuf,
    bases: Vec<Offset>,
    end: Offset,
    rest: Rest,
}

/// The name of the segment that begins at `base`, without its directory.
pub fn segment_path(base: Offset) -> PathBuf {
    segment::path(Path::new(""), base)
}

/// First offsets of the segments in `dir`, ascending.
fn list(dir: &Path) -> io::Result<Vec<Offset>> {
    segment::list(&RealDisk, dir)
}

/// What stands in the last segment behind the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Place of its first byte in the segment's file.
    pub at_bytes: u64,
    /// Its bytes, up to the last one that is not zero.
    pub bytes: u64,
}

/// What comes next in a stream.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A frame with a right checksum.
    Frame(Frame),
    /// The head of a frame whose payload nobody asked for; not checked.
    Head(Header),
    /// Offsets, bytes or both that hold no frame.
    Hole(Hole),
}

/// A frame as it stands on disk.
#[derive(Clone, Debug)]
pub struct Frame {
    /// First offset of its segment.
    pub segment: Offset,
    /// Its place in the segment's file.
    pub at_bytes: u64,
    /// Its header.
    pub header: Header,
    packed: Vec<u8>,
}

/// A place of a stream that holds no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// First offset of the segment.
    pub segment: Offset,
    /// Where in its file.
    pub at_bytes: u64,
    /// Bytes there that are no frame.
    pub bytes: u64,
    /// First offset that is missing.
    pub from: Offset,
    /// One past the last offset that is missing; `from` where none is.
    pub to: Offset,
    /// What is wrong.
    pub why: Why,
}

/// Why there is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// Bytes that are no frame, or a frame with a wrong checksum.
    Damaged,
    /// The frames end, and the next one begins at a later offset.
    Missing,
    /// A frame that begins before the end of the one in front of it.
    Disorder,
    /// The segment's file went away: retention took it.
    Trimmed,
}

impl Why {
    /// The word in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Disorder => "disorder",
            Self::Trimmed => "trimmed",
        }
    }
}

impl Frame {
    /// The records; `None` if the payload is not what the header says.
    pub fn content(&self) -> Option<Content> {
        let payload = frame::unpack(&self.header, &self.packed).ok()?;
        Content::decode(&self.header, payload)
    }

    /// The records as readers get them, less those from `end` on; `None` as in [`Self::content`].
    pub fn chunk(&self, end: Offset) -> Option<Chunk> {
        let Header { base, count, received, .. } = self.header;
        let chunk = Chunk { base, count, received, content: self.content()? };
        Some(if chunk.end() > end { clipped(chunk, end) } else { chunk })
    }
}

/// Readings from `end` on are taken away; other frames hold one record, or are of use only as a whole.
fn clipped(mut chunk: Chunk, end: Offset) -> Chunk {
    if let Content::Readings(batch) = &mut chunk.content {
        let kept = end.0.saturating_sub(chunk.base.0) as usize;
        let batch = Arc::make_mut(batch);
        batch.rows.truncate(kept);
        batch.record_ids.truncate(kept);
        batch.messages.retain(|message| message.end as usize <= kept);
        chunk.count = kept as u32;
    }
    chunk
}

impl Past {
    /// Looks at the stream in `dir`: which segments there are, and how far `extent` lets them be read.
    ///
    /// # Errors
    /// IO errors; [`io::ErrorKind::Unsupported`] if a newer program wrote the stream.
    pub fn open(dir: &Path, extent: Extent) -> io::Result<Self> {
        let bases = list(dir)?;
        let last = bases.last().copied().unwrap_or_default();
        let mut past = Self { dir: dir.to_owned(), bases, end: last, rest: Rest::default() };
        if past.bases.is_empty() {
            return Ok(past);
        }
        let tail = Tail::scan(&past, last)?;
        let (end, at_bytes) = tail.end(extent);
        past.end = end;
        past.rest = Rest { at_bytes, bytes: tail.used_bytes.saturating_sub(at_bytes) };
        Ok(past)
    }

    /// First offsets of the segments, ascending.
    pub fn segments(&self) -> &[Offset] {
        &self.bases
    }

    /// The file of the segment that begins at `base`.
    pub fn path(&self, base: Offset) -> PathBuf {
        segment::path(&self.dir, base)
    }

    /// The oldest offset there is.
    pub fn oldest(&self) -> Offset {
        self.bases.first().copied().unwrap_or_default()
    }

    /// One past the newest offset that may be read.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// What stands in the last segment behind the end: being written, or torn.
    pub fn rest(&self) -> Rest {
        self.rest
    }

    /// The frames from the one that holds `from` on, with their payloads.
    pub fn pieces(&self, from: Offset) -> Pieces {
        Pieces::new(self, from, Payloads::All)
    }

    /// The frames from the one that holds `from` on; only control records with their payloads.
    pub fn records(&self, from: Offset) -> Pieces {
        Pieces::new(self, from, Payloads::Records)
    }

    /// The heads of the frames from the one that holds `from` on.
    pub fn heads(&self, from: Offset) -> Pieces {
        Pieces::new(self, from, Payloads::None)
    }

    /// The first offset of the first frame that arrived at `time` or later; the end if there is none. Arrival is
    /// by the gateway's clock: where that was set back, the first such place counts.
    ///
    /// # Errors
    /// IO errors.
    pub fn at_time(&self, time: Timestamp) -> io::Result<Offset> {
        let mut begin = self.oldest();
        for base in &self.bases {
            match self.first_head(*base)? {
                Some(header) if header.received < time => begin = *base,
                Some(_) => break,
                None => {}
            }
        }
        let mut heads = self.heads(begin);
        while let Some(piece) = heads.read()? {
            if let Piece::Head(header) = piece
                && header.received >= time
            {
                return Ok(header.base);
            }
        }
        Ok(self.end)
    }

    /// The arrival of the first frame from `from` on; `None` at the end.
    ///
    /// # Errors
    /// IO errors.
    pub fn arrival(&self, from: Offset) -> io::Result<Option<Timestamp>> {
        Ok(self.first_head(from)?.map(|header| header.received))
    }

    /// The last tick before `offset`, if the segments near it hold one.
    ///
    /// # Errors
    /// IO errors.
    pub fn clock_before(&self, offset: Offset) -> io::Result<Option<Clock>> {
        let found = self.last_before(offset, SEGMENTS_WITHOUT_TICK_MAX, |record| match record {
            Record::Tick(clock) => Some(*clock),
            _ => None,
        })?;
        Ok(found.map(|(_, clock)| clock))
    }

    /// The last record before `offset` that `pick` takes, looking through at most `segments_max` segments from
    /// the back; its offset and what `pick` made of it.
    ///
    /// # Errors
    /// IO errors.
    pub fn last_before<T>(
        &self,
        offset: Offset,
        segments_max: usize,
        pick: impl Fn(&Record) -> Option<T>,
    ) -> io::Result<Option<(Offset, T)>> {
        let count = self.bases.partition_point(|base| *base < offset);
        let mut end = offset;
        for base in self.bases[..count].iter().rev().take(segments_max) {
            let mut records = self.records(*base);
            let mut last = None;
            while let Some(piece) = records.read()? {
                let Some(base) = piece.base().filter(|base| *base < end) else { break };
                if let Piece::Frame(frame) = piece
                    && let Some(Content::Record(record)) = frame.content()
                {
                    last = pick(&record).map(|picked| (base, picked)).or(last);
                }
            }
            if last.is_some() {
                return Ok(last);
            }
            end = *base;
        }
        Ok(None)
    }

    fn first_head(&self, from: Offset) -> io::Result<Option<Header>> {
        let mut heads = self.heads(from);
        while let Some(piece) = heads.read()? {
            if let Piece::Head(header) = piece {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

/// Segments looked through for the tick before a place: one is journalled every second.
const SEGMENTS_WITHOUT_TICK_MAX: usize = 3;

impl Piece {
    /// The first offset; `None` where no offset is concerned.
    pub fn base(&self) -> Option<Offset> {
        match self {
            Self::Frame(frame) => Some(frame.header.base),
            Self::Head(header) => Some(header.base),
            Self::Hole(hole) => (hole.from < hole.to).then_some(hole.from),
        }
    }
}

/// What the last segment holds.
struct Tail {
    base: Offset,
    /// End and place behind it of each good frame.
    frames: Vec<(Offset, u64)>,
    /// The highest durable mark.
    durable: Offset,
    /// Offsets at which bytes stand that are no frame, ascending.
    bad: Vec<Offset>,
    /// Place behind the last byte that is not zero.
    used_bytes: u64,
}

impl Tail {
    fn scan(past: &Past, base: Offset) -> io::Result<Self> {
        let open = Past { end: UNLIMITED, ..past.clone() };
        let mut tail = Self { base, frames: Vec::new(), durable: base, bad: Vec::new(), used_bytes: 0 };
        let mut pieces = open.pieces(base);
        while let Some(piece) = pieces.read()? {
            match piece {
                Piece::Frame(frame) => {
                    let end_bytes = frame.at_bytes + frame.header.frame_bytes();
                    tail.durable = tail.durable.max(frame.header.durable);
                    tail.frames.push((frame.header.end(), end_bytes));
                }
                Piece::Hole(hole) if hole.why == Why::Damaged => tail.bad.push(hole.from),
                Piece::Hole(_) | Piece::Head(_) => {}
            }
        }
        tail.used_bytes = pieces.used_bytes()?;
        Ok(tail)
    }

    /// The end for readers, and its place in the file. Bytes that are no frame end the stream unless a later
    /// durable mark says that a frame stood there: that is what recovery holds.
    fn end(&self, extent: Extent) -> (Offset, u64) {
        let torn = self.bad.iter().find(|bad| self.durable <= **bad).copied();
        let limit = match extent {
            Extent::Durable => self.durable,
            Extent::Whole => torn.unwrap_or(UNLIMITED),
        };
        let kept = self.frames.partition_point(|(end, _)| *end <= limit);
        self.frames[..kept].last().copied().unwrap_or((self.base, 0))
    }
}
