//! What a stream's directory holds after any end, and a segment to go on in.
//!
//! Only the last segment can be torn. Frames up to the last durable mark in it are on disk; what stands
//! behind that mark may be in the page cache only (a sync may have failed before the crash), so it is
//! copied into the new segment and synced before anybody sees it. A bad frame above every durable mark is
//! a torn tail and is cut; one below is damage: it stays where it is and readers report it as a gap.

use std::io;

use super::segment::{Folder, SegmentReader, SegmentWriter};
use crate::model::Offset;

/// A stream as recovery leaves it.
pub struct Recovered {
    /// The segment to write to.
    pub segment: SegmentWriter,
    /// First offsets of all segments, the new one included.
    pub bases: Vec<Offset>,
    /// The next offset.
    pub next: Offset,
    /// Bytes of a torn tail that were cut.
    pub torn_bytes: u64,
    /// Damaged places found in the last segment.
    pub damaged: u32,
}

/// A frame's place in its segment.
struct Place {
    base: Offset,
    end: Offset,
    durable: Offset,
    from: u64,
    to: u64,
}

/// Recovers the stream in `folder`, which is created if missing. `floor` is the least next offset: one more than
/// any cursor knows.
///
/// # Errors
/// IO errors; [`io::ErrorKind::Unsupported`] if a newer program wrote the stream (nothing is touched).
pub fn open(folder: &Folder, floor: Offset) -> io::Result<Recovered> {
    let mut bases = folder.list()?;
    let Some(last) = bases.last().copied() else {
        folder.sweep()?;
        let segment = SegmentWriter::create(folder, floor, &[])?;
        return Ok(Recovered { segment, bases: vec![floor], next: floor, torn_bytes: 0, damaged: 0 });
    };
    let mut reader = folder.open(last)?;
    let Scan { places, damaged, mark, torn_bytes } = scan(&mut reader, floor)?;
    folder.sweep()?;
    let tail = places.partition_point(|place| place.base < mark);
    let (kept_bytes, end_bytes) = (start_of(&places, tail), places.last().map_or(0, |place| place.to));
    let next = places.last().map_or(last, |place| place.end).max(floor);
    let new_base = places.get(tail).map_or(next, |place| place.base);
    let frames = reader.bytes(kept_bytes, end_bytes)?;
    let segment = SegmentWriter::create(folder, new_base, &frames)?;
    if new_base != last {
        let is_empty = kept_bytes == 0 && damaged == 0;
        bases.retain(|base| !is_empty || *base != last);
        bases.push(new_base);
        if damaged == 0 || kept_bytes < end_bytes {
            give_back(folder, last, kept_bytes);
        }
    }
    Ok(Recovered { segment, bases, next, torn_bytes, damaged })
}

/// What the last segment holds.
struct Scan {
    places: Vec<Place>,
    damaged: u32,
    /// Everything below is on disk.
    mark: Offset,
    torn_bytes: u64,
}

/// All good frames up to the torn tail. Frames behind a bad one count only if one of them, or a cursor (`floor`),
/// says that the bad one was durable.
fn scan(reader: &mut SegmentReader, floor: Offset) -> io::Result<Scan> {
    let mut places: Vec<Place> = Vec::new();
    // Number of good frames before each bad place.
    let mut bad = Vec::new();
    loop {
        let from = reader.at();
        if let Some(header) = reader.check()? {
            reader.step(&header);
            let (base, end, durable, to) = (header.base, header.end(), header.durable, reader.at());
            places.push(Place { base, end, durable, from, to });
            continue;
        }
        let expected = places.last().map_or(reader.base(), |place| place.end);
        if !reader.resync(expected)? {
            break;
        }
        bad.push(places.len());
    }
    let mark = places.iter().map(|place| place.durable).max().unwrap_or_default();
    let mark = mark.max(reader.base()).max(floor);
    let is_torn = |&good: &usize| end_of(&places, good).unwrap_or(reader.base()) >= mark;
    let torn = bad.iter().copied().find(is_torn);
    let mut damaged = bad.iter().take_while(|good| !is_torn(good)).count() as u32;
    places.truncate(torn.unwrap_or(places.len()));
    let (end, end_bytes) = places.last().map_or((reader.base(), 0), |place| (place.end, place.to));
    let mut torn_bytes = reader.data_end().saturating_sub(end_bytes);
    if end < mark && torn_bytes > 0 {
        damaged += 1;
        torn_bytes = 0;
    }
    Ok(Scan { places, damaged, mark, torn_bytes })
}

/// One past the last offset of the first `good` frames.
fn end_of(places: &[Place], good: usize) -> Option<Offset> {
    Some(places[..good].last()?.end)
}

fn start_of(places: &[Place], tail: usize) -> u64 {
    places.get(tail).map(|place| place.from).or(places.last().map(|place| place.to)).unwrap_or(0)
}

/// Gives back the room behind the first `bytes` of the old last segment. A segment ends where the next one
/// begins, so nothing depends on it.
fn give_back(folder: &Folder, old: Offset, bytes: u64) {
    let path = folder.path(old);
    let cut = || {
        if bytes == 0 {
            folder.disk.remove(&path)?;
            return folder.disk.sync_dir(&folder.dir);
        }
        let file = folder.disk.open(&path)?;
        file.set_bytes(bytes)?;
        file.sync_all()
    };
    if let Err(error) = cut() {
        tracing::warn!(segment = %path.display(), %error, "cannot give back the spare room of a segment");
    }
}
