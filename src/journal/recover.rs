//! What a stream's directory holds after any end, and a segment to go on in.
//!
//! Only the last segment can be torn. Frames up to the last durable mark in it are on disk; what stands
//! behind that mark may be in the page cache only (a sync may have failed before the crash), so it is
//! copied into the new segment and synced before anybody sees it. A bad frame above every durable mark is
//! a torn tail and is cut; one below is damage: it stays where it is and readers report it as a gap.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::dedup::Original;
use super::frame::{Header, Kind};
use super::record::{Clock, Content, Record};
use super::segment::{self, Item, SegmentReader, SegmentWriter};
use crate::model::batch::RecordId;
use crate::model::{Batch, DeadLetter, Offset, Timestamp};

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

/// Recovers the stream in `dir`, which is created if missing. `floor` is the least next offset: one more than
/// any cursor knows.
///
/// # Errors
/// IO errors; [`io::ErrorKind::Unsupported`] if a newer program wrote the stream (nothing is touched).
pub fn open(dir: &Path, floor: Offset) -> io::Result<Recovered> {
    std::fs::create_dir_all(dir)?;
    let mut bases = segment::list(dir)?;
    let Some(last) = bases.last().copied() else {
        let segment = SegmentWriter::create(dir, floor, &[])?;
        return Ok(Recovered { segment, bases: vec![floor], next: floor, torn_bytes: 0, damaged: 0 });
    };
    let mut reader = SegmentReader::open(dir, last)?;
    let (places, damaged) = scan(&mut reader)?;
    let mark = places.iter().map(|place| place.durable).max().unwrap_or(last).max(last);
    let tail = places.partition_point(|place| place.base < mark);
    let (kept_bytes, end_bytes) = (start_of(&places, tail), places.last().map_or(0, |place| place.to));
    let next = places.last().map_or(last, |place| place.end).max(floor);
    let new_base = places.get(tail).map_or(next, |place| place.base);
    let torn_bytes = reader.at() - end_bytes;
    let frames = reader.bytes(kept_bytes, end_bytes)?;
    let segment = SegmentWriter::create(dir, new_base, &frames)?;
    if new_base != last {
        bases.push(new_base);
        cut_old(dir, &mut bases, last, kept_bytes)?;
    }
    Ok(Recovered { segment, bases, next, torn_bytes, damaged })
}

/// All good frames; the reader stands behind the last byte that is not zero (roughly: behind the torn frame).
fn scan(reader: &mut SegmentReader) -> io::Result<(Vec<Place>, u32)> {
    let mut places: Vec<Place> = Vec::new();
    let mut damaged = 0;
    loop {
        let from = reader.at();
        match reader.next()? {
            Item::Frame(header, _) => places.push(Place {
                base: header.base,
                end: header.end(),
                durable: header.durable,
                from,
                to: reader.at(),
            }),
            Item::End => return Ok((places, damaged)),
            Item::Damaged => {
                let bad = places.last().map_or(reader.base(), |place| place.end);
                let mut further = Vec::new();
                if reader.resync(bad)? {
                    (further, _) = scan(reader)?;
                }
                // Frames behind a bad one count only if one of them says that the bad one was durable.
                if further.iter().any(|place| place.durable > bad) {
                    damaged += 1;
                    places.extend(further);
                }
                return Ok((places, damaged));
            }
        }
    }
}

fn start_of(places: &[Place], tail: usize) -> u64 {
    places.get(tail).map(|place| place.from).or(places.last().map(|place| place.to)).unwrap_or(0)
}

/// Cuts the old last segment where the new one begins; one that is empty then is removed.
fn cut_old(dir: &Path, bases: &mut Vec<Offset>, old: Offset, bytes: u64) -> io::Result<()> {
    let path = segment::path(dir, old);
    if bytes == 0 {
        std::fs::remove_file(&path)?;
        bases.retain(|base| *base != old);
        return segment::sync_dir(dir);
    }
    let file = std::fs::OpenOptions::new().write(true).open(&path)?;
    file.set_len(bytes)?;
    file.sync_all()
}

/// Segments whose identities are read in any case: a quiet site's go back for days.
const SEGMENTS_MIN: usize = 4;

/// How far back message identities are remembered.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// At least what arrived since then.
    pub since: Timestamp,
    /// Most identities.
    pub count_max: usize,
}

/// Identities of the latest messages in `dir`, the oldest first. Damaged frames are passed over: losing an
/// identity can only mean that a copy is taken as new.
///
/// # Errors
/// IO errors.
pub fn identities(dir: &Path, bases: &[Offset], memory: Memory) -> io::Result<Vec<(u64, Original)>> {
    let mut segments = Vec::new();
    let mut total = 0;
    for base in bases.iter().rev() {
        let (found, reached) = identities_of(dir, *base, memory.since)?;
        total += found.len();
        segments.push(found);
        let is_enough = reached && segments.len() >= SEGMENTS_MIN;
        if is_enough || total >= memory.count_max {
            break;
        }
    }
    let all: Vec<_> = segments.into_iter().rev().flatten().collect();
    Ok(all[all.len().saturating_sub(memory.count_max)..].to_vec())
}

/// Identities of one segment, and whether it holds a message older than `since`.
fn identities_of(dir: &Path, base: Offset, since: Timestamp) -> io::Result<(Vec<(u64, Original)>, bool)> {
    let mut reader = SegmentReader::open(dir, base)?;
    let (mut found, mut reached) = (Vec::new(), false);
    loop {
        let item = reader.next()?;
        reached |= matches!(&item, Item::Frame(header, _) if header.received < since);
        match item {
            Item::Frame(header, Content::Readings(batch)) => of_batch(&batch, &header, &mut found),
            Item::Frame(header, Content::DeadLetters(letters)) => of_letters(&letters, &header, &mut found),
            Item::Frame(..) => {}
            Item::End | Item::Damaged => return Ok((found, reached)),
        }
    }
}

fn of_batch(batch: &Batch, &Header { base, received, .. }: &Header, found: &mut Vec<(u64, Original)>) {
    let mut first = 0;
    for message in batch.messages() {
        if let Some(hash) = message.identity.hash() {
            found.push((hash, Original { offset: base.plus(first), received }));
        }
        first = u64::from(message.end);
    }
    for row in 0..batch.len() {
        if let Some(hash) = batch.record_id(row).and_then(RecordId::hash) {
            found.push((hash, Original { offset: base.plus(row as u64), received }));
        }
    }
}

fn of_letters(
    letters: &[DeadLetter],
    &Header { base, received, .. }: &Header,
    found: &mut Vec<(u64, Original)>,
) {
    for (at, letter) in letters.iter().enumerate() {
        if let Some(hash) = letter.identity.hash() {
            found.push((hash, Original { offset: base.plus(at as u64), received }));
        }
    }
}

/// The latest `emitted` of every lane in a `results` stream: each segment opens with the whole table, and the
/// last one may hold nothing yet.
///
/// # Errors
/// IO errors.
pub fn emitted(dir: &Path, bases: &[Offset]) -> io::Result<BTreeMap<Arc<str>, Offset>> {
    let mut table = BTreeMap::new();
    latest(dir, bases, Kind::Outputs, |content| {
        let Content::Outputs(frame) = content else { return };
        for (lane, offset) in &frame.emitted {
            let known = table.entry(lane.clone()).or_insert(*offset);
            *known = (*known).max(*offset);
        }
    })?;
    Ok(table)
}

/// The last tick in a `readings` stream, if the last segments hold one.
///
/// # Errors
/// IO errors.
pub fn last_clock(dir: &Path, bases: &[Offset]) -> io::Result<Option<Clock>> {
    let mut last = None;
    latest(dir, bases, Kind::Record, |content| {
        if let Content::Record(record) = content
            && let Record::Tick(clock) = &*record
        {
            last = Some(*clock);
        }
    })?;
    Ok(last)
}

/// Segments looked at from the end: a start that was cut short leaves one that holds nothing.
const LATEST_SEGMENTS: usize = 3;

/// Shows the frames of `kind` in the last segments; others are stepped over by their headers.
fn latest(dir: &Path, bases: &[Offset], kind: Kind, mut show: impl FnMut(Content)) -> io::Result<()> {
    for base in &bases[bases.len().saturating_sub(LATEST_SEGMENTS)..] {
        let mut reader = SegmentReader::open(dir, *base)?;
        while let Ok(header) = reader.peek()? {
            if header.kind != kind {
                reader.skip(&header);
                continue;
            }
            let Item::Frame(_, content) = reader.next()? else { break };
            show(content);
        }
    }
    Ok(())
}
