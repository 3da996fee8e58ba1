//! Measures the room on disk and how far processing is behind, for everything that takes messages.
//!
//! Disk (SEMANTICS §10): free space of the file system against `min_free`, and of each stream what somebody still
//! needs against its `max_bytes`; the scarcest counts. Pressure (promise 2): a lane with alerts that has once kept
//! up lags more than [`LAG_MAX_S`]; one that is catching up after a start exerts none.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Stage, retention};
use crate::config::{AlertInput, Config};
use crate::journal::Journal;
use crate::listen::{Level, Pressure, Room, used_by_pins, used_of_disk};
use crate::model::StreamName;
use crate::telemetry::Metrics;
use crate::telemetry::facts::{DiskLevelChanged, Fact};

/// Time from one measurement to the next.
const EVERY: Duration = Duration::from_millis(100);
/// How far a lane with alerts may lag before bulk sources are slowed.
const LAG_MAX_S: f64 = 0.2;

/// What is measured, and for whom.
struct Meter {
    room: Arc<Room>,
    metrics: Arc<Metrics>,
    config: Arc<Config>,
    journal: Arc<Journal>,
    data_dir: PathBuf,
    min_free_bytes: u64,
    lanes: Vec<Lane>,
}

/// Starts measuring.
pub(super) fn start(
    config: &Arc<Config>,
    journal: &Arc<Journal>,
    room: &Arc<Room>,
    metrics: &Arc<Metrics>,
) -> Stage {
    let stage = Stage::default();
    stage.tasks.spawn(Meter::new(config, journal, room, metrics).run(stage.stop.clone()));
    stage
}

/// A lane with alerts.
struct Lane {
    name: Arc<str>,
    has_kept_up: bool,
}

impl Meter {
    /// A meter of the gateway that `config` describes, in whose `room` it says what it finds.
    fn new(config: &Arc<Config>, journal: &Arc<Journal>, room: &Arc<Room>, metrics: &Arc<Metrics>) -> Self {
        let lanes = lanes_with_alerts(config).into_iter().map(|name| Lane { name, has_kept_up: false });
        Self {
            room: room.clone(),
            metrics: metrics.clone(),
            config: config.clone(),
            journal: journal.clone(),
            data_dir: config.gateway.data_dir.clone(),
            min_free_bytes: config.journal.min_free_bytes,
            lanes: lanes.collect(),
        }
    }

    /// Measures until told to stop.
    async fn run(mut self, stop: CancellationToken) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            self.measure_disk();
            self.measure_lag();
        }
    }

    fn measure_disk(&self) {
        // Where it cannot be asked, writing will tell.
        let Ok(space) = rustix::fs::statvfs(&self.data_dir) else { return };
        let free_bytes = space.f_bavail * space.f_frsize;
        self.metrics.disk_free_bytes.set(i64::try_from(free_bytes).unwrap_or(i64::MAX));
        let used = used_of_disk(free_bytes, self.min_free_bytes).max(self.used_of_streams());
        let level = Level::of(used);
        let before = self.room.set_disk(level);
        if level != before {
            let scarcity = level as u8;
            let is_worse = level > before;
            DiskLevelChanged { scarcity, is_worse, free_bytes }.record(&self.metrics);
        }
    }

    fn used_of_streams(&self) -> f64 {
        let used = StreamName::ALL.map(|stream| {
            let pinned_bytes = retention::pinned_bytes(&self.journal, stream);
            used_by_pins(pinned_bytes, retention::limits(&self.config.journal, stream).max_bytes)
        });
        used.into_iter().fold(0.0, f64::max)
    }

    fn measure_lag(&mut self) {
        let mut worst_s = 0.0_f64;
        for lane in &mut self.lanes {
            let lag_s = self.metrics.lane(&lane.name).lag_seconds.get();
            lane.has_kept_up |= lag_s <= LAG_MAX_S;
            if lane.has_kept_up {
                worst_s = worst_s.max(lag_s);
            }
        }
        let pressure = if worst_s > LAG_MAX_S { Pressure::High } else { Pressure::None };
        self.journal.readings.set_budget(budget(worst_s));
        if self.room.set_pressed(pressure) == Pressure::None && pressure == Pressure::High {
            tracing::debug!("a lane with alerts lags, bulk sources are slowed");
        }
        self.metrics.intake_pressed.set(i64::from(pressure == Pressure::High));
    }
}

/// The part of its queue that the journal keeps while lanes with alerts lag by `worst_s`: half at twice what they may.
fn budget(worst_s: f64) -> f64 {
    (LAG_MAX_S / worst_s.max(LAG_MAX_S)).min(1.0)
}

fn lanes_with_alerts(config: &Config) -> BTreeSet<Arc<str>> {
    let lane = |alert: &crate::config::Alert| match alert.on {
        AlertInput::Pipeline(index) => config.pipelines[index].lane.clone(),
        AlertInput::Source(_) => alert.lane.clone(),
    };
    config.alerts.iter().map(lane).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_shrinks_with_the_lag() {
        let budgets = [0.0, LAG_MAX_S, 2.0 * LAG_MAX_S, 4.0 * LAG_MAX_S].map(budget);
        assert_eq!(budgets, [1.0, 1.0, 0.5, 0.25]);
    }
}
