//! One sensor's step (pure): rows or a tick in, a new state and effects out.
//!
//! Per row, in journal order, per pipeline: fire what the watermark before the row makes due, judge the row
//! with that watermark, add it, advance the watermark, fire again. Every firing is a row that `having`
//! lets out or keeps back and that the pipeline's alerts judge in any case.

use std::sync::Arc;

use crate::alert;
use crate::config::{Config, Pipeline};
use crate::engine::emission::{Effects, Emission};
use crate::engine::plan::{AlertPlan, Keying, LanePlan, PipelinePlan};
use crate::engine::view::{Row, Views};
use crate::engine::watermarks::{self, Trajectory};
use crate::expr::Failure;
use crate::model::{Batch, Late, Offset, Output, Reading, Timestamp};
use crate::window::{self, Arrival, Firing, Placed, Windows};

pub mod codec;
mod emit;
mod idle;

/// Everything a lane knows of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorState {
    /// Every record below it is in the state.
    pub applied: Offset,
    /// A step without a reading of its own panicked: it does nothing until its next reading.
    rests: bool,
    pipelines: Vec<PipelineState>,
    /// Alerts on readings.
    alerts: Vec<alert::State>,
    /// Saved states of alerts whose pipelines are not in the plan, by identity.
    kept: Vec<(u64, Box<[u8]>)>,
}

#[derive(Clone, Debug, PartialEq)]
struct PipelineState {
    windows: Windows,
    /// The key's own watermark (scope `key`).
    watermark_ms: i64,
    /// Largest event time that moved it.
    largest_ms: i64,
    /// Service time of the latest reading.
    heard_ns: u64,
    alerts: Vec<alert::State>,
}

/// Where a step happens.
pub struct Place<'a> {
    /// The lane's work.
    pub plan: &'a LanePlan,
    /// The grouping.
    pub keying: &'a Keying,
    /// The key.
    pub key: &'a Arc<str>,
    /// Service time of the last tick.
    pub service_ns: u64,
    /// Wall time of the last tick.
    pub wall: Timestamp,
}

/// Rows for one sensor, and what all sensors of the round share.
pub struct Rows<'a> {
    /// The batch.
    pub batch: &'a Batch,
    /// The sensor's rows, ascending. None: the round only moved watermarks.
    pub rows: &'a [u32],
    /// How expressions see the batch.
    pub views: &'a Views,
    /// Per pipeline of [`LanePlan::source_scoped`].
    pub trajectories: &'a [Trajectory],
}

/// When a sensor has something to do without a reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Service time of the next timer.
    pub service_ns: Option<u64>,
    /// Per pipeline of [`LanePlan::source_scoped`] that has an open window: its index and the window's end.
    pub ends_ms: Vec<(usize, i64)>,
}

impl Due {
    /// Whether a partition that knows `told` would wake the sensor too late. Every window's end is news: the
    /// wheel forgets one when it wakes the key for it.
    pub fn is_sooner_than(&self, told: &Self) -> bool {
        let sooner = match (self.service_ns, told.service_ns) {
            (Some(now), Some(told)) => now < told,
            (now, told) => now.is_some() && told.is_none(),
        };
        sooner || self.ends_ms != told.ends_ms
    }
}

impl SensorState {
    /// The state of a key that has sent nothing below `applied`.
    pub fn new(keying: &Keying, applied: Offset) -> Self {
        let states = |plans: &[AlertPlan]| plans.iter().map(|_| alert::State::default()).collect();
        let pipeline = |plan: &PipelinePlan| PipelineState {
            windows: Windows::default(),
            watermark_ms: window::BEFORE_ALL,
            largest_ms: window::BEFORE_ALL,
            heard_ns: 0,
            alerts: states(&plan.alerts),
        };
        Self {
            applied,
            rests: false,
            pipelines: keying.pipelines.iter().map(pipeline).collect(),
            alerts: states(&keying.alerts),
            kept: Vec::new(),
        }
    }

    /// Applies the rows that are not in the state yet.
    pub fn on_rows(&mut self, place: &Place<'_>, rows: &Rows<'_>, effects: &mut Effects) {
        let is_new = |row: &u32| rows.batch.base.plus(u64::from(*row)) >= self.applied;
        self.rests &= !rows.rows.last().is_some_and(is_new);
        if self.rests {
            return self.pass_over(rows.batch.end());
        }
        for row in rows.rows {
            let reading = rows.batch.reading(*row as usize);
            if reading.offset() >= self.applied {
                self.on_reading(place, rows, reading, effects);
            }
        }
        for (plan, state) in place.keying.pipelines.iter().zip(&mut self.pipelines) {
            if let Some(at) = plan.source_scoped {
                let trajectory = &rows.trajectories[at];
                let mut step = PipelineStep { place, plan, state, effects };
                step.fire(trajectory.last(), |end| trajectory.cause(end - 1, rows.batch.base));
            }
        }
        self.applied = self.applied.max(rows.batch.end());
    }

    /// Looks at the timers.
    pub fn on_tick(&mut self, place: &Place<'_>, moment: alert::Moment, effects: &mut Effects) {
        if moment.cause < self.applied || self.rests {
            return;
        }
        #[cfg(test)]
        tests::planted_in_tick(place, moment);
        let Config { alerts, .. } = &*place.plan.config;
        for (plan, state) in place.keying.pipelines.iter().zip(&mut self.pipelines) {
            PipelineStep { place, plan, state: &mut *state, effects }.fire_idle(moment);
            let is_born = moment.cause >= plan.born_at;
            for (alert, state) in plan.alerts.iter().zip(&mut state.alerts).filter(|_| is_born) {
                let change = state.on_tick(&alerts[alert.index], place.key, moment);
                emit::change(place, alert.index, moment.cause, change, effects);
            }
        }
        for (alert, state) in place.keying.alerts.iter().zip(&mut self.alerts) {
            let change = state.on_tick(&alerts[alert.index], place.key, moment);
            emit::change(place, alert.index, moment.cause, change, effects);
        }
        self.applied = moment.cause.plus(1);
    }

    /// Passes over everything below `end`, because it made the sensor panic: what has no reading of its own would
    /// do so again at once, so windows and timers that are due rest until the next reading.
    pub fn pass_over(&mut self, end: Offset) {
        self.applied = self.applied.max(end);
        self.rests = true;
    }

    /// Fires everything that is open: the input ends.
    pub fn on_end(&mut self, place: &Place<'_>, cause: Offset, effects: &mut Effects) {
        for (plan, state) in place.keying.pipelines.iter().zip(&mut self.pipelines) {
            PipelineStep { place, plan, state, effects }.fire(window::AFTER_ALL, |_| cause);
        }
    }

    /// When there is something to do without a reading.
    pub fn due(&self, place: &Place<'_>) -> Due {
        let Config { alerts, pipelines, .. } = &*place.plan.config;
        let mut due = Due::default();
        if self.rests {
            return due;
        }
        let mut timers = Vec::new();
        for (plan, state) in place.keying.pipelines.iter().zip(&self.pipelines) {
            let pipeline = &pipelines[plan.index];
            if let Some(at) = plan.source_scoped {
                due.ends_ms.extend(state.windows.next_end_ms(&pipeline.window).map(|end| (at, end)));
            } else {
                timers.push(state.idle_at_ns(pipeline));
            }
            timers
                .extend(plan.alerts.iter().zip(&state.alerts).map(|(a, s)| s.next_tick_ns(&alerts[a.index])));
        }
        timers.extend(
            place.keying.alerts.iter().zip(&self.alerts).map(|(a, s)| s.next_tick_ns(&alerts[a.index])),
        );
        due.service_ns = timers.into_iter().flatten().min();
        due
    }

    /// Alerts that are firing: indices into [`Config::alerts`].
    pub fn firing<'a>(&'a self, keying: &'a Keying) -> impl Iterator<Item = usize> + 'a {
        let pipelines = keying.pipelines.iter().zip(&self.pipelines);
        let nested = pipelines.flat_map(|(plan, state)| plan.alerts.iter().zip(&state.alerts));
        let all = nested.chain(keying.alerts.iter().zip(&self.alerts));
        all.filter(|(_, state)| state.is_firing()).map(|(plan, _)| plan.index)
    }

    fn on_reading(
        &mut self,
        place: &Place<'_>,
        rows: &Rows<'_>,
        reading: Reading<'_>,
        effects: &mut Effects,
    ) {
        #[cfg(test)]
        tests::planted_in_reading(reading);
        let shape = reading.row().shape as usize;
        for (plan, state) in place.keying.pipelines.iter().zip(&mut self.pipelines) {
            if let Some(bindings) = rows.views.pipelines[plan.index][shape].as_deref() {
                let row = Row { reading, bindings };
                let trajectory = plan.source_scoped.map(|at| &rows.trajectories[at]);
                PipelineStep { place, plan, state, effects }.on_reading(&row, trajectory);
            }
        }
        for (plan, state) in place.keying.alerts.iter().zip(&mut self.alerts) {
            let bindings = rows.views.alerts[plan.index][shape].as_deref();
            if let Some(bindings) = bindings.filter(|_| reading.offset() >= place.plan.since) {
                emit::alert_on_reading(place, plan.index, state, &Row { reading, bindings }, effects);
            }
        }
    }
}

/// One pipeline of one key, for the time of a step.
struct PipelineStep<'a, 'e> {
    place: &'a Place<'a>,
    plan: &'a PipelinePlan,
    state: &'a mut PipelineState,
    effects: &'e mut Effects,
}

impl PipelineStep<'_, '_> {
    fn on_reading(&mut self, row: &Row<'_>, trajectory: Option<&Trajectory>) {
        let place = self.place;
        let pipeline: &Pipeline = &place.plan.config.pipelines[self.plan.index];
        let offset = row.reading.offset();
        if let Some(trajectory) = trajectory {
            let before = trajectory.before(offset);
            self.fire(before, |end| trajectory.cause(end - 1, offset));
            self.state.watermark_ms = before;
        }
        self.state.heard_ns = place.service_ns;
        if self.passes(pipeline, row) {
            self.add(pipeline, row, offset);
        }
        if trajectory.is_none()
            && let Some(time) = watermarks::moves(&pipeline.watermark, row.reading.time(), place.wall)
        {
            self.state.largest_ms = self.state.largest_ms.max(time);
            let watermark = self.state.largest_ms.saturating_sub(pipeline.watermark.delay_ms);
            self.state.watermark_ms = self.state.watermark_ms.max(watermark);
            self.fire(self.state.watermark_ms, |_| offset);
        }
    }

    /// Whether what `cause` causes is of the time before the pipeline.
    fn is_quiet(&self, cause: Offset) -> bool {
        cause < self.plan.born_at
    }

    fn passes(&mut self, pipeline: &Pipeline, row: &Row<'_>) -> bool {
        let Some(filter) = &pipeline.filter else { return true };
        filter.test(row).unwrap_or_else(|failure| {
            if !self.is_quiet(row.reading.offset()) {
                self.effects.failed(|| format!("pipeline.{}.where", pipeline.name), failure);
            }
            false
        })
    }

    fn add(&mut self, pipeline: &Pipeline, row: &Row<'_>, offset: Offset) {
        let arrival = Arrival { time_ms: row.reading.time().floor_millis(), offset, scope: row };
        let mut failures: Vec<(usize, Failure)> = Vec::new();
        let placed = self.state.windows.add(pipeline, self.state.watermark_ms, &arrival, &mut failures);
        failures.retain(|_| !self.is_quiet(offset));
        for (column, failure) in failures {
            let name = &pipeline.select[column].name;
            self.effects.failed(|| format!("pipeline.{}.select.{name}", pipeline.name), failure);
        }
        match placed {
            Placed::Accepted => {}
            Placed::Refired(firing) => self.emit(firing, offset),
            Placed::Late if self.is_quiet(offset) => {}
            Placed::Late => self.late(pipeline, row),
        }
    }

    fn late(&mut self, pipeline: &Pipeline, row: &Row<'_>) {
        self.effects.late(self.plan.index);
        if pipeline.watermark.late == crate::config::LateRule::Keep {
            let values = row.reading.fields().map(|(name, value)| (name.into(), value.to_value())).collect();
            let (key, time) = (self.place.key.clone(), row.reading.time());
            let output =
                Output::Late(Late { pipeline: pipeline.name.clone(), key: key.clone(), time, values });
            let (cause, rank) = (row.reading.offset(), self.plan.index as u32);
            let emission = Emission { cause, rank, key, start_ms: time.floor_millis(), revision: 0, output };
            self.effects.emissions.push(emission);
        }
    }

    /// Fires every window that is due at `watermark_ms`; `cause` tells by the window's end who made it so.
    fn fire(&mut self, watermark_ms: i64, cause: impl Fn(i64) -> Offset) {
        let place = self.place;
        let pipeline = &place.plan.config.pipelines[self.plan.index];
        while let Some(firing) = self.state.windows.fire_next(pipeline, watermark_ms) {
            let cause = cause(firing.end_ms);
            self.emit(firing, cause);
        }
        self.state.windows.purge(pipeline, watermark_ms);
    }

    fn emit(&mut self, firing: Firing, cause: Offset) {
        if self.is_quiet(cause) {
            return;
        }
        emit::firing(self.place, self.plan, &mut self.state.alerts, &firing, cause, self.effects);
    }
}

#[cfg(test)]
mod tests;
