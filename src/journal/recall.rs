//! What is remembered over a restart: message identities, how far lanes have emitted, the clock.
//!
//! Read from the last segments of a stream that has been recovered: they end where the next one begins, the
//! last one at the next offset. Damaged frames are passed over: recovery and readers
//! report them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::dedup::Original;
use super::frame::{Header, Kind};
use super::record::{Clock, Content, Record};
use super::segment::Folder;
use crate::model::batch::RecordId;
use crate::model::{Batch, DeadLetter, Offset, Timestamp};

/// A recovered stream on disk.
pub struct Stored<'a> {
    /// Its directory.
    pub folder: &'a Folder,
    /// First offsets of its segments.
    pub bases: &'a [Offset],
    /// The next offset.
    pub next: Offset,
}

impl Stored<'_> {
    /// Where each segment begins and ends: what a file holds beyond was never acknowledged.
    fn extents(&self) -> impl DoubleEndedIterator<Item = (Offset, Offset)> {
        let end = |at: usize| self.bases.get(at + 1).copied().unwrap_or(self.next);
        self.bases.iter().enumerate().map(move |(at, base)| (*base, end(at)))
    }
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
pub fn identities(stream: &Stored, memory: Memory) -> io::Result<Vec<(u64, Original)>> {
    let mut segments = Vec::new();
    let mut total = 0;
    for extent in stream.extents().rev() {
        let (found, reached) = identities_of(stream, extent, memory.since)?;
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
fn identities_of(
    stream: &Stored,
    (base, end): (Offset, Offset),
    since: Timestamp,
) -> io::Result<(Vec<(u64, Original)>, bool)> {
    let mut reader = stream.folder.open(base)?;
    let (mut found, mut reached) = (Vec::new(), false);
    while let Some(header) = reader.next_good(end)? {
        reached |= header.received < since;
        match reader.content(&header) {
            Some(Content::Readings(batch)) => of_batch(&batch, &header, &mut found),
            Some(Content::DeadLetters(letters)) => of_letters(&letters, &header, &mut found),
            Some(_) | None => {}
        }
        reader.step(&header);
    }
    Ok((found, reached))
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

/// The latest `emitted` of every lane in a `results` stream: each segment opens with the whole table (in a
/// record; in older journals in a frame of outputs), and the last one may hold nothing yet.
///
/// # Errors
/// IO errors.
pub fn emitted(stream: &Stored) -> io::Result<BTreeMap<Arc<str>, Offset>> {
    let mut table = BTreeMap::new();
    let mut merge = |emitted: &BTreeMap<Arc<str>, Offset>| {
        for (lane, offset) in emitted {
            let known = table.entry(lane.clone()).or_insert(*offset);
            *known = (*known).max(*offset);
        }
    };
    latest(stream, &[Kind::Outputs, Kind::Record], |content| match content {
        Content::Outputs(frame) => merge(&frame.emitted),
        Content::Record(record) => {
            if let Record::Opened { emitted, .. } = &*record {
                merge(emitted);
            }
        }
        Content::Readings(_) | Content::DeadLetters(_) => {}
    })?;
    Ok(table)
}

/// The last tick in a `readings` stream, if the last segments hold one.
///
/// # Errors
/// IO errors.
pub fn last_clock(stream: &Stored) -> io::Result<Option<Clock>> {
    let mut last = None;
    latest(stream, &[Kind::Record], |content| {
        if let Content::Record(record) = content
            && let Some(clock) = clock_in(&record)
        {
            last = Some(clock);
        }
    })?;
    Ok(last)
}

/// The clock that a record tells.
pub fn clock_in(record: &Record) -> Option<Clock> {
    match record {
        Record::Tick(clock) | Record::Opened { clock, .. } => Some(*clock),
        _ => None,
    }
}

/// Frames looked at for a segment's clock: it stands first, or behind what recovery has copied into the segment.
const FRAMES_UNTIL_CLOCK_MAX: usize = 64;

/// The first clock in the segment that begins at `base`: what stands in earlier segments is older. `None` if
/// there is none near its beginning.
///
/// # Errors
/// IO errors.
pub fn first_clock(folder: &Folder, base: Offset) -> io::Result<Option<Clock>> {
    let mut reader = folder.open(base)?;
    for _ in 0..FRAMES_UNTIL_CLOCK_MAX {
        let Some(header) = reader.check()? else { return Ok(None) };
        if header.kind == Kind::Record
            && let Some(Content::Record(record)) = reader.content(&header)
            && let Some(clock) = clock_in(&record)
        {
            return Ok(Some(clock));
        }
        reader.step(&header);
    }
    Ok(None)
}

/// Segments looked at from the end: a start that was cut short leaves one that holds nothing.
const LATEST_SEGMENTS: usize = 3;

/// Shows the frames of these kinds in the last segments.
fn latest(stream: &Stored, kinds: &[Kind], mut show: impl FnMut(Content)) -> io::Result<()> {
    for (base, end) in stream.extents().skip(stream.bases.len().saturating_sub(LATEST_SEGMENTS)) {
        let mut reader = stream.folder.open(base)?;
        while let Some(header) = reader.next_good(end)? {
            if kinds.contains(&header.kind)
                && let Some(content) = reader.content(&header)
            {
                show(content);
            }
            reader.step(&header);
        }
    }
    Ok(())
}
