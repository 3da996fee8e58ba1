//! A lane without actors and journal: the same steps in one thread, for `backtest`, `replay` and as the tests'
//! measure.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::alert::Moment;
use crate::engine::emission::Effects;
use crate::engine::group::Grouped;
use crate::engine::lane::quarantine::Quarantines;
use crate::engine::plan::LanePlan;
use crate::engine::step::{Place, Rows, SensorState};
use crate::engine::view::Views;
use crate::engine::watermarks::{Trajectory, Watermarks};
#[cfg(test)]
use crate::engine::wheel::KeyRef;
use crate::engine::wheel::Wheel;
use crate::journal::{Clock, Record};
use crate::model::{Batch, Offset};

/// All sensors of one lane in one thread.
pub struct Offline {
    plan: LanePlan,
    /// Per grouping.
    sensors: Vec<FxHashMap<Arc<str>, SensorState>>,
    watermarks: Watermarks,
    wheel: Wheel,
    /// The last tick.
    clock: Clock,
    /// Readings that made sensors panic when they were processed first.
    quarantines: Quarantines,
}

impl Offline {
    /// A lane before any reading.
    pub fn new(plan: LanePlan) -> Self {
        let sensors = plan.keyings.iter().map(|_| FxHashMap::default()).collect();
        let (watermarks, wheel) = (Watermarks::new(&plan), Wheel::new(plan.source_scoped.len()));
        let quarantines = Quarantines::new(&plan);
        Self { plan, sensors, watermarks, wheel, clock: Clock::default(), quarantines }
    }

    /// The same lane with the clock at `clock`: it begins in the middle of a journal.
    pub fn at(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What it computes.
    pub fn plan(&self) -> &LanePlan {
        &self.plan
    }

    /// The lane as a crash leaves it: `self` with the watermarks and the clock of `row`, and these states.
    #[cfg(test)]
    pub(in crate::engine) fn resumed(
        mut self,
        row: &Self,
        states: impl Iterator<Item = (KeyRef, SensorState)>,
    ) -> Self {
        (self.watermarks, self.clock) = (row.watermarks.clone(), row.clock);
        for (key, state) in states {
            let (keying, clock) = (&self.plan.keyings[usize::from(key.0)], row.clock);
            let Clock { wall, service_ns } = clock;
            let place = Place { plan: &self.plan, keying, key: &key.1, service_ns, wall };
            self.wheel.set(&key, &state.due(&place));
            self.sensors[usize::from(key.0)].insert(key.1, state);
        }
        self
    }

    /// Every state.
    #[cfg(test)]
    pub(in crate::engine) fn states(&self) -> impl Iterator<Item = (KeyRef, &SensorState)> {
        let keyings = self.sensors.iter().enumerate();
        keyings.flat_map(|(at, sensors)| {
            sensors.iter().map(move |(key, state)| ((at as u16, key.clone()), state))
        })
    }

    /// Skips from now on the readings that `record` sets aside; other records change nothing.
    pub fn set_aside(&mut self, record: &Record) {
        self.quarantines.note(&self.plan, record);
    }

    /// Keys with a state.
    pub fn key_count(&self) -> usize {
        self.sensors.iter().map(FxHashMap::len).sum()
    }

    /// Applies a batch; the effects are sorted.
    pub fn on_batch(&mut self, batch: &Batch) -> Effects {
        let views = Views::new(&self.plan, batch);
        let trajectories = self.watermarks.advance(&self.plan, &views, batch, self.clock.wall);
        let mut effects = Effects::default();
        let keyings = self.plan.keyings.iter();
        let mut grouped: Vec<_> =
            keyings.map(|keying| Grouped::new(&self.plan, keying, &views, batch)).collect();
        self.quarantines.skip(batch, &mut grouped);
        for (at, grouped) in grouped.iter().enumerate() {
            for (key, range) in &grouped.keys {
                let rows = &grouped.rows[range.start as usize..range.end as usize];
                let shared = Rows { batch, rows, views: &views, trajectories: &trajectories };
                self.step(at, key, &shared, &mut effects);
            }
        }
        let last = trajectories.iter().map(Trajectory::last);
        for (keying, key) in self.wheel.take_ends(last) {
            let shared = Rows { batch, rows: &[], views: &views, trajectories: &trajectories };
            self.step(usize::from(keying), &key, &shared, &mut effects);
        }
        effects.sort();
        effects
    }

    /// The clock goes on; the effects are sorted.
    pub fn on_tick(&mut self, clock: Clock, cause: Offset) -> Effects {
        self.clock = clock;
        let Clock { wall, service_ns } = clock;
        let mut effects = Effects::default();
        for key in self.wheel.take_timers(service_ns) {
            let (keying, name) = (&self.plan.keyings[usize::from(key.0)], &key.1);
            let Some(state) = self.sensors[usize::from(key.0)].get_mut(name) else { continue };
            let place = Place { plan: &self.plan, keying, key: name, service_ns, wall };
            state.on_tick(&place, Moment { wall, service_ns, cause }, &mut effects);
            self.wheel.set(&key, &state.due(&place));
        }
        effects.sort();
        effects
    }

    /// The input ends after `end`: everything open fires; the effects are sorted.
    pub fn finish(&mut self, end: Offset) -> Effects {
        let mut effects = Effects::default();
        for (keying, sensors) in self.plan.keyings.iter().zip(&mut self.sensors) {
            for (key, state) in sensors {
                let Clock { wall, service_ns } = self.clock;
                let place = Place { plan: &self.plan, keying, key, service_ns, wall };
                state.on_end(&place, end, &mut effects);
            }
        }
        effects.sort();
        effects
    }

    fn step(&mut self, at: usize, key: &str, rows: &Rows<'_>, effects: &mut Effects) {
        let keying = &self.plan.keyings[at];
        let sensors = &mut self.sensors[at];
        if !sensors.contains_key(key) {
            sensors.insert(key.into(), SensorState::new(keying, rows.batch.base));
        }
        let (key, _) = sensors.get_key_value(key).expect("inserted above");
        let key = key.clone();
        let state = sensors.get_mut(&key).expect("inserted above");
        let Clock { wall, service_ns } = self.clock;
        let place = Place { plan: &self.plan, keying, key: &key, service_ns, wall };
        state.on_rows(&place, rows, effects);
        self.wheel.set(&(at as u16, key.clone()), &state.due(&place));
    }
}
