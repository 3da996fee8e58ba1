//! A round: what the sensors of one partition share while they work on one chunk, and how the end is noticed.
//!
//! Every message to a sensor holds the round. The last one dropped, normally or by a panic, sends what was
//! collected to the partition: nobody counts answers.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::alert::Moment;
use crate::engine::emission::Effects;
use crate::engine::group::Grouped;
use crate::engine::plan::LanePlan;
use crate::engine::step::{Due, SensorState};
use crate::engine::view::Views;
use crate::engine::wake::Wake;
use crate::engine::watermarks::Trajectory;
use crate::engine::wheel::KeyRef;
use crate::journal::Clock;
use crate::model::{Batch, Offset};

/// What a round is about; the same for all partitions.
pub enum Work {
    /// Readings, and watermarks that moved.
    Rows(SharedRows),
    /// The clock.
    Tick(Moment),
    /// States are to be saved.
    Save(Ask),
}

/// Who is to hand over a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nobody yet: who has done something since is queued. Sensors that have done nothing for long go to sleep: the
    /// store has their states, all that was handed over is written.
    Begin,
    /// The next so many of those that are queued, in the order of their keys.
    Next(usize),
    /// Everybody who has done something since, queued or not.
    All,
}

/// A batch arranged for the sensors.
pub struct SharedRows {
    /// The readings.
    pub batch: Arc<Batch>,
    /// How expressions see them.
    pub views: Views,
    /// Per pipeline with a watermark for all keys.
    pub trajectories: Vec<Trajectory>,
    /// Per grouping.
    pub grouped: Vec<Grouped>,
    /// The last tick.
    pub clock: Clock,
    /// Where a key that is new begins.
    pub position: Offset,
}

/// A sensor's state on its way to the store.
pub struct Saved {
    /// The key.
    pub key: KeyRef,
    /// The state as bytes.
    pub bytes: StateBytes,
}

/// A sensor's state as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateBytes {
    /// The state.
    pub state: Vec<u8>,
    /// When it wants to be woken ([`crate::engine::wake`]).
    pub wake: Vec<u8>,
}

impl StateBytes {
    /// `state` of `key`, as it is under `plan`.
    pub fn of(plan: &LanePlan, key: &KeyRef, state: &SensorState) -> Self {
        let mut bytes = Vec::new();
        state.put(plan, &plan.keyings[usize::from(key.0)], &mut bytes);
        Self { state: bytes, wake: Wake::of(plan, key, state).encode(plan) }
    }
}

/// What a partition's sensors have done in one round.
#[derive(Default)]
pub struct Collected {
    /// Outputs, counts, failures.
    pub effects: Effects,
    /// When sensors want to be woken.
    pub dues: Vec<(KeyRef, Due)>,
    /// States.
    pub saved: Vec<Saved>,
}

/// One partition's part of a round.
pub struct Round {
    /// What it is about.
    pub work: Arc<Work>,
    collected: Mutex<Collected>,
    done: Option<oneshot::Sender<Collected>>,
}

impl Round {
    /// A round about `work`; `done` gets what was collected.
    pub fn new(work: Arc<Work>, done: oneshot::Sender<Collected>) -> Arc<Self> {
        Arc::new(Self { work, collected: Mutex::default(), done: Some(done) })
    }

    /// Adds to what is collected.
    pub fn collect(&self, add: impl FnOnce(&mut Collected)) {
        // A sensor's panic inside `add` cannot happen: nothing of a sensor runs in it.
        add(&mut self.collected.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        let collected = std::mem::take(self.collected.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(done) = self.done.take() {
            // The partition is gone only while the engine is being torn down.
            let _ = done.send(collected);
        }
    }
}
