//! The part of a journal that is replayed, and what must be known before its first record.

use std::io;
use std::time::Duration;

use super::bound::before;
use crate::journal::past::{Past, Piece};
use crate::journal::{Clock, Content, Record};
use crate::model::{Offset, Output, Timestamp};

/// A range of offsets with its beginnings.
#[derive(Clone, Debug)]
pub struct Range {
    /// Records from here on are applied, so that windows open at `from` are whole.
    pub warm: Offset,
    /// Outputs caused from here on count.
    pub from: Offset,
    /// Nothing from here on is read.
    pub to: Offset,
    /// The last tick before `warm`.
    pub clock: Clock,
    /// Readings set aside, as records of the journal say: they stand behind their readings, anywhere.
    pub quarantines: Vec<Record>,
    /// Set where the journal does not reach back as far as it should.
    pub cut: Option<Cut>,
}

/// The beginning of a journal that was trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Arrival of the oldest record there is.
    reached: Timestamp,
    /// Windows open at `reached` are over for what arrives later.
    until: Timestamp,
}

impl Range {
    /// The range `from..to` of `past` for pipelines that look back by `span`.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn find(past: &Past, (from, to): (Offset, Offset), span: Duration) -> io::Result<Self> {
        let mut range =
            Self { warm: from, from, to, clock: Clock::default(), quarantines: Vec::new(), cut: None };
        if let Some(arrival) = past.arrival(from)? {
            range.warm = past.at_time(before(arrival, span))?.min(from);
            range.cut = cut(past, range.warm, before(arrival, span), span)?;
        }
        range.clock = past.clock_before(range.warm)?.unwrap_or_default();
        range.quarantines = quarantines(past, range.warm)?;
        Ok(range)
    }

    /// Whether an output caused at `cause` counts.
    pub fn has(&self, cause: Offset) -> bool {
        self.from <= cause && cause < self.to
    }
}

/// A journal that has lost its beginning, and with it readings that arrived from `wanted` on.
fn cut(past: &Past, warm: Offset, wanted: Timestamp, span: Duration) -> io::Result<Option<Cut>> {
    if warm > past.oldest() || past.oldest() == Offset(0) {
        return Ok(None);
    }
    let reached = past.arrival(warm)?.filter(|reached| *reached > wanted);
    let span = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    Ok(reached
        .map(|reached| Cut { reached, until: Timestamp::from_nanos(reached.nanos().saturating_add(span)) }))
}

impl Cut {
    /// Marks a row, made by what arrived at `received`, whose window may have begun before the journal does.
    pub fn mark(&self, output: &mut Output, received: Timestamp) {
        if let Output::Result(row) = output {
            row.partial |= row.start < self.reached && received <= self.until;
        }
    }
}

fn quarantines(past: &Past, from: Offset) -> io::Result<Vec<Record>> {
    let mut found = Vec::new();
    let mut records = past.records(from);
    while let Some(piece) = records.read()? {
        let Piece::Frame(frame) = piece else { continue };
        if let Some(Content::Record(record)) = frame.content()
            && matches!(*record, Record::Quarantine { .. })
        {
            found.push((*record).clone());
        }
    }
    Ok(found)
}
