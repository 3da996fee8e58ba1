//! `LaneActor`: an isolated consumer of the journal with its own cursors.
//!
//! `emitted`: every output caused by readings below it is in `results`. `checkpoint`: every state is saved as of
//! it. A state is saved only once its outputs are durable. After a crash the lane goes on from its checkpoint;
//! outputs whose cause lies below `emitted` were sent before and are suppressed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::observe::Observer;
use crate::engine::partition::{PartitionError, Partitions};
use crate::engine::plan::{self, LanePlan};
use crate::engine::{LaneStatus, restore};
use crate::journal::{Chunk, Content, Journal, Record, Refused, Stream, Work};
use crate::model::{Offset, ResultId};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

mod pull;
pub(in crate::engine) mod quarantine;
mod rebuild;

use pull::Lane;

/// How long a refused append waits before it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a lane stopped. Intake goes on; the journal keeps what the lane has not seen.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// Reading the journal failed.
    #[error("reading the journal: {0}")]
    Journal(#[from] std::io::Error),
    /// A partition failed.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal is closed.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// What a lane starts with.
pub struct Start {
    /// What it computes.
    pub plan: Arc<LanePlan>,
    /// Its number in the partitions.
    pub number: usize,
    /// The partitions.
    pub partitions: Partitions,
    /// Its input.
    pub readings: Stream,
    /// Its output.
    pub results: Stream,
    /// Where readings go that made a sensor panic.
    pub dead_letters: Stream,
    /// Hash of the journal's id: the beginning of readings' ids.
    pub journal: ResultId,
    /// Every output caused below it is in `results`; `None` for a lane that never ran.
    pub emitted: Option<Offset>,
    /// States and checkpoint.
    pub store: Arc<Store>,
    /// Time from one checkpoint to the next.
    pub checkpoint_every: Duration,
    /// Counts and logs.
    pub observer: Observer,
    /// Ends the lane once the journal is drained.
    pub stop: CancellationToken,
    /// Ends the lane at a record of the journal.
    pub border: Arc<Border>,
    /// Told when the lane cannot go on.
    pub failed: CancellationToken,
    /// Shows where it stands.
    pub status: watch::Sender<LaneStatus>,
}

/// Where lanes end by themselves: at the first `Config` record from an offset on, so that every reading before it is
/// processed by the configuration before it and every one behind it by its own.
pub struct Border(AtomicU64);

impl Border {
    /// No offset is as large.
    const NOWHERE: u64 = u64::MAX;

    /// Whether the lane ends behind `chunk`.
    fn is_at(&self, chunk: &Chunk) -> bool {
        let is_config =
            matches!(&chunk.content, Content::Record(record) if matches!(**record, Record::Config { .. }));
        is_config && chunk.base.0 >= self.0.load(Ordering::Acquire)
    }
}

impl Default for Border {
    fn default() -> Self {
        Self(AtomicU64::new(Self::NOWHERE))
    }
}

/// Appends what `work` makes, however long the disk takes to recover.
async fn keep(stream: &Stream, work: impl Fn() -> Work) -> Result<(), Refused> {
    loop {
        match stream.append(work()).await {
            Ok(_) => return Ok(()),
            Err(Refused::Disk) => tokio::time::sleep(RETRY_AFTER).await,
            Err(Refused::Closed) => return Err(Refused::Closed),
        }
    }
}

/// Runs one lane.
pub struct LaneActor {
    lane: Option<(Start, oneshot::Sender<Result<(), LaneError>>)>,
}

impl LaneActor {
    /// Starts the lane on `arbiter`; `done` tells how it ended.
    pub fn spawn(
        arbiter: &ArbiterHandle,
        start: Start,
        done: oneshot::Sender<Result<(), LaneError>>,
    ) -> Addr<Self> {
        Self::start_in_arbiter(arbiter, |_| Self { lane: Some((start, done)) })
    }
}

impl Actor for LaneActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some((start, done)) = self.lane.take() else { return };
        let (name, failed) = (start.plan.lane.to_string(), start.failed.clone());
        let run = async move {
            let ended = match Lane::new(start).await {
                Ok(lane) => lane.run().await,
                Err(error) => Err(error),
            };
            if let Err(error) = &ended {
                failed.cancel();
                tracing::error!(lane = name, %error, "lane stopped, its input stays in the journal");
            }
            // Nobody waits for a lane that ends before it is told to.
            let _ = done.send(ended);
        };
        ctx.spawn(run.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}

/// How an engine runs.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// Partitions, each with a thread of its own.
    pub partitions: usize,
    /// Time from one checkpoint of a lane to the next.
    pub checkpoint_every: Duration,
    /// A sensor that did nothing for so many checkpoints goes to sleep: its state is in the store.
    pub idle_saves: u64,
}

/// All lanes of a configuration, running.
pub struct Engine {
    lanes: Vec<RunningLane>,
    stop: CancellationToken,
    border: Arc<Border>,
    failed: CancellationToken,
    /// The lanes' thread.
    arbiter: Arbiter,
}

struct RunningLane {
    name: Arc<str>,
    status: watch::Receiver<LaneStatus>,
    ended: oneshot::Receiver<Result<(), LaneError>>,
}

/// A lane as it is seen from outside: outlives the engine, showing where the lane ended.
#[derive(Clone)]
pub struct LaneView {
    /// The lane's name.
    pub name: Arc<str>,
    status: watch::Receiver<LaneStatus>,
}

impl LaneView {
    /// Where the lane stands.
    pub fn position(&self) -> LaneStatus {
        *self.status.borrow()
    }
}

impl Engine {
    /// Starts every lane of `config`. Runs inside an actix system. What is acknowledged after this returns is in
    /// the lanes' windows.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written down where a new lane begins.
    pub fn start(
        config: &Arc<Config>,
        journal: &Journal,
        store: &Arc<Store>,
        metrics: &Arc<Metrics>,
        settings: EngineSettings,
    ) -> Result<Self, StoreError> {
        let arbiter = Arbiter::new();
        let (stop, failed) = (CancellationToken::new(), CancellationToken::new());
        let border = Arc::new(Border::default());
        let partitions = Partitions::spawn(store, settings.partitions, settings.idle_saves);
        let lanes = plan::lanes(config).into_iter().enumerate().map(|(number, lane)| {
            let plan = Arc::new(LanePlan::new(config, &lane, &journal.id));
            let emitted = journal.emitted.get(&lane).copied();
            restore::checkpoint(&plan, store, &journal.readings, emitted)?;
            let (status, shown) = watch::channel(LaneStatus::default());
            let (done, ended) = oneshot::channel();
            let start = Start {
                plan,
                number,
                partitions: partitions.clone(),
                readings: journal.readings.clone(),
                results: journal.results.clone(),
                dead_letters: journal.dead_letters.clone(),
                journal: ResultId::EMPTY.with_text(&journal.id),
                emitted,
                store: store.clone(),
                checkpoint_every: settings.checkpoint_every,
                observer: Observer::new(&lane, config, metrics),
                stop: stop.clone(),
                border: border.clone(),
                failed: failed.clone(),
                status,
            };
            LaneActor::spawn(&arbiter.handle(), start, done);
            Ok(RunningLane { name: lane, status: shown, ended })
        });
        let lanes = lanes.collect::<Result<_, StoreError>>()?;
        Ok(Self { lanes, stop, border, failed, arbiter })
    }

    /// Makes every lane end at the first `Config` record from `from` on, with its states saved as of right behind
    /// it. To be called before that record is appended.
    pub fn end_at_config(&self, from: Offset) {
        self.border.0.store(from.0, Ordering::Release);
    }

    /// Takes [`Self::end_at_config`] back: the record was not appended.
    pub fn go_on(&self) {
        self.border.0.store(Border::NOWHERE, Ordering::Release);
    }

    /// Waits until a lane cannot go on.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// The lanes as they are seen from outside.
    pub fn lanes(&self) -> Vec<LaneView> {
        let view = |lane: &RunningLane| LaneView { name: lane.name.clone(), status: lane.status.clone() };
        self.lanes.iter().map(view).collect()
    }

    /// Lets every lane finish what is durable, save its states and end; names and errors of those that failed.
    pub async fn stop(mut self) -> Vec<(Arc<str>, LaneError)> {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits until every lane has ended; names and errors of those that failed. May be dropped and called again.
    pub async fn ended(&mut self) -> Vec<(Arc<str>, LaneError)> {
        let mut failed = Vec::new();
        for lane in &mut self.lanes {
            if let Ok(Err(error)) = (&mut lane.ended).await {
                failed.push((lane.name.clone(), error));
            }
        }
        self.lanes.clear();
        self.arbiter.stop();
        failed
    }
}
