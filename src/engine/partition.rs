//! `PartitionActor`: one per arbiter, shared by all lanes. It finds or wakes the sensors of a round, hands out
//! their messages in small bursts, and collects what they did.
//!
//! At most [`BURST_SENSORS`] messages or [`BURST_ROWS`] readings go out before it yields, so no lane holds the
//! thread. A sensor has one message waiting at most; a sensor that is not connected after the round has
//! panicked.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use crate::engine::plan::LanePlan;
use crate::engine::restore::partition_of;
use crate::engine::round::{Collected, Idle, Round, SharedRows, Work};
use crate::engine::sensor::{Apply, SensorActor};
use crate::engine::step::codec::StateError;
use crate::engine::step::{Place, SensorState};
use crate::engine::watermarks::Trajectory;
use crate::engine::wheel::{KeyRef, Wheel};
use crate::model::{Offset, Timestamp};
use crate::store::{StateKey, Store, StoreError};

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

/// A lane's plan, and its keys in this partition that have a state.
struct AddLane {
    number: usize,
    plan: Arc<LanePlan>,
    wake: Vec<(KeyRef, SensorState)>,
}

impl Message for AddLane {
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
pub struct Partitions(Vec<Addr<PartitionActor>>);

impl Partitions {
    /// Starts `count` partitions, each on a thread of its own. A sensor that did nothing for `idle_saves` saves
    /// goes to sleep.
    pub fn spawn(store: &Arc<Store>, count: usize, idle_saves: u64) -> Self {
        Self((0..count).map(|_| PartitionActor::spawn(store.clone(), idle_saves)).collect())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Adds a lane; `wake` holds per partition the keys that have a state.
    ///
    /// # Errors
    /// [`PartitionError::Gone`].
    pub async fn add_lane(
        &self,
        plan: &Arc<LanePlan>,
        number: usize,
        wake: Vec<Vec<(KeyRef, SensorState)>>,
    ) -> Result<(), PartitionError> {
        for (partition, wake) in self.0.iter().zip(wake) {
            let add = AddLane { number, plan: plan.clone(), wake };
            partition.send(add).await.map_err(|_| PartitionError::Gone)?;
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
        let mut hands: Vec<Vec<_>> = self.0.iter().map(|_| Vec::new()).collect();
        for (key, state) in sensors {
            hands[partition_of(&key.1, self.0.len())].push((key, state));
        }
        for (partition, sensors) in self.0.iter().zip(hands) {
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
        let mut waiting = Vec::with_capacity(self.0.len());
        for (partition, keys) in self.0.iter().zip(keys) {
            let (done, finished) = oneshot::channel();
            let dispatch = Dispatch { lane, work: work.clone(), keys, done };
            partition.try_send(dispatch).map_err(|_| PartitionError::Gone)?;
            waiting.push(finished);
        }
        let mut all = Done { collected: Collected::default(), panicked: Vec::new(), active: 0 };
        for finished in waiting {
            let done = finished.await.map_err(|_| PartitionError::Gone)??;
            all.active += done.active;
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
}

impl Handler<AddLane> for PartitionActor {
    type Result = ();

    fn handle(&mut self, AddLane { number, plan, wake }: AddLane, _: &mut Context<Self>) {
        let mut share = Share::new(plan, self.store.clone(), self.idle_saves);
        for (key, state) in wake {
            let due = share.due(&key, &state);
            share.wheel.set(&key, &due);
        }
        self.lanes.insert(number, Rc::new(RefCell::new(share)));
    }
}

impl Handler<Restore> for PartitionActor {
    type Result = ();

    fn handle(&mut self, Restore { lane, sensors }: Restore, _: &mut Context<Self>) {
        let Some(share) = self.lanes.get(&lane) else { return };
        sensors.into_iter().for_each(|(key, state)| share.borrow_mut().adopt(key, state));
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

/// One lane's sensors in this partition.
struct Share {
    plan: Arc<LanePlan>,
    store: Arc<Store>,
    /// Per grouping.
    sensors: Vec<FxHashMap<Arc<str>, Entry>>,
    wheel: Wheel,
    idle_saves: u64,
    /// Rounds with [`Work::Save`] so far.
    saves: u64,
}

struct Entry {
    addr: Addr<SensorActor>,
    /// Whether it did something since its state was last saved.
    is_dirty: bool,
    /// The save it did something before last.
    busy_at: u64,
}

impl Share {
    fn new(plan: Arc<LanePlan>, store: Arc<Store>, idle_saves: u64) -> Self {
        let sensors = plan.keyings.iter().map(|_| FxHashMap::default()).collect();
        let wheel = Wheel::new(plan.source_scoped.len());
        Self { plan, store, sensors, wheel, idle_saves, saves: 0 }
    }

    /// The sensors of a round.
    fn touched(&mut self, work: &Work, keys: Vec<(u16, u32)>) -> Vec<Touched> {
        match work {
            Work::Rows(shared) => self.touched_by_rows(shared, keys),
            Work::Tick(moment) => {
                self.wheel.take_timers(moment.service_ns).into_iter().map(|key| (key, 0..0)).collect()
            }
            Work::Save(idle) => self.to_save(*idle),
        }
    }

    fn touched_by_rows(&mut self, shared: &SharedRows, keys: Vec<(u16, u32)>) -> Vec<Touched> {
        let mut ends = self.wheel.take_ends(shared.trajectories.iter().map(Trajectory::last));
        let mut touched = Vec::with_capacity(keys.len() + ends.len());
        for (keying, at) in keys {
            let (text, range) = &shared.grouped[usize::from(keying)].keys[at as usize];
            let known = self.sensors[usize::from(keying)].get_key_value(&**text);
            let key = (keying, known.map_or_else(|| Arc::from(&**text), |(key, _)| key.clone()));
            ends.remove(&key);
            touched.push((key, range.clone()));
        }
        touched.extend(ends.into_iter().map(|key| (key, 0..0)));
        touched
    }

    /// Sensors with something new, and goodbye to those that have been idle long enough.
    fn to_save(&mut self, idle: Idle) -> Vec<Touched> {
        self.saves += 1;
        let (saves, idle_saves) = (self.saves, self.idle_saves);
        let mut touched = Vec::new();
        for (keying, sensors) in self.sensors.iter_mut().enumerate() {
            if idle == Idle::Sleeps {
                sensors.retain(|_, entry| entry.is_dirty || saves - entry.busy_at <= idle_saves);
            }
            for (key, entry) in sensors.iter_mut().filter(|(_, entry)| entry.is_dirty) {
                entry.is_dirty = false;
                touched.push(((keying as u16, key.clone()), 0..0));
            }
        }
        touched
    }

    fn send(
        &mut self,
        burst: &[Touched],
        round: &Arc<Round>,
        position: Offset,
    ) -> Result<(), PartitionError> {
        let is_save = matches!(*round.work, Work::Save(_));
        for (key, rows) in burst {
            let saves = self.saves;
            let entry = self.entry(key, position)?;
            if !is_save {
                entry.is_dirty = true;
                entry.busy_at = saves;
            }
            let apply = Apply { round: round.clone(), rows: rows.clone() };
            // A refused message means that the sensor is gone: noticed after the round.
            let _ = entry.addr.try_send(apply);
        }
        Ok(())
    }

    /// The running sensor of `key`: started with its saved state, or anew, if it is not running.
    fn entry(&mut self, key: &KeyRef, position: Offset) -> Result<&mut Entry, PartitionError> {
        if !self.sensors[usize::from(key.0)].contains_key(&key.1) {
            let state = load(&self.plan, &self.store, key)?;
            let keying = &self.plan.keyings[usize::from(key.0)];
            let state = state.unwrap_or_else(|| SensorState::new(keying, position));
            self.adopt(key.clone(), state);
        }
        Ok(self.sensors[usize::from(key.0)].get_mut(&key.1).expect("adopted above"))
    }

    fn adopt(&mut self, key: KeyRef, state: SensorState) {
        let due = self.due(&key, &state);
        self.wheel.set(&key, &due);
        let addr = SensorActor::spawn(self.plan.clone(), key.clone(), state);
        let entry = Entry { addr, is_dirty: true, busy_at: self.saves };
        self.sensors[usize::from(key.0)].insert(key.1, entry);
    }

    fn due(&self, key: &KeyRef, state: &SensorState) -> crate::engine::step::Due {
        let keying = &self.plan.keyings[usize::from(key.0)];
        let (plan, wall) = (&*self.plan, Timestamp::default());
        state.due(&Place { plan, keying, key: &key.1, service_ns: 0, wall })
    }

    fn finish(&mut self, collected: Collected, touched: Vec<Touched>) -> Done {
        for (key, due) in &collected.dues {
            self.wheel.set(key, due);
        }
        let mut panicked = Vec::new();
        for (key, _) in touched {
            let sensors = &mut self.sensors[usize::from(key.0)];
            if sensors.get(&key.1).is_some_and(|entry| !entry.addr.connected()) {
                sensors.remove(&key.1);
                panicked.push(key);
            }
        }
        Done { collected, panicked, active: self.sensors.iter().map(FxHashMap::len).sum() }
    }
}

/// The saved state of `key`, if it has one.
pub(super) fn load(
    plan: &LanePlan,
    store: &Store,
    key: &KeyRef,
) -> Result<Option<SensorState>, PartitionError> {
    let keying = &plan.keyings[usize::from(key.0)];
    let saved = store.state(&StateKey { lane: &plan.lane, keying: keying.id, key: &key.1 })?;
    let take = |bytes: Vec<u8>| SensorState::take(plan, keying, &bytes);
    saved.map(take).transpose().map_err(|error| PartitionError::State { key: key.1.clone(), error })
}
