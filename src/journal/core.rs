//! The one writer of a stream, without threads and timers: groups in, receipts out.
//!
//! One group is one write, one `fdatasync`, then all receipts. After a failed write or sync nothing is
//! acknowledged until a new segment has proved the disk; the failed one is never written to again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dedup::Duplicates;
use super::group::{Group, Receipt, Work};
use super::record::OutputFrame;
use super::segment::SegmentWriter;
use super::shared::Shared;
use super::{Reader, Refused};
use crate::model::{Offset, StreamName, Timestamp};
use crate::telemetry::clock;
use crate::telemetry::facts::{Fact, JournalFailed, JournalRecovered};

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
    /// The latest `emitted` of all lanes: opens every `results` segment.
    emitted: BTreeMap<Arc<str>, Offset>,
    failed_at: Option<Instant>,
}

impl Core {
    /// A writer that goes on in `segment` at the stream's durable mark.
    pub(super) fn new(
        shared: Arc<Shared>,
        segment: SegmentWriter,
        duplicates: Duplicates,
        emitted: BTreeMap<Arc<str>, Offset>,
    ) -> Self {
        let next = shared.durable();
        Self { shared, segment: Some(segment), next, duplicates, emitted, failed_at: None }
    }

    /// What readers share with it.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A reader that begins at `position`.
    pub fn reader(&self, position: Offset) -> Reader {
        Reader::new(self.shared.clone(), position)
    }

    /// Makes `works` durable as one group: all of them, or none. The receipts are in the order of the works.
    pub fn commit(&mut self, works: Vec<Work>, now: Now) -> Vec<Result<Receipt, Refused>> {
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
        let mut emitted = self.emitted.clone();
        let outputs = works.iter().filter_map(|work| match work {
            Work::Outputs(frame) => Some(frame),
            _ => None,
        });
        outputs.for_each(|frame| merge_emitted(&mut emitted, frame));
        let mut group = Group::new(&mut self.duplicates, self.next, now.wall);
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
        // Not earlier: the next segment opens with this table, and it must not promise what was not written.
        self.emitted = emitted;
        self.shared.publish(chunks, next, bytes.len() as u64);
        Ok(receipts)
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
        let started = clock::monotonic();
        self.open_segment(now)?;
        if self.failed_at.take().is_some() {
            let (stream, next_offset) = (self.shared.kind.as_str(), self.next.0);
            JournalRecovered { stream, next_offset, took: started.elapsed() }
                .record(&self.shared.all_metrics);
        }
        Ok(())
    }

    fn is_waiting(&self, now: Now) -> bool {
        self.failed_at.is_some_and(|at| now.monotonic.saturating_duration_since(at) < RETRY_AFTER)
    }

    /// A new segment at the next offset; in the `results` stream it opens with the table of all `emitted`.
    fn open_segment(&mut self, now: Now) -> io::Result<()> {
        let mut group = Group::new(&mut self.duplicates, self.next, now.wall);
        if self.shared.kind == StreamName::Results {
            let table = OutputFrame { emitted: self.emitted.clone(), ..OutputFrame::default() };
            group.add(Work::Outputs(Arc::new(table)));
        }
        let (next, bytes, chunks) = (group.next(), group.bytes, group.chunks);
        let segment = SegmentWriter::create(&self.shared.folder, self.next, &bytes)?;
        self.shared.opened(segment.base());
        self.segment = Some(segment);
        self.next = next;
        self.shared.publish(chunks, next, bytes.len() as u64);
        Ok(())
    }

    /// Takes nothing for a while. Reported once a failure, not once a refused group.
    fn fail(&mut self, error: &io::Error, now: Now) {
        if self.is_waiting(now) {
            return;
        }
        self.failed_at = Some(now.monotonic);
        self.give_back();
        JournalFailed { stream: self.shared.kind.as_str(), error }.record(&self.shared.all_metrics);
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
    }
}

fn merge_emitted(table: &mut BTreeMap<Arc<str>, Offset>, frame: &OutputFrame) {
    for (lane, offset) in &frame.emitted {
        table.insert(lane.clone(), *offset);
    }
}
