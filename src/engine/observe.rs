//! What lanes tell the operator: metrics with their labels resolved once, and facts.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::engine::emission::{Effects, Emission};
use crate::engine::plan::{self, LanePlan};
use crate::journal::Reader;
use crate::model::{AlertRow, AlertState, Output, Timestamp};
use crate::telemetry::facts::{ExpressionFailed, Fact, LateReadings, SensorPanicked};
use crate::telemetry::handles::{AlertMetrics, LaneMetrics, PipelineMetrics};
use crate::telemetry::{Metrics, clock};

/// One lane's observer.
pub struct Observer {
    lane: Arc<str>,
    metrics: Arc<Metrics>,
    figures: LaneMetrics,
    /// By index into the configuration.
    pipelines: Vec<PipelineMetrics>,
    /// By index into the configuration.
    alerts: Vec<AlertMetrics>,
    config: Arc<Config>,
}

impl Observer {
    /// The observer of the lane or birth that computes `plan`.
    pub fn new(plan: &LanePlan, metrics: &Arc<Metrics>) -> Self {
        let config = &plan.config;
        let (lane, is_birth) = plan::lane_of(&plan.cursor);
        // One label for all births of a lane.
        let label = if is_birth { format!("{lane}+birth") } else { lane.to_owned() };
        Self {
            lane: label.as_str().into(),
            metrics: metrics.clone(),
            figures: metrics.lane(&label),
            pipelines: config.pipelines.iter().map(|pipeline| metrics.pipeline(&pipeline.name)).collect(),
            alerts: config.alerts.iter().map(|alert| metrics.alert(&alert.name)).collect(),
            config: config.clone(),
        }
    }

    /// The lane has gone on over a chunk that arrived at `received`.
    pub fn advanced(&self, reader: &Reader, received: Timestamp) {
        let lag = reader.lag_records();
        self.figures.lag_records.set(lag as i64);
        let age_ns = clock::now().nanos().saturating_sub(received.nanos()).max(0);
        self.figures.lag_seconds.set(if lag == 0 { 0.0 } else { age_ns as f64 / 1e9 });
    }

    /// A round over `readings` took `took`.
    pub fn round(&self, readings: u64, took: Duration) {
        self.figures.rounds.inc();
        self.figures.readings.inc_by(readings);
        self.figures.round_seconds.observe(took.as_secs_f64());
    }

    /// Watermarks of the plan's pipelines with scope `source`, against wall time.
    pub fn watermarks(&self, plan: &LanePlan, watermarks_ms: impl Iterator<Item = i64>, wall: Timestamp) {
        for (index, watermark) in plan.source_scoped.iter().zip(watermarks_ms) {
            if watermark != crate::window::BEFORE_ALL && wall.nanos() > 0 {
                let lag_ms = wall.floor_millis().saturating_sub(watermark);
                self.pipelines[*index].watermark_lag_seconds.set(lag_ms as f64 / 1e3);
            }
        }
    }

    /// What a round put out.
    pub fn effects(&self, effects: &Effects, active: usize) {
        self.figures.sensors_active.set(active as i64);
        for (index, count) in &effects.late {
            let pipeline = &self.config.pipelines[*index].name;
            LateReadings { pipeline, count: *count }.record(&self.metrics);
        }
        for (place, failure) in &effects.failures {
            ExpressionFailed { place, count: 1, error: failure }.record(&self.metrics);
        }
        for emission in &effects.emissions {
            match &emission.output {
                Output::Result(_) => self.pipelines[emission.rank as usize].results.inc(),
                Output::Alert(row) => match transition(row) {
                    1 => self.alert(emission).fired.inc(),
                    -1 => self.alert(emission).resolved.inc(),
                    _ => {}
                },
                Output::Late(_) => {}
            }
        }
    }

    /// How many keys of each alert fire, from everything a round put out, suppressed or not.
    pub fn transitions(&self, effects: &Effects) {
        for emission in &effects.emissions {
            if let Output::Alert(row) = &emission.output {
                self.alert(emission).firing.add(transition(row));
            }
        }
    }

    fn alert(&self, emission: &Emission) -> &AlertMetrics {
        &self.alerts[emission.rank as usize - self.config.pipelines.len()]
    }

    /// The plan's alerts are counted anew.
    pub fn forget_firing(&self, plan: &LanePlan) {
        for keying in &plan.keyings {
            let nested = keying.pipelines.iter().flat_map(|pipeline| &pipeline.alerts);
            nested.chain(&keying.alerts).for_each(|alert| self.alerts[alert.index].firing.set(0));
        }
    }

    /// Takes away the series of what `before` had and `newest` does not name: a lane that was behind has counted on.
    pub fn forget_unnamed(&self, before: &Config, newest: &Config) {
        let is_named = |name: &str| newest.pipelines.iter().any(|pipeline| *pipeline.name == *name);
        let gone = before.pipelines.iter().filter(|pipeline| !is_named(&pipeline.name));
        gone.for_each(|pipeline| self.metrics.forget_pipeline(&pipeline.name));
        let is_named = |name: &str| newest.alerts.iter().any(|alert| *alert.name == *name);
        let gone = before.alerts.iter().filter(|alert| !is_named(&alert.name));
        gone.for_each(|alert| self.metrics.forget_alert(&alert.name));
    }

    /// Neither the lane nor the birth comes back.
    pub fn gone(&self) {
        self.metrics.forget_lane(&self.lane);
    }

    /// Nothing runs any more.
    pub fn ended(&self) {
        self.figures.sensors_active.set(0);
        self.figures.lag_records.set(0);
        self.figures.lag_seconds.set(0.0);
    }

    /// Alerts that were firing before the restart.
    pub fn found_firing(&self, alerts: impl Iterator<Item = usize>) {
        alerts.for_each(|index| self.alerts[index].firing.inc());
    }

    /// A sensor panicked.
    pub fn panicked(&self, key: &str) {
        SensorPanicked { lane: &self.lane, key }.record(&self.metrics);
    }
}

/// 1 where a key begins to fire, -1 where it ends, 0 where it says so again.
fn transition(row: &AlertRow) -> i64 {
    match (row.state, &row.reason) {
        (AlertState::Resolved, _) => -1,
        (AlertState::Firing, None) => 1,
        (AlertState::Firing, Some(_)) => 0,
    }
}
