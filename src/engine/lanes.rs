//! All lanes of a configuration: where new ones begin, and how they are exchanged while running.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::engine::checkpoint::{self, Checkpoint, cursor_name};
use crate::engine::generations;
use crate::engine::lane::{Fault, Ground, LaneActor, LaneError, Running};
use crate::engine::partition::Partitions;
use crate::engine::plan::{self, LanePlan};
use crate::engine::texts::{Naming, Texts};
use crate::engine::{LaneStatus, span};
use crate::journal::{Clock, Journal};
use crate::model::{Offset, StreamName};
use crate::store::{Found, Store};
use crate::telemetry::Metrics;

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
    ground: Ground,
    lanes: Vec<RunningLane>,
}

/// Where a lane without a checkpoint begins.
struct First {
    /// The text in force there.
    config: Arc<Config>,
    /// As [`generations::Beginning::oldest`].
    oldest: Offset,
    /// As [`generations::Beginning::now`].
    now: Offset,
}

struct RunningLane {
    name: Arc<str>,
    /// What stands before it is no matter of the lane.
    begins: Offset,
    running: Running,
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
    /// Starts every lane of `config`, and those of the text before that have records of their time left. The
    /// `Config` record of `config` is durable already, if there is to be one. Runs inside an actix system. What is
    /// acknowledged after this returns is in the lanes' windows.
    ///
    /// # Errors
    /// [`LaneError`] if it cannot be written down where a new lane begins.
    pub async fn start(
        config: &Arc<Config>,
        journal: &Journal,
        store: &Arc<Store>,
        metrics: &Arc<Metrics>,
        settings: EngineSettings,
    ) -> Result<Self, LaneError> {
        let ground = Ground {
            partitions: Partitions::spawn(store, settings.partitions, settings.idle_saves),
            readings: journal.readings.clone(),
            results: journal.results.clone(),
            dead_letters: journal.dead_letters.clone(),
            journal_id: journal.id.clone(),
            emitted: Arc::new(journal.emitted()),
            store: store.clone(),
            texts: Arc::new(Texts::new(config.clone(), journal.readings.durable())),
            metrics: metrics.clone(),
            checkpoint_every: settings.checkpoint_every,
            arbiter: Arbiter::new().handle(),
            stop: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            under_way: TaskTracker::new(),
            failed: watch::Sender::new(None),
        };
        let mut engine = Self { ground, lanes: Vec::new() };
        for lane in plan::lanes(config) {
            let first = engine.first(config, &lane).await?;
            engine.begin(&lane, first).await?;
        }
        let before = checkpoint::cursors(store, "")?;
        let before = before.into_iter().filter(|cursor| !plan::lane_of(cursor).1);
        for lane in before.filter(|lane| !plan::lanes(config).contains(lane)) {
            engine.run(lane, Offset(0));
        }
        Ok(engine)
    }

    /// Makes `config` the configuration in force, whose `Config` record is durable at `record`. Lanes that run
    /// follow it when they come to that record, at their own pace: up to it they compute the old text, and what is
    /// new in them is born beside them. Lanes it does not name end there; those it names for the first time begin
    /// there. Intake goes on meanwhile, and nothing is put out twice or left out. [`Self::lanes`] may have changed
    /// afterwards.
    ///
    /// # Errors
    /// [`LaneError`] if it cannot be written down where a new lane begins; the exchange may be repeated.
    pub async fn exchange(&mut self, config: &Arc<Config>, record: Offset) -> Result<(), LaneError> {
        let mut oldest = self.ground.readings.oldest();
        for lane in self.ground.texts.exchange(config, record.plus(1)) {
            let Some(at) = self.lanes.iter().position(|running| running.name == lane) else { continue };
            let Running { status, ended } = self.lanes.remove(at).running;
            // It is about to end and takes down its checkpoint; if it cannot, it has said so.
            let _ = ended.await;
            oldest = oldest.max(status.borrow().emitted);
        }
        for lane in plan::lanes(config) {
            if !self.lanes.iter().any(|running| running.name == lane) {
                let (config, now) = (config.clone(), record.plus(1));
                self.begin(&lane, First { config, oldest, now }).await?;
            }
        }
        Ok(())
    }

    /// Waits until every lane that ran before `record`, which names the newest configuration, has put out what stands
    /// before it, and lanes that it does not name have ended.
    pub async fn passed(&self, record: Offset) {
        let named = plan::lanes(&self.ground.texts.newest());
        for RunningLane { name, running, .. } in self.lanes.iter().filter(|lane| lane.begins <= record) {
            let is_named = named.contains(name);
            // An error says that the lane has ended.
            let _ = running.status.clone().wait_for(|status| is_named && status.emitted > record).await;
        }
    }

    /// Where `lane` begins if it has no checkpoint: what came since it was first named is in its windows, also if
    /// the engine starts much later. One whose checkpoint is lost begins where it began, with the text of then, and
    /// does everything again; what it had put out does not go out again.
    async fn first(&self, config: &Arc<Config>, lane: &Arc<str>) -> Result<First, LaneError> {
        let Ground { readings, store, emitted, texts, .. } = &self.ground;
        let oldest = readings.oldest();
        let noted = store.begin(&cursor_name(lane), StreamName::Readings).map(|noted| noted.max(oldest));
        let durable = readings.durable();
        let mut first = First { config: config.clone(), oldest, now: noted.unwrap_or(durable) };
        let is_lost = store.found() == Found::Restored || emitted.contains_key(lane);
        if store.found() != Found::Whole && is_lost {
            let end = emitted.get(lane).copied().unwrap_or(durable);
            match texts.first_naming(readings, lane, end).await? {
                Naming::Since(at, config) => first = First { config, oldest, now: at.plus(1) },
                Naming::Unknown => first.now = oldest,
                Naming::NoMore => {}
            }
        }
        Ok(first)
    }

    /// Starts `lane` where it stood, or a new one whose windows are whole from its beginning on.
    async fn begin(&mut self, lane: &Arc<str>, first: First) -> Result<(), LaneError> {
        let begins = first.now;
        if Checkpoint::load(&self.ground.store, lane)?.is_none() {
            self.first_checkpoint(lane, first).await?;
        }
        self.run(lane.clone(), begins);
        Ok(())
    }

    fn run(&mut self, lane: Arc<str>, begins: Offset) {
        let running = LaneActor::spawn(self.ground.clone(), lane.clone());
        self.lanes.push(RunningLane { name: lane, begins, running });
    }

    /// Writes down where a new lane begins before a device is acknowledged, so that whatever comes later is in its
    /// windows, also after a crash. It reads the past quietly itself: nobody waits for it.
    async fn first_checkpoint(
        &self,
        lane: &Arc<str>,
        First { config, oldest, now }: First,
    ) -> Result<(), LaneError> {
        let Ground { readings, journal_id, store, texts, .. } = &self.ground;
        let mut members = generations::follow(&config, lane, &[], generations::Beginning { oldest, now });
        let plan = LanePlan::of(&config, lane, journal_id, &members);
        let span::Beginning { position, partial_before_ms } = span::beginning(&plan, readings).await?;
        generations::begin(&mut members, &config, position, &partial_before_ms);
        // Usually the record before is the one that names the lane.
        let before = Offset(now.0.saturating_sub(1));
        let named = texts.at(readings, before).await?.filter(|named| named.text == config.text);
        let checkpoint = Checkpoint {
            position,
            clock: Clock::default(),
            since: now,
            config_at: named.map(|_| before),
            birth: None,
            members: Some(members),
            watermarks: Vec::new(),
        };
        Ok(checkpoint.save(store, lane)?)
    }

    /// Waits until a lane cannot go on, and says what is at fault. Cancel safe.
    pub async fn failed(&self) -> Fault {
        let mut failed = self.ground.failed.subscribe();
        let fault = failed.wait_for(Option::is_some).await.map(|fault| *fault);
        fault.ok().flatten().expect("its sender is the engine's, which is borrowed")
    }

    /// The lanes as they are seen from outside.
    pub fn lanes(&self) -> Vec<LaneView> {
        let view =
            |lane: &RunningLane| LaneView { name: lane.name.clone(), status: lane.running.status.clone() };
        self.lanes.iter().filter(|lane| !self.ground.texts.is_retired(&lane.name)).map(view).collect()
    }

    /// Ends every lane where it is, as a crash would: nothing is saved. When this returns they do nothing any more,
    /// neither with the store nor with `results`, and an engine on a mended store may start.
    pub async fn abandon(self) {
        let Ground { abandoned, under_way, results, arbiter, .. } = &self.ground;
        abandoned.cancel();
        under_way.close();
        under_way.wait().await;
        // What they had appended when they ended: how far they have put out is known from here on.
        results.settle().await;
        arbiter.stop();
    }

    /// Lets every lane finish what is durable, save its states and end; names and errors of those that failed.
    pub async fn stop(self) -> Vec<(Arc<str>, LaneError)> {
        self.ground.stop.cancel();
        let mut failed = Vec::new();
        for lane in self.lanes {
            if let Ok(Err(error)) = lane.running.ended.await {
                failed.push((lane.name, error));
            }
        }
        self.ground.arbiter.stop();
        failed
    }
}
