//! `JournalActor`: the one writer of a stream, on a thread of its own that may block.
//!
//! Appends wait in the mailbox while a sync runs and form the next group: one write, one `fdatasync`, then all
//! receipts. Two syncs start at least `linger` apart, so a quiet stream commits at once and a busy one in
//! groups. After a failed write or sync nothing is acknowledged until a new segment has proved the disk.
//!
//! The mailbox is bounded by bytes: an append carries a permit of the stream's budget and gives it back
//! when it is committed or refused.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Refused;
use super::dedup::Duplicates;
use super::group::{Group, Receipt, Work};
use super::record::OutputFrame;
use super::segment::SegmentWriter;
use super::shared::Shared;
use crate::model::{Offset, StreamName};
use crate::telemetry::clock;
use crate::telemetry::facts::{Fact, JournalFailed, JournalRecovered};

/// How long a failed stream waits before it tries the disk again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Mailbox capacity. The byte budget is the real bound: an append takes at least `1/MAILBOX_MAX` of it.
pub const MAILBOX_MAX: usize = 65_536;

/// One append on its way to the disk.
pub struct Append {
    pub(super) work: Work,
    pub(super) done: oneshot::Sender<Result<Receipt, Refused>>,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Message for Append {
    type Result = ();
}

/// Commits what waits and stops the writer.
pub struct Close;

impl Message for Close {
    type Result = ();
}

/// What the writer starts with.
pub struct Start {
    pub(super) shared: Arc<Shared>,
    pub(super) segment: SegmentWriter,
    pub(super) next: Offset,
    pub(super) duplicates: Duplicates,
    pub(super) emitted: BTreeMap<Arc<str>, Offset>,
    pub(super) linger: Duration,
}

/// Where a stream's appends go.
pub type Address = Addr<JournalActor>;

/// The writer of one stream.
pub struct JournalActor {
    shared: Arc<Shared>,
    segment: Option<SegmentWriter>,
    next: Offset,
    duplicates: Duplicates,
    /// The latest `emitted` of all lanes: opens every `results` segment.
    emitted: BTreeMap<Arc<str>, Offset>,
    linger: Duration,
    waiting: Vec<Append>,
    commit_is_due: bool,
    committed_at: Option<Instant>,
    failed_at: Option<Instant>,
}

impl JournalActor {
    /// Starts the writer on a thread of its own and returns its address.
    pub fn spawn(start: Start) -> Addr<Self> {
        Self::start_in_arbiter(&Arbiter::new().handle(), move |ctx| {
            ctx.set_mailbox_capacity(MAILBOX_MAX);
            Self {
                shared: start.shared,
                segment: Some(start.segment),
                next: start.next,
                duplicates: start.duplicates,
                emitted: start.emitted,
                linger: start.linger,
                waiting: Vec::new(),
                commit_is_due: false,
                committed_at: None,
                failed_at: None,
            }
        })
    }

    /// Runs when the mailbox is drained (actix polls spawned futures after it), or when the linger is over.
    fn schedule(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.commit_is_due, true) {
            return;
        }
        let rest = self.committed_at.map_or(Duration::ZERO, |at| self.linger.saturating_sub(at.elapsed()));
        if rest.is_zero() {
            ctx.spawn(async {}.into_actor(self).map(|(), actor, _| actor.commit()));
        } else {
            ctx.run_later(rest, |actor, _| actor.commit());
        }
    }

    fn commit(&mut self) {
        self.commit_is_due = false;
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return;
        }
        self.committed_at = Some(clock::monotonic());
        if let Err(error) = self.ready() {
            self.fail(&error);
            return waiting.into_iter().for_each(|append| answer(append.done, Err(Refused::Disk)));
        }
        let mut group = Group::new(&mut self.duplicates, self.next, clock::now());
        let mut receipts = Vec::with_capacity(waiting.len());
        let mut emitted = self.emitted.clone();
        for Append { work, done, permit } in waiting {
            if let Work::Outputs(frame) = &work {
                merge_emitted(&mut emitted, frame);
            }
            receipts.push((group.add(work), done, permit));
        }
        group.finish();
        let (next, bytes, chunks, identities) = (group.next(), group.bytes, group.chunks, group.identities);
        match self.write(&bytes) {
            Ok(()) => {
                self.next = next;
                // Not earlier: the next segment opens with this table, and it must not promise what was not written.
                self.emitted = emitted;
                self.shared.publish(chunks, next, bytes.len() as u64);
                receipts.into_iter().for_each(|(receipt, done, _)| answer(done, Ok(receipt)));
            }
            Err(error) => {
                identities.into_iter().for_each(|identity| self.duplicates.remove(identity));
                self.fail(&error);
                receipts.into_iter().for_each(|(_, done, _)| answer(done, Err(Refused::Disk)));
            }
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
    fn ready(&mut self) -> io::Result<()> {
        let failed_at = self.failed_at;
        if failed_at.is_some_and(|at| at.elapsed() < RETRY_AFTER) {
            return Err(io::Error::other("waiting to try the disk again"));
        }
        if failed_at.is_none() && !self.segment.as_ref().is_none_or(SegmentWriter::is_full) {
            return Ok(());
        }
        if let Some(old) = &self.segment {
            old.cut()?;
            self.segment = None;
        }
        let started = clock::monotonic();
        self.open_segment()?;
        if self.failed_at.take().is_some() {
            let (stream, next_offset) = (self.shared.kind.as_str(), self.next.0);
            JournalRecovered { stream, next_offset, took: started.elapsed() }
                .record(&self.shared.all_metrics);
        }
        Ok(())
    }

    /// A new segment at the next offset; in the `results` stream it opens with the table of all `emitted`.
    fn open_segment(&mut self) -> io::Result<()> {
        let mut group = Group::new(&mut self.duplicates, self.next, clock::now());
        if self.shared.kind == StreamName::Results {
            let table = OutputFrame { emitted: self.emitted.clone(), ..OutputFrame::default() };
            group.add(Work::Outputs(Arc::new(table)));
        }
        let (next, bytes, chunks) = (group.next(), group.bytes, group.chunks);
        let segment = SegmentWriter::create(&self.shared.dir, self.next, &bytes)?;
        self.shared.opened(segment.base());
        self.segment = Some(segment);
        self.next = next;
        self.shared.publish(chunks, next, bytes.len() as u64);
        Ok(())
    }

    /// Takes nothing for a while. Reported once a failure, not once a refused group.
    fn fail(&mut self, error: &io::Error) {
        if self.failed_at.is_some_and(|at| at.elapsed() < RETRY_AFTER) {
            return;
        }
        self.failed_at = Some(clock::monotonic());
        if let Some(segment) = &self.segment
            && let Err(cut) = segment.cut()
        {
            tracing::warn!(error = %cut, "cannot cut the segment to its durable length yet");
        }
        JournalFailed { stream: self.shared.kind.as_str(), error }.record(&self.shared.all_metrics);
    }
}

/// Whoever appended may have gone; what is durable stays so.
fn answer(done: oneshot::Sender<Result<Receipt, Refused>>, receipt: Result<Receipt, Refused>) {
    let _ = done.send(receipt);
}

fn merge_emitted(table: &mut BTreeMap<Arc<str>, Offset>, frame: &OutputFrame) {
    for (lane, offset) in &frame.emitted {
        table.insert(lane.clone(), *offset);
    }
}

impl Actor for JournalActor {
    type Context = Context<Self>;
}

impl Handler<Append> for JournalActor {
    type Result = ();

    fn handle(&mut self, append: Append, ctx: &mut Context<Self>) {
        self.waiting.push(append);
        self.schedule(ctx);
    }
}

impl Handler<Close> for JournalActor {
    type Result = ();

    fn handle(&mut self, _: Close, ctx: &mut Context<Self>) {
        self.commit();
        if let Some(segment) = self.segment.take()
            && let Err(error) = segment.cut()
        {
            tracing::warn!(%error, "cannot give back the last segment's spare room");
        }
        ctx.stop();
    }
}
