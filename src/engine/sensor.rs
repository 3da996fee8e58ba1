//! `SensorActor`: one per (lane, key). It owns the key's state and runs the step; nothing else.

use std::ops::Range;
use std::sync::Arc;

use actix::prelude::*;

use crate::engine::emission::Effects;
use crate::engine::plan::LanePlan;
use crate::engine::round::{Round, Saved, StateBytes, Work};
use crate::engine::step::{Due, Place, Rows, SensorState};
use crate::engine::wheel::KeyRef;
use crate::model::Timestamp;

/// Most messages waiting: the partition never sends a second one before the round is over.
pub const MAILBOX_MAX: usize = 2;

/// A round for one sensor: its rows among those of its grouping.
pub struct Apply {
    /// The round.
    pub round: Arc<Round>,
    /// The sensor's part of the grouping's rows; empty if it has none.
    pub rows: Range<u32>,
}

impl Message for Apply {
    type Result = ();
}

/// The windows and alerts of one key.
pub struct SensorActor {
    plan: Arc<LanePlan>,
    key: KeyRef,
    state: SensorState,
    /// What the partition knows of its next timers.
    told: Due,
}

impl SensorActor {
    /// Starts the actor on the current arbiter.
    pub fn spawn(plan: Arc<LanePlan>, key: KeyRef, state: SensorState) -> Addr<Self> {
        Self::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX_MAX);
            Self { plan, key, state, told: Due::default() }
        })
    }

    fn place(plan: &LanePlan, key: &KeyRef, clock: (u64, Timestamp), step: impl FnOnce(&Place<'_>)) {
        let keying = &plan.keyings[usize::from(key.0)];
        step(&Place { plan, keying, key: &key.1, service_ns: clock.0, wall: clock.1 });
    }

    fn save(&self, round: &Round) {
        let bytes = StateBytes::of(&self.plan, &self.key, &self.state);
        round.collect(|collected| collected.saved.push(Saved { key: self.key.clone(), bytes }));
    }
}

impl Actor for SensorActor {
    type Context = Context<Self>;
}

impl Handler<Apply> for SensorActor {
    type Result = ();

    fn handle(&mut self, Apply { round, rows }: Apply, _: &mut Context<Self>) {
        let mut effects = Effects::default();
        let (plan, key, state) = (&self.plan, &self.key, &mut self.state);
        let mut due = Due::default();
        // A wake without rows took the key off the wheel: the partition must be told anew.
        let woken = rows.is_empty();
        match &*round.work {
            Work::Save(_) => return self.save(&round),
            Work::Tick(moment) => Self::place(plan, key, (moment.service_ns, moment.wall), |place| {
                state.on_tick(place, *moment, &mut effects);
                due = state.due(place);
            }),
            Work::Rows(shared) => {
                let grouped = &shared.grouped[usize::from(key.0)].rows;
                let rows = &grouped[rows.start as usize..rows.end as usize];
                let (batch, views, trajectories) = (&*shared.batch, &shared.views, &*shared.trajectories);
                Self::place(plan, key, (shared.clock.service_ns, shared.clock.wall), |place| {
                    state.on_rows(place, &Rows { batch, rows, views, trajectories }, &mut effects);
                    due = state.due(place);
                });
            }
        }
        let tell = woken || due.is_sooner_than(&self.told);
        if tell || !effects.is_empty() {
            round.collect(|collected| {
                collected.effects.merge(effects);
                if tell {
                    collected.dues.push((self.key.clone(), due.clone()));
                }
            });
        }
        self.told = due;
    }
}
