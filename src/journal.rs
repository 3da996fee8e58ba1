//! The journal: the only durable truth. Streams of records, each in its own directory of segment files.
//!
//! Appending returns a [`Receipt`] once the records are on disk (`fdatasync` returned); readers see nothing
//! earlier. A stream has one writer, an actor on a thread of its own ([`writer`], its work in [`core`]), and any
//! number of [`Reader`]s, which take the latest records from memory ([`tail`]) and the rest from the segments.
//! All files are behind [`disk`].
//!
//! Invariants: offsets are dense and never reused; a frame that cannot be read is reported, never skipped
//! in silence; a failed sync is never turned into an acknowledgement.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;

mod ballast;
mod budget;
pub mod columns;
mod core;
mod dedup;
mod emitted;
pub mod disk;
mod extents;
pub mod frame;
mod group;
pub mod identity;
mod last_clock;
mod letters;
mod open;
pub mod past;
mod pins;
mod reader;
mod recall;
pub mod record;
mod recover;
mod retention;
mod seek;
mod segment;
mod shared;
mod tail;
mod window;
mod writer;

pub use self::core::{Core, Now};
pub use ballast::{BALLAST_BYTES, Ballast};
pub use group::{Receipt, Work};
pub use open::{Cores, Settings};
pub use pins::{Hold, Lag, Pin, Pins};
pub use reader::Reader;
pub use record::{Chunk, Clock, Content, OutputFrame, Record};
pub use retention::{Limits, Retention};
pub use writer::Writers;

use crate::model::{Offset, StreamName, Timestamp};
use crate::telemetry::{Metrics, clock};
use budget::Budget;
use shared::Shared;

/// Limits of a stream's memory.
trait Sizes {
    /// Bytes of the latest records kept in memory.
    fn tail_bytes_max(self) -> usize;
    /// Bytes that may wait to be written; beyond that appending waits.
    fn queue_bytes_max(self) -> usize;
}

impl Sizes for StreamName {
    fn tail_bytes_max(self) -> usize {
        match self {
            Self::Readings => 16 << 20,
            Self::Results => 4 << 20,
            Self::DeadLetters => 1 << 20,
        }
    }

    fn queue_bytes_max(self) -> usize {
        match self {
            Self::Readings | Self::Results => 16 << 20,
            Self::DeadLetters => 8 << 20,
        }
    }
}

/// Why an append was not made durable. The sender is told to keep the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The disk is full or failed.
    #[error("the disk is full or failed")]
    Disk,
    /// The stream is being closed.
    #[error("the journal is closing")]
    Closed,
}

/// A stream: hands out appends and readers. Cheap to clone.
#[derive(Clone)]
pub struct Stream {
    shared: Arc<Shared>,
    writer: writer::Address,
    budget: Arc<Budget>,
}

impl Stream {
    /// Makes `work` durable. Waits for room in the byte budget, then for the sync.
    ///
    /// # Errors
    /// [`Refused`]: nothing of `work` will be seen by anybody.
    pub async fn append(&self, work: Work) -> Result<Receipt, Refused> {
        let cost = cost(&work, self.shared.kind.queue_bytes_max());
        let waiting = clock::monotonic();
        let permit = self.budget.take(cost).await?;
        self.shared.metrics.wait_seconds.observe(waiting.elapsed().as_secs_f64());
        let (done, receipt) = oneshot::channel();
        // The permit bounds what waits, so a full mailbox cannot happen; a closed one means shutting down.
        self.writer.try_send(writer::Append { work, done, permit }).map_err(|_| Refused::Closed)?;
        let receipt = receipt.await.unwrap_or(Err(Refused::Closed));
        match receipt {
            Err(Refused::Disk) => self.shared.metrics.refused_disk.inc(),
            Err(Refused::Closed) => self.shared.metrics.refused_overload.inc(),
            Ok(_) => {}
        }
        receipt
    }

    /// A reader that begins at `position`.
    pub fn reader(&self, position: Offset) -> Reader {
        Reader::new(self.shared.clone(), position)
    }

    /// Everything below is on disk.
    pub fn durable(&self) -> Offset {
        self.shared.durable()
    }

    /// The oldest offset kept.
    pub fn oldest(&self) -> Offset {
        self.shared.oldest()
    }

    /// Bytes on disk of the records from `position` on: what a consumer that stands there still needs.
    pub fn bytes_from(&self, position: Offset) -> u64 {
        self.shared.bytes_from(position)
    }

    /// From now on the stream is kept within `limits` and no further than [`Pins`] hold it, which are to be set
    /// before. Until this is called everything is kept.
    pub async fn retain(&self, limits: Limits) {
        // An error means that the writer is gone.
        let _ = self.writer.send(writer::Retain(limits)).await;
    }

    /// Arrival of the newest record since the program started.
    pub fn newest(&self) -> Option<Timestamp> {
        self.shared.newest()
    }

    /// Whether so much waits, measured by the present budget, that new messages should be put off.
    pub fn is_congested(&self) -> bool {
        self.queued_bytes() > self.budget.bytes() / 2
    }

    /// Bytes waiting to be written.
    pub fn queued_bytes(&self) -> usize {
        self.budget.used_bytes()
    }

    /// Makes the byte budget this part of the full one, from a quarter to all of it: senders are slowed while
    /// processing is behind. What already waits stays.
    pub fn set_budget(&self, fraction_of_full: f64) {
        self.budget.set(fraction_of_full);
    }

    /// Waits until everything that was appended before is durable or refused, also what its sender gave up.
    pub async fn settle(&self) {
        // An error means that the writer is gone, having committed what waited.
        let _ = self.writer.send(writer::Settle).await;
    }

    /// Commits what waits and stops the writer.
    pub async fn close(&self) {
        // An error means that the writer is gone already.
        let _ = self.writer.send(writer::Close).await;
    }
}

/// What `work` takes of the budget: its bytes, at least an even share of the mailbox, at most all of it.
fn cost(work: &Work, max: usize) -> usize {
    let bytes = match work {
        Work::Readings(batch) => batch.bytes(),
        Work::Record(_) => 0,
        Work::Outputs(frame) => 400 * frame.outputs.len(),
        Work::DeadLetters(letters) => letters.iter().map(|letter| 300 + letter.payload.len()).sum(),
    };
    bytes.clamp(max / writer::MAILBOX_MAX, max)
}

/// All streams of a data directory. Clones share them.
#[derive(Clone)]
pub struct Journal {
    /// The identity of this journal: part of every id.
    pub id: Arc<str>,
    /// Readings and everything else that processing depends on.
    pub readings: Stream,
    /// What processing put out.
    pub results: Stream,
    /// Refused messages.
    pub dead_letters: Stream,
    /// The last tick before this start, if there is one.
    pub last_clock: Option<Clock>,
    /// Who still needs what.
    pub pins: Arc<Pins>,
    /// Room kept back for a full disk. While it is away no message is taken.
    pub ballast: Arc<Ballast>,
}

impl Journal {
    /// Opens or creates the journal; what a crash left is recovered first. Runs inside an actix system.
    ///
    /// # Errors
    /// IO errors; [`io::ErrorKind::Unsupported`] if a newer program wrote it (nothing is touched).
    pub fn open(settings: &Settings, metrics: &Arc<Metrics>) -> io::Result<Self> {
        let Cores { id, readings, results, dead_letters, last_clock, pins, ballast, .. } =
            Cores::open(settings, metrics)?;
        let stream = |core: Core| {
            let shared = core.shared().clone();
            let budget = Arc::new(Budget::new(shared.kind.queue_bytes_max()));
            let writer = writer::JournalActor::spawn(core, settings.linger, &settings.writers);
            Stream { shared, writer, budget }
        };
        Ok(Self {
            id,
            readings: stream(readings),
            results: stream(results),
            dead_letters: stream(dead_letters),
            last_clock,
            pins,
            ballast,
        })
    }

    /// By the cursor of a lane or birth: every output caused by records below the offset is durable in `results` now.
    pub fn emitted(&self) -> BTreeMap<Arc<str>, Offset> {
        self.results.shared.common.emitted.get()
    }

    /// The stream called `name`.
    pub fn stream(&self, name: StreamName) -> &Stream {
        match name {
            StreamName::Readings => &self.readings,
            StreamName::Results => &self.results,
            StreamName::DeadLetters => &self.dead_letters,
        }
    }

    /// As [`Stream::retain`], for every stream.
    pub async fn retain(&self, retention: &Retention) {
        self.readings.retain(retention.readings).await;
        self.results.retain(retention.results).await;
        self.dead_letters.retain(retention.dead_letters).await;
    }

    /// Commits what waits in every stream and stops the writers.
    pub async fn close(&self) {
        for stream in [&self.readings, &self.dead_letters, &self.results] {
            stream.close().await;
        }
    }
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
