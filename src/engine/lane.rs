//! `LaneActor`: an isolated consumer of the journal with its own cursors.
//!
//! `emitted`: every output caused by readings below it is in `results`. `checkpoint`: every state is saved as of
//! it or further. A state is saved only once its outputs are durable. After a crash the lane goes on from its
//! checkpoint; outputs whose cause lies below `emitted` were sent before and are suppressed.
//!
//! A lane follows the `Config` records it reads ([`change`]): up to one it computes the old text, from there on
//! the new one. Generations that are new are born by a lane of their own, which reads the past quietly beside it
//! and joins it where both meet ([`birth`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::engine::checkpoint::Checkpoint;
use crate::engine::generations::{BirthId, Member};
use crate::engine::observe::Observer;
use crate::engine::partition::{PartitionError, Partitions};
use crate::engine::plan::LanePlan;
use crate::engine::texts::Texts;
use crate::engine::watermarks::Watermarks;
use crate::engine::{LaneStatus, restore};
use crate::journal::{Clock, OutputFrame, Reader, Refused, Stream, Work};
use crate::model::{Offset, ResultId};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

mod birth;
mod change;
mod pull;
pub(in crate::engine) mod quarantine;
mod rebuild;
mod save;
mod seeds;
mod spread;

use birth::{Birth, Parent};
use quarantine::Quarantines;
use save::Appended;
use spread::Saves;
pub(in crate::engine) use spread::Taken;

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

/// What keeps lanes from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The store: with one that is mended they go on.
    Store,
    /// Something else.
    Other,
}

impl LaneError {
    /// What is at fault.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Store(error) | Self::Partition(PartitionError::Store(error)) if !error.is_newer() => {
                Fault::Store
            }
            Self::Journal(_) | Self::Partition(_) | Self::Store(_) | Self::Refused(_) => Fault::Other,
        }
    }
}

/// What all lanes of an engine work with.
#[derive(Clone)]
pub struct Ground {
    /// The partitions.
    pub partitions: Partitions,
    /// Input.
    pub readings: Stream,
    /// Output.
    pub results: Stream,
    /// Where readings go that made a sensor panic.
    pub dead_letters: Stream,
    /// The journal's id: the beginning of readings' and results' ids.
    pub journal_id: Arc<str>,
    /// By cursor: every output caused below it was in `results` when the journal was opened.
    pub emitted: Arc<BTreeMap<Arc<str>, Offset>>,
    /// States and checkpoints.
    pub store: Arc<Store>,
    /// Configurations.
    pub texts: Arc<Texts>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Time from one checkpoint to the next.
    pub checkpoint_every: Duration,
    /// Where lanes run.
    pub arbiter: ArbiterHandle,
    /// Ends the lanes once the journal is drained.
    pub stop: CancellationToken,
    /// Ends the lanes where they are, as a crash would.
    pub abandoned: CancellationToken,
    /// Lanes, births and their work on the store that are under way.
    pub under_way: TaskTracker,
    /// Told when a lane cannot go on.
    pub failed: watch::Sender<Option<Fault>>,
}

/// What a lane starts with. Its first checkpoint is written already.
pub struct Start {
    /// What all lanes work with.
    pub ground: Ground,
    /// Names its states and cursors: a lane's name, or a birth's.
    pub cursor: Arc<str>,
    /// For a birth: the lane it is to join.
    parent: Option<Parent>,
    /// Shows where it stands.
    status: watch::Sender<LaneStatus>,
}

/// What a lane computes at present; replaced when its text changes.
struct Duty {
    ground: Ground,
    plan: Arc<LanePlan>,
    /// The plan's number in the partitions.
    number: usize,
    observer: Observer,
    /// Hash of the journal's id: the beginning of readings' ids.
    journal: ResultId,
}

impl Duty {
    /// Has the partitions take up `plan`: keys that have a state sleep, and are woken in time.
    async fn take_up(ground: Ground, plan: Arc<LanePlan>) -> Result<Self, LaneError> {
        let observer = Observer::new(&plan, &ground.metrics);
        observer.forget_firing(&plan);
        let wake = restore::sleeping(&plan, &ground.store, ground.partitions.count(), &observer)?;
        let number = ground.partitions.add_lane(&plan, wake).await?;
        let journal = ResultId::EMPTY.with_text(&ground.journal_id);
        Ok(Self { ground, plan, number, observer, journal })
    }
}

/// A lane at work.
struct Lane {
    duty: Duty,
    members: Vec<Member>,
    /// The `Config` record in force, if the lane has met one.
    config_at: Option<Offset>,
    /// Alerts on readings judge none below it.
    since: Offset,
    /// As [`Checkpoint::birth`].
    birth_id: Option<BirthId>,
    birth: Option<Birth>,
    /// Births the lane has taken in: what they would put out is put out by the lane, and its frames say so, in case
    /// the store goes back to before one of them.
    taken_in: Vec<Arc<str>>,
    parent: Option<Parent>,
    reader: Reader,
    clock: Clock,
    watermarks: Watermarks,
    /// Outputs below it are suppressed: they were sent before the restart.
    suppress_below: Offset,
    /// Outputs that wait for the journal.
    pending: OutputFrame,
    appending: Option<(Appended, Offset)>,
    /// Every output caused below it is durable.
    emitted: Offset,
    saves: Saves,
    checkpoint: Offset,
    /// Readings that made sensors panic, since the checkpoint.
    quarantines: Quarantines,
    status: watch::Sender<LaneStatus>,
}

impl Lane {
    /// Takes up the lane where its checkpoint left it, with the text in force there.
    async fn open(start: Start) -> Result<Self, LaneError> {
        let Start { ground, cursor, parent, status } = start;
        let checkpoint =
            Checkpoint::load(&ground.store, &cursor)?.expect("a lane has one when it is started");
        let (checkpoint, plan) = change::resume(&ground, &cursor, checkpoint).await?;
        let position = checkpoint.position;
        let quarantines = Quarantines::read(&plan, &ground.readings, position).await?;
        let suppress_below = ground.emitted.get(&cursor).copied().unwrap_or(position);
        let taken_in = birth::taken_in(&ground.emitted, &cursor, checkpoint.birth);
        Ok(Self {
            reader: ground.readings.reader(position),
            watermarks: checkpoint.watermarks(&plan)?,
            duty: Duty::take_up(ground, plan).await?,
            members: checkpoint.members.unwrap_or_default(),
            config_at: checkpoint.config_at,
            since: checkpoint.since,
            birth_id: checkpoint.birth,
            birth: None,
            taken_in,
            parent,
            clock: checkpoint.clock,
            suppress_below,
            pending: OutputFrame::default(),
            appending: None,
            emitted: suppress_below,
            saves: Saves::default(),
            checkpoint: position,
            quarantines,
            status,
        })
    }

    fn show(&self) {
        let births = self.birth.as_ref().map(|birth| birth.status.borrow().checkpoint);
        self.status.send_replace(LaneStatus {
            position: self.reader.position(),
            emitted: self.emitted,
            checkpoint: self.checkpoint,
            needed: births.unwrap_or(self.checkpoint).min(self.checkpoint),
        });
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

/// A lane as its starter sees it.
pub struct Running {
    /// Where it stands; outlives the lane.
    pub status: watch::Receiver<LaneStatus>,
    /// How it ended.
    pub ended: oneshot::Receiver<Result<(), LaneError>>,
}

/// A lane before it runs.
struct Beginning {
    start: Start,
    done: oneshot::Sender<Result<(), LaneError>>,
    /// It is under way from the moment it is spawned.
    token: TaskTrackerToken,
}

/// Runs one lane.
pub struct LaneActor {
    lane: Option<Beginning>,
}

impl LaneActor {
    /// Starts the lane called `cursor`.
    pub fn spawn(ground: Ground, cursor: Arc<str>) -> Running {
        Self::spawn_with(ground, cursor, None)
    }

    fn spawn_with(ground: Ground, cursor: Arc<str>, parent: Option<Parent>) -> Running {
        let (done, ended) = oneshot::channel();
        let (status, shown) = watch::channel(LaneStatus::default());
        let arbiter = ground.arbiter.clone();
        let token = ground.under_way.token();
        let lane = Beginning { start: Start { ground, cursor, parent, status }, done, token };
        Self::start_in_arbiter(&arbiter, |_| Self { lane: Some(lane) });
        Running { status: shown, ended }
    }
}

impl Actor for LaneActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(Beginning { start, done, token }) = self.lane.take() else { return };
        let (name, failed) = (start.cursor.clone(), start.ground.failed.clone());
        let abandoned = start.ground.abandoned.clone();
        let run = async move {
            let run = async {
                match Lane::open(start).await {
                    Ok(lane) => lane.run().await,
                    Err(error) => Err(error),
                }
            };
            let ended = abandoned.run_until_cancelled(run).await;
            drop(token);
            let Some(ended) = ended else { return };
            if let Err(error) = &ended {
                failed.send_replace(Some(error.fault()));
                tracing::error!(lane = &*name, %error, "lane stopped, its input stays in the journal");
            }
            // Nobody waits for a lane that ends before it is told to.
            let _ = done.send(ended);
        };
        ctx.spawn(run.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}
