//! `PartitionActor`: one per arbiter, shared by all lanes. It finds or wakes the sensors of a round, hands out
//! their messages in small bursts, and collects what they did.
//!
//! At most [`BURST_SENSORS`] messages or [`BURST_ROWS`] readings go out before it yields, so no lane holds the
//! thread. A sensor has one message waiting at most; a sensor that is not connected after the round has
//! panicked.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::prelude::*;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use crate::engine::plan::LanePlan;
use crate::engine::restore::partition_of;
use crate::engine::round::{Collected, Round, Work};
use crate::engine::step::codec::StateError;
use crate::engine::step::{Due, SensorState};
use crate::engine::wheel::KeyRef;
use crate::model::Offset;
use crate::store::{Store, StoreError};

mod share;

use share::Share;
pub(in crate::engine) use share::load;

/// Sensors that get a message before the partition yields.
const BURST_SENSORS: usize = 64;
/// Readings that are handed out before the partition yields.
const BURST_ROWS: u32 = 512;
/// Most messages waiting: a lane waits for the end of its round before it sends the next one, so this is a
/// number of lanes.
const MAILBOX_MAX: usize = 1_024;

/// Why a partition cannot go on with a lane: the lane stops, intake goes on.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A state cannot be read.
    #[error("state of {key:?}: {error}")]
    State {
        /// Whose.
        key: Arc<str>,
        /// What is wrong with it.
        error: StateError,
    },
    /// The partition's thread is gone.
    #[error("partition is gone")]
    Gone,
}

/// What a partition hands back after a round.
pub struct Done {
    /// What its sensors did.
    pub collected: Collected,
    /// Sensors that panicked.
    pub panicked: Vec<KeyRef>,
    /// Sensor actors running.
    pub active: usize,
    /// Sensors that are still to hand over their states.
    pub queued: usize,
}

/// A round for the sensors of this partition.
struct Dispatch {
    lane: usize,
    work: Arc<Work>,
    /// For rows: groupings and indices into their keys that are this partition's.
    keys: Vec<(u16, u32)>,
    done: oneshot::Sender<Result<Done, PartitionError>>,
}

impl Message for Dispatch {
    type Result = ();
}

/// A lane's plan, and when its keys in this partition that have a state want to be woken.
struct AddLane {
    number: usize,
    plan: Arc<LanePlan>,
    wake: Vec<(KeyRef, Due)>,
}

impl Message for AddLane {
    type Result = ();
}

/// A lane ends, or goes on with another plan.
struct RemoveLane {
    number: usize,
}

impl Message for RemoveLane {
    type Result = ();
}

/// Sensors that panicked, as they are without what made them do so.
struct Restore {
    lane: usize,
    sensors: Vec<(KeyRef, SensorState)>,
}

impl Message for Restore {
    type Result = ();
}

/// All partitions.
#[derive(Clone)]
pub struct Partitions {
    all: Vec<Addr<PartitionActor>>,
    /// The number of the next lane.
    next: Arc<AtomicUsize>,
}

impl Partitions {
    /// Starts `count` partitions, each on a thread of its own. A sensor that did nothing for `idle_saves` saves
    /// goes to sleep.
    pub fn spawn(store: &Arc<Store>, count: usize, idle_saves: u64) -> Self {
        let all = (0..count).map(|_| PartitionActor::spawn(store.clone(), idle_saves)).collect();
        Self { all, next: Arc::default() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Adds a lane; `wake` tells per partition when the keys that have a state want to be woken. The lane's number.
    ///
    /// # Errors
    /// [`PartitionError::Gone`].
    pub async fn add_lane(
        &self,
        plan: &Arc<LanePlan>,
        wake: Vec<Vec<(KeyRef, Due)>>,
    ) -> Result<usize, PartitionError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        for (partition, wake) in self.all.iter().zip(wake) {
            let add = AddLane { number, plan: plan.clone(), wake };
            partition.send(add).await.map_err(|_| PartitionError::Gone)?;
        }
        Ok(number)
    }

    /// Ends the sensors of a lane, whose states are saved.
    ///
    /// # Errors
    /// [`PartitionError::Gone`].
    pub async fn remove_lane(&self, number: usize) -> Result<(), PartitionError> {
        for partition in &self.all {
            partition.send(RemoveLane { number }).await.map_err(|_| PartitionError::Gone)?;
        }
        Ok(())
    }

    /// Puts rebuilt sensors of `lane` in the place of those that panicked.
    ///
    /// # Errors
    /// [`PartitionError::Gone`].
    pub async fn restore(
        &self,
        lane: usize,
        sensors: Vec<(KeyRef, SensorState)>,
    ) -> Result<(), PartitionError> {
        let mut hands: Vec<Vec<_>> = self.all.iter().map(|_| Vec::new()).collect();
        for (key, state) in sensors {
            hands[partition_of(&key.1, self.all.len())].push((key, state));
        }
        for (partition, sensors) in self.all.iter().zip(hands) {
            partition.send(Restore { lane, sensors }).await.map_err(|_| PartitionError::Gone)?;
        }
        Ok(())
    }

    /// One round of `lane` in all partitions, each with its own `keys`; what they did, together and sorted.
    ///
    /// # Errors
    /// [`PartitionError`]; the lane cannot go on then.
    pub async fn round(
        &self,
        lane: usize,
        work: &Arc<Work>,
        keys: Vec<Vec<(u16, u32)>>,
    ) -> Result<Done, PartitionError> {
        let mut waiting = Vec::with_capacity(self.all.len());
        for (partition, keys) in self.all.iter().zip(keys) {
            let (done, finished) = oneshot::channel();
            let dispatch = Dispatch { lane, work: work.clone(), keys, done };
            partition.try_send(dispatch).map_err(|_| PartitionError::Gone)?;
            waiting.push(finished);
        }
        let mut all = Done { collected: Collected::default(), panicked: Vec::new(), active: 0, queued: 0 };
        for finished in waiting {
            let done = finished.await.map_err(|_| PartitionError::Gone)??;
            all.active += done.active;
            all.queued += done.queued;
            all.panicked.extend(done.panicked);
            all.collected.effects.merge(done.collected.effects);
            all.collected.saved.extend(done.collected.saved);
        }
        all.collected.effects.sort();
        Ok(all)
    }
}

/// The sensors of all lanes on one thread.
struct PartitionActor {
    store: Arc<Store>,
    /// A sensor that did nothing for so many saves goes to sleep.
    idle_saves: u64,
    /// By the lane's number.
    lanes: FxHashMap<usize, Rc<RefCell<Share>>>,
}

impl PartitionActor {
    fn spawn(store: Arc<Store>, idle_saves: u64) -> Addr<Self> {
        Self::start_in_arbiter(&Arbiter::new().handle(), move |ctx| {
            ctx.set_mailbox_capacity(MAILBOX_MAX);
            Self { store, idle_saves, lanes: FxHashMap::default() }
        })
    }
}

impl Actor for PartitionActor {
    type Context = Context<Self>;

    /// No lane uses it any more: its thread ends, too.
    fn stopped(&mut self, _: &mut Context<Self>) {
        Arbiter::current().stop();
    }
}

impl Handler<AddLane> for PartitionActor {
    type Result = ();

    fn handle(&mut self, AddLane { number, plan, wake }: AddLane, _: &mut Context<Self>) {
        let mut share = Share::new(plan, self.store.clone(), self.idle_saves);
        for (key, due) in wake {
            share.wheel.set(&key, &due);
        }
        self.lanes.insert(number, Rc::new(RefCell::new(share)));
    }
}

impl Handler<RemoveLane> for PartitionActor {
    type Result = ();

    fn handle(&mut self, RemoveLane { number }: RemoveLane, _: &mut Context<Self>) {
        self.lanes.remove(&number);
    }
}

impl Handler<Restore> for PartitionActor {
    type Result = ();

    fn handle(&mut self, Restore { lane, sensors }: Restore, _: &mut Context<Self>) {
        let Some(share) = self.lanes.get(&lane) else { return };
        let mut share = share.borrow_mut();
        for (key, state) in sensors {
            let due = share.due(&key, &state);
            share.wheel.set(&key, &due);
            share.adopt(key, state);
        }
    }
}

impl Handler<Dispatch> for PartitionActor {
    type Result = ();

    fn handle(&mut self, dispatch: Dispatch, ctx: &mut Context<Self>) {
        let Dispatch { lane, work, keys, done } = dispatch;
        // A lane that was never added drops `done`, which its sender takes for a partition that is gone.
        let Some(share) = self.lanes.get(&lane).cloned() else { return };
        let run = async move {
            let result = run(&share, work, keys).await;
            // The lane is gone only while the engine is being torn down.
            let _ = done.send(result);
        };
        ctx.spawn(run.into_actor(self));
    }
}

/// One sensor of a round: who, and its rows.
type Touched = (KeyRef, std::ops::Range<u32>);

async fn run(
    share: &Rc<RefCell<Share>>,
    work: Arc<Work>,
    keys: Vec<(u16, u32)>,
) -> Result<Done, PartitionError> {
    let touched = share.borrow_mut().touched(&work, keys);
    let position = if let Work::Rows(rows) = &*work { rows.position } else { Offset(0) };
    let (done, finished) = oneshot::channel();
    let round = Round::new(work, done);
    let mut rest = touched.as_slice();
    while !rest.is_empty() {
        let burst = burst(rest);
        share.borrow_mut().send(&rest[..burst], &round, position)?;
        rest = &rest[burst..];
        tokio::task::yield_now().await;
    }
    drop(round);
    let collected = finished.await.map_err(|_| PartitionError::Gone)?;
    Ok(share.borrow_mut().finish(collected, touched))
}

/// How many sensors come before the next yield: at least one.
fn burst(touched: &[Touched]) -> usize {
    let mut rows = 0;
    let fits = |(_, range): &&Touched| {
        let fits = rows < BURST_ROWS;
        rows += range.len() as u32;
        fits
    };
    touched.iter().take(BURST_SENSORS).take_while(fits).count()
}
