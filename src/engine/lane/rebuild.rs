//! A sensor that panicked is put back as it would be without what made it do so.
//!
//! From the lane's checkpoint the journal is replayed up to and with the round that panicked, for the panicked
//! keys only, without what is quarantined. What they put out before that round was put out then; what the round
//! itself would have made of them (windows that other sensors' readings made due) is handed on. A step that
//! panics here again, such as a tick, is passed over: it does so in every replay, so it needs no record.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::quarantine::Quarantines;
use super::{Duty, LaneError};
use crate::alert::Moment;
use crate::engine::checkpoint::Checkpoint;
use crate::engine::emission::Effects;
use crate::engine::group::Grouped;
use crate::engine::partition::load;
use crate::engine::plan::LanePlan;
use crate::engine::step::{Place, Rows, SensorState};
use crate::engine::view::Views;
use crate::engine::watermarks::Watermarks;
use crate::engine::wheel::KeyRef;
use crate::journal::{Chunk, Clock, Content, Record};
use crate::model::{Batch, Offset};

/// Sensors as they are without what made them panic.
pub(super) struct Rebuilt {
    /// Their states.
    pub(super) sensors: Vec<(KeyRef, SensorState)>,
    /// What they put out in the round that panicked.
    pub(super) effects: Effects,
}

/// Rebuilds the sensors of `panicked`, whose round began at `from`, as of `to`.
///
/// # Errors
/// [`LaneError`]: the lane cannot go on.
pub(super) async fn rebuild(
    duty: &Duty,
    quarantines: &Quarantines,
    panicked: Vec<KeyRef>,
    (from, to): (Offset, Offset),
) -> Result<Rebuilt, LaneError> {
    // First the checkpoint, then the states: a save beside us writes them in the opposite order, so a state
    // can only be ahead, and skips what it has applied.
    let checkpoint = Checkpoint::load(&duty.ground.store, &duty.plan.cursor)?;
    let checkpoint = checkpoint.expect("a lane has one when it is started");
    let watermarks = checkpoint.watermarks(&duty.plan)?;
    let Checkpoint { position, clock, .. } = checkpoint;
    let load = |key: KeyRef| load(&duty.plan, &duty.ground.store, &key).map(|state| (key, state));
    let sensors = panicked.into_iter().map(load).collect::<Result<_, _>>()?;
    let mut replay = Replay { plan: &duty.plan, quarantines, sensors, clock, watermarks };
    let mut effects = Effects::default();
    let mut reader = duty.ground.readings.reader(position);
    while reader.position() < to {
        let Some(chunk) = reader.try_next().await? else { break };
        let made = replay.on_chunk(&chunk);
        if chunk.base >= from {
            effects.merge(made);
        }
    }
    let sensors = replay.sensors.into_iter();
    Ok(Rebuilt { sensors: sensors.filter_map(|(key, state)| Some((key, state?))).collect(), effects })
}

/// A few sensors on their way through the past.
struct Replay<'a> {
    plan: &'a LanePlan,
    quarantines: &'a Quarantines,
    /// `None`: the key has sent nothing yet.
    sensors: Vec<(KeyRef, Option<SensorState>)>,
    clock: Clock,
    watermarks: Watermarks,
}

impl Replay<'_> {
    fn on_chunk(&mut self, chunk: &Chunk) -> Effects {
        let mut effects = Effects::default();
        match &chunk.content {
            Content::Readings(batch) => self.on_batch(batch, chunk.base, &mut effects),
            Content::Record(record) => {
                if let Record::Tick(clock) = **record {
                    self.on_tick(clock, chunk.base, &mut effects);
                }
            }
            Content::Outputs(_) | Content::DeadLetters(_) => {}
        }
        effects
    }

    fn on_batch(&mut self, batch: &Batch, base: Offset, effects: &mut Effects) {
        let views = Views::new(self.plan, batch);
        let trajectories = self.watermarks.advance(self.plan, &views, batch, self.clock.wall);
        let grouped = self.plan.keyings.iter().map(|keying| Grouped::new(self.plan, keying, &views, batch));
        let mut grouped: Vec<_> = grouped.collect();
        self.quarantines.skip(batch, &mut grouped);
        for (key, state) in &mut self.sensors {
            let keying = &self.plan.keyings[usize::from(key.0)];
            let rows = grouped[usize::from(key.0)].rows_of(&key.1);
            if rows.is_empty() && state.is_none() {
                continue;
            }
            let state = state.get_or_insert_with(|| SensorState::new(keying, base));
            let place = place(self.plan, key, self.clock);
            let rows = Rows { batch, rows, views: &views, trajectories: &trajectories };
            step(state, batch.end(), effects, |state, effects| state.on_rows(&place, &rows, effects));
        }
    }

    fn on_tick(&mut self, clock: Clock, cause: Offset, effects: &mut Effects) {
        self.clock = clock;
        let moment = Moment { wall: clock.wall, service_ns: clock.service_ns, cause };
        for (key, state) in &mut self.sensors {
            let Some(state) = state else { continue };
            let place = place(self.plan, key, clock);
            if state.due(&place).service_ns.is_some_and(|due| due <= clock.service_ns) {
                step(state, cause.plus(1), effects, |state, effects| state.on_tick(&place, moment, effects));
            }
        }
    }
}

fn place<'a>(plan: &'a LanePlan, (keying, key): &'a (u16, Arc<str>), clock: Clock) -> Place<'a> {
    let keying = &plan.keyings[usize::from(*keying)];
    Place { plan, keying, key, service_ns: clock.service_ns, wall: clock.wall }
}

/// Applies a step. One that panics changes nothing: the sensor passes over everything below `end`.
fn step(
    state: &mut SensorState,
    end: Offset,
    effects: &mut Effects,
    step: impl FnOnce(&mut SensorState, &mut Effects),
) {
    let (mut next, mut made) = (state.clone(), Effects::default());
    match catch_unwind(AssertUnwindSafe(|| step(&mut next, &mut made))) {
        Ok(()) => {
            *state = next;
            effects.merge(made);
        }
        Err(_) => state.pass_over(end),
    }
}
