//! One lane's sensors in one partition: who runs, who sleeps, who is to be woken when.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::prelude::*;
use rustc_hash::FxHashMap;

use super::{Done, PartitionError, Touched};
use crate::engine::plan::LanePlan;
use crate::engine::round::{Ask, Collected, Round, SharedRows, Work};
use crate::engine::sensor::{Apply, SensorActor};
use crate::engine::step::{Due, Place, SensorState};
use crate::engine::watermarks::Trajectory;
use crate::engine::wheel::{KeyRef, Wheel};
use crate::model::{Offset, Timestamp};
use crate::store::{StateKey, Store};

/// One lane's sensors in this partition.
pub(super) struct Share {
    plan: Arc<LanePlan>,
    store: Arc<Store>,
    /// Per grouping.
    sensors: Vec<FxHashMap<Arc<str>, Entry>>,
    /// Sensors that did something since they handed over their state and are not queued. Sorted as rows are in the
    /// store: those of one slice lie together there.
    dirty: BTreeSet<KeyRef>,
    /// Sensors that are to hand over their state.
    queue: BTreeSet<KeyRef>,
    pub(super) wheel: Wheel,
    idle_saves: u64,
    /// Rounds with [`Ask::Begin`] so far.
    saves: u64,
}

struct Entry {
    addr: Addr<SensorActor>,
    /// Whether it did something since it handed over its state: then it is dirty or queued.
    is_dirty: bool,
    /// The save it did something before last.
    busy_at: u64,
}

impl Share {
    pub(super) fn new(plan: Arc<LanePlan>, store: Arc<Store>, idle_saves: u64) -> Self {
        let sensors = plan.keyings.iter().map(|_| FxHashMap::default()).collect();
        let wheel = Wheel::new(plan.source_scoped.len());
        let (dirty, queue) = (BTreeSet::new(), BTreeSet::new());
        Self { plan, store, sensors, dirty, queue, wheel, idle_saves, saves: 0 }
    }

    /// The sensors of a round.
    pub(super) fn touched(&mut self, work: &Work, keys: Vec<(u16, u32)>) -> Vec<Touched> {
        match work {
            Work::Rows(shared) => self.touched_by_rows(shared, keys),
            Work::Tick(moment) => {
                self.wheel.take_timers(moment.service_ns).into_iter().map(|key| (key, 0..0)).collect()
            }
            Work::Save(Ask::Begin) => {
                self.queue();
                Vec::new()
            }
            Work::Save(Ask::Next(count)) => self.take_queued(*count),
            Work::Save(Ask::All) => {
                self.queue.append(&mut self.dirty);
                self.take_queued(usize::MAX)
            }
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

    /// Queues the sensors with something new, and goodbye to those that have been idle long enough.
    fn queue(&mut self) {
        self.saves += 1;
        let (saves, idle_saves) = (self.saves, self.idle_saves);
        for sensors in &mut self.sensors {
            sensors.retain(|_, entry| entry.is_dirty || saves - entry.busy_at <= idle_saves);
        }
        self.queue.append(&mut self.dirty);
    }

    fn take_queued(&mut self, count: usize) -> Vec<Touched> {
        let mut touched = Vec::new();
        while touched.len() < count
            && let Some(key) = self.queue.pop_first()
        {
            // One that has panicked may be gone.
            let entry = self.sensors[usize::from(key.0)].get_mut(&key.1);
            if entry.is_some_and(|entry| std::mem::take(&mut entry.is_dirty)) {
                touched.push((key, 0..0));
            }
        }
        touched
    }

    pub(super) fn send(
        &mut self,
        burst: &[Touched],
        round: &Arc<Round>,
        position: Offset,
    ) -> Result<(), PartitionError> {
        let is_save = matches!(*round.work, Work::Save(_));
        for (key, rows) in burst {
            let saves = self.saves;
            let entry = self.entry(key, position)?;
            let apply = Apply { round: round.clone(), rows: rows.clone() };
            // A refused message means that the sensor is gone: noticed after the round.
            let _ = entry.addr.try_send(apply);
            if !is_save {
                entry.busy_at = saves;
                if !std::mem::replace(&mut entry.is_dirty, true) {
                    self.dirty.insert(key.clone());
                }
            }
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

    /// Runs a sensor. One that wakes for a round tells its timers at the round's end: the wheel must not hold the
    /// ones it wakes for, or the later ones would not replace them.
    pub(super) fn adopt(&mut self, key: KeyRef, state: SensorState) {
        let addr = SensorActor::spawn(self.plan.clone(), key.clone(), state);
        let entry = Entry { addr, is_dirty: true, busy_at: self.saves };
        self.dirty.insert(key.clone());
        self.sensors[usize::from(key.0)].insert(key.1, entry);
    }

    pub(super) fn due(&self, key: &KeyRef, state: &SensorState) -> Due {
        let keying = &self.plan.keyings[usize::from(key.0)];
        let (plan, wall) = (&*self.plan, Timestamp::default());
        state.due(&Place { plan, keying, key: &key.1, service_ns: 0, wall })
    }

    pub(super) fn finish(&mut self, collected: Collected, touched: Vec<Touched>) -> Done {
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
        let active = self.sensors.iter().map(FxHashMap::len).sum();
        Done { collected, panicked, active, queued: self.queue.len() }
    }
}

/// The saved state of `key`, if it has one.
pub(in crate::engine) fn load(
    plan: &LanePlan,
    store: &Store,
    key: &KeyRef,
) -> Result<Option<SensorState>, PartitionError> {
    let keying = &plan.keyings[usize::from(key.0)];
    let saved = store.state(&StateKey { lane: &plan.cursor, keying: keying.id, key: &key.1 })?;
    let take = |bytes: Vec<u8>| SensorState::take(plan, keying, &bytes);
    saved.map(take).transpose().map_err(|error| PartitionError::State { key: key.1.clone(), error })
}
