//! Windows of a key that fell silent (`watermark.idle`, scope `key`).
//!
//! After `idle` without a reading, a tick fires open windows with `end ≤ max(t) + silent − max(idle, delay)`: the
//! key's own clock, as if it had gone on, so a device may be an hour slow. W rises to the last fired end − 1 ms
//! and no further: windows not yet over stay open, and a later backlog still counts.

use super::{PipelineState, PipelineStep};
use crate::alert::Moment;
use crate::config::Pipeline;

const NANOS_PER_MILLI: u64 = 1_000_000;

impl PipelineState {
    /// Service time at which the earliest open window is due because of silence.
    pub(super) fn idle_at_ns(&self, pipeline: &Pipeline) -> Option<u64> {
        let idle_ms = idle_ms(pipeline)?;
        let end = self.windows.next_end_ms(&pipeline.window)?;
        let wait_ms = end.saturating_sub(self.largest_ms).saturating_add(slack_ms(pipeline, idle_ms));
        let wait_ms = u64::try_from(wait_ms.max(idle_ms)).unwrap_or_default();
        Some(self.heard_ns.saturating_add(wait_ms.saturating_mul(NANOS_PER_MILLI)))
    }
}

impl PipelineStep<'_, '_> {
    pub(super) fn fire_idle(&mut self, moment: Moment) {
        let place = self.place;
        let pipeline = &place.plan.config.pipelines[self.plan.index];
        let Some(idle_ms) = idle_ms(pipeline).filter(|_| self.plan.source_scoped.is_none()) else { return };
        let silent_ms = (moment.service_ns.saturating_sub(self.state.heard_ns) / NANOS_PER_MILLI) as i64;
        if silent_ms < idle_ms || self.state.windows.is_empty() {
            return;
        }
        let limit = self.state.largest_ms.saturating_add(silent_ms - slack_ms(pipeline, idle_ms));
        let mut last_end = None;
        while let Some(firing) = self.state.windows.fire_next(pipeline, limit.saturating_sub(1)) {
            last_end = Some(firing.end_ms);
            self.emit(firing, moment.cause);
        }
        if let Some(end) = last_end {
            self.state.watermark_ms = self.state.watermark_ms.max(end - 1);
        }
        self.state.windows.purge(pipeline, self.state.watermark_ms);
    }
}

fn idle_ms(pipeline: &Pipeline) -> Option<i64> {
    pipeline.watermark.idle.map(|idle| i64::try_from(idle.as_millis()).unwrap_or(i64::MAX))
}

fn slack_ms(pipeline: &Pipeline, idle_ms: i64) -> i64 {
    idle_ms.max(pipeline.watermark.delay_ms)
}
