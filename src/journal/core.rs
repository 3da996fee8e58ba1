//! The one writer of a stream, without threads and timers: groups in, receipts out.
//!
//! One group is one write, one `fdatasync`, then all receipts. After a failed write or sync nothing is
//! acknowledged until a new segment has proved the disk; the failed one is never written to again. A full disk
//! releases the ballast ([`super::ballast`]): until it is back only what the gateway itself appends is written.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dedup::Duplicates;
use super::emitted;
use super::group::{Group, Receipt, Work};
use super::recall;
use super::record::{Clock, Record};
use super::retention::Limits;
use super::segment::{SegmentWriter, Spare};
use super::shared::Shared;
use super::{Reader, Refused};
use crate::model::{Offset, StreamName, Timestamp};
use crate::telemetry::clock;
use crate::telemetry::facts::{Fact, JournalFailed, JournalRecovered};

mod trim;

/// How long a failed stream waits before it tries the disk again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// What is journalled.
    pub wall: Timestamp,
    /// What waiting is measured by.
    pub monotonic: Instant,
}

impl Now {
    /// This moment.
    pub fn read() -> Self {
        Self { wall: clock::now(), monotonic: clock::monotonic() }
    }
}

/// The writer of one stream.
pub struct Core {
    shared: Arc<Shared>,
    segment: Option<SegmentWriter>,
    next: Offset,
    duplicates: Duplicates,
    failed_at: Option<Instant>,
    /// The next segment's file.
    spare: Spare,
    /// `None`: everything is kept.
    limits: Option<Limits>,
    /// Whether the next group begins with a [`Record::Opened`].
    opening_is_due: bool,
    /// Whether the last segment alone tells the clock and how far lanes have emitted.
    tells_all: bool,
    /// Whether a segment was begun since the last trim.
    has_rolled: bool,
}

impl Core {
    /// A writer that goes on in `segment` at the stream's durable mark.
    pub(super) fn new(shared: Arc<Shared>, segment: SegmentWriter, duplicates: Duplicates) -> Self {
        let next = shared.durable();
        // The segment that recovery made says nothing of its own; a new stream has nothing to say.
        let opening_is_due = next > Offset(0);
        Self {
            shared,
            segment: Some(segment),
            next,
            duplicates,
            failed_at: None,
            spare: Spare::default(),
            limits: None,
            opening_is_due,
            tells_all: false,
            has_rolled: false,
        }
    }

    /// What readers share with it.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A reader that begins at `position`.
    pub fn reader(&self, position: Offset) -> Reader {
        Reader::new(self.shared.clone(), position)
    }

    /// Makes `works` durable as one group: all of them, or none, but for messages from outside while the ballast is
    /// away, which are refused. The receipts are in the order of the works.
    pub fn commit(&mut self, works: Vec<Work>, now: Now) -> Vec<Result<Receipt, Refused>> {
        if self.shared.common.ballast.is_kept() {
            return self.commit_all(works, now);
        }
        let refused: Vec<bool> = works.iter().map(Work::is_from_outside).collect();
        let own: Vec<Work> = works.into_iter().filter(|work| !work.is_from_outside()).collect();
        let mut own = if own.is_empty() { Vec::new() } else { self.commit_all(own, now) }.into_iter();
        let receipt = |is_refused| if is_refused { None } else { own.next() };
        refused.into_iter().map(receipt).map(|receipt| receipt.unwrap_or(Err(Refused::Disk))).collect()
    }

    fn commit_all(&mut self, works: Vec<Work>, now: Now) -> Vec<Result<Receipt, Refused>> {
        let count = works.len();
        match self.try_commit(works, now) {
            Ok(receipts) => receipts.into_iter().map(Ok).collect(),
            Err(error) => {
                self.fail(&error, now);
                vec![Err(Refused::Disk); count]
            }
        }
    }

    fn try_commit(&mut self, works: Vec<Work>, now: Now) -> io::Result<Vec<Receipt>> {
        self.ready(now)?;
        let news = News::of(&works);
        let opening = self.opening_is_due.then(|| Work::Record(self.opening()));
        let mut group = Group::new(&mut self.duplicates, self.next, now.wall);
        opening.into_iter().for_each(|opening| _ = group.add(opening));
        let receipts = works.into_iter().map(|work| group.add(work)).collect();
        group.finish();
        let (next, bytes, chunks, identities) = (group.next(), group.bytes, group.chunks, group.identities);
        if let Err(error) = self.write(&bytes) {
            // Backwards, so that one added twice ends as it was before the first.
            for (identity, before) in identities.into_iter().rev() {
                self.duplicates.restore(identity, before);
            }
            return Err(error);
        }
        self.next = next;
        self.learn(news, now);
        self.shared.publish(chunks, next, bytes.len() as u64);
        Ok(receipts)
    }

    /// What a segment opens with.
    fn opening(&self) -> Record {
        let emitted = match self.shared.kind {
            StreamName::Results => self.shared.common.emitted.get(),
            StreamName::Readings | StreamName::DeadLetters => BTreeMap::new(),
        };
        Record::Opened { clock: self.shared.common.clock.get(), emitted }
    }

    /// A group is durable: what it says counts from now on. Not earlier: the next segment opens with it, and must
    /// not promise what was not written.
    fn learn(&mut self, news: News, now: Now) {
        self.shared.common.emitted.merge(news.emitted);
        self.tells_all |= self.opening_is_due || news.clock.is_some();
        self.opening_is_due = false;
        if let Some(clock) = news.clock {
            self.shared.common.clock.set(clock);
        }
        if let Some(failed_at) = self.failed_at.take() {
            let (stream, next_offset) = (self.shared.kind.as_str(), self.next.0);
            let took = now.monotonic.saturating_duration_since(failed_at);
            JournalRecovered { stream, next_offset, took }.record(&self.shared.common.metrics);
        }
    }

    /// Writes one group durably. Nothing to write is durable at once: its messages were all copies.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let segment = self.segment.as_mut().ok_or_else(|| io::Error::other("no segment is open"))?;
        let started = clock::monotonic();
        segment.commit(bytes)?;
        self.shared.metrics.sync_seconds.observe(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Makes sure that there is a segment with room: the current one, or the next one if that is full or failed.
    fn ready(&mut self, now: Now) -> io::Result<()> {
        if self.is_waiting(now) {
            return Err(io::Error::other("waiting to try the disk again"));
        }
        if self.failed_at.is_none() && self.segment.as_ref().is_some_and(|segment| !segment.is_full()) {
            return Ok(());
        }
        self.open_segment()
    }

    fn is_waiting(&self, now: Now) -> bool {
        self.failed_at.is_some_and(|at| now.monotonic.saturating_duration_since(at) < RETRY_AFTER)
    }

    /// A new segment at the next offset. What it opens with is written with the next group: one sync for both.
    fn open_segment(&mut self) -> io::Result<()> {
        let spare = self.spare.take();
        let segment = SegmentWriter::begin(&self.shared.folder, self.next, spare)?;
        self.shared.opened(segment.base());
        self.segment = Some(segment);
        (self.opening_is_due, self.tells_all, self.has_rolled) = (true, false, true);
        Ok(())
    }

    /// What can wait until the receipts are out: makes the ballast anew and the next segment's file ahead, trims if a
    /// segment was begun.
    pub fn upkeep(&mut self, now: Now) {
        self.shared.common.ballast.restore(now.monotonic);
        if self.segment.as_ref().is_some_and(SegmentWriter::is_nearly_full) {
            self.spare.prepare(&self.shared.folder);
        }
        if std::mem::take(&mut self.has_rolled) {
            self.trim(now);
        }
    }

    /// Takes nothing for a while. Reported once a failure, not once a refused group.
    fn fail(&mut self, error: &io::Error, now: Now) {
        if self.is_waiting(now) {
            return;
        }
        self.failed_at = Some(now.monotonic);
        let (stream, common) = (self.shared.kind.as_str(), &self.shared.common);
        JournalFailed { stream, error }.record(&common.metrics);
        common.ballast.release(stream, error);
        self.give_back();
    }

    /// Gives back the room that the last segment does not use; nothing more is written to it.
    fn give_back(&mut self) {
        if let Some(segment) = self.segment.take()
            && let Err(error) = segment.cut()
        {
            let stream = self.shared.kind.as_str();
            tracing::warn!(stream, %error, "cannot give back the spare room of a segment");
        }
    }

    /// Ends writing.
    pub fn close(&mut self) {
        self.give_back();
        self.spare.discard(&self.shared.folder);
    }
}

/// What a group of works changes once it is durable.
struct News {
    emitted: emitted::Table,
    clock: Option<Clock>,
}

impl News {
    fn of(works: &[Work]) -> Self {
        let mut news = Self { emitted: emitted::Table::new(), clock: None };
        for work in works {
            match work {
                Work::Outputs(frame) => news.emitted.extend(frame.emitted.clone()),
                Work::Record(record) => news.clock = recall::clock_in(record).or(news.clock),
                Work::Readings(_) | Work::DeadLetters(_) => {}
            }
        }
        news
    }
}

#[cfg(test)]
mod tests;
