//! Watermarks with scope `source` (pure): one for all keys of a pipeline, computed by the lane in journal order.
//!
//! W = max(t) − delay; over several sources the least of those that have spoken. It never falls: a source that
//! speaks for the first time with old readings finds them late. A round carries the
//! [`Trajectory`] of each such pipeline, so that every sensor sees W as it was before each of its rows and knows
//! which reading moved it past a window's end.

use crate::config::{Pipeline, Watermark};
use crate::engine::generations;
use crate::engine::plan::LanePlan;
use crate::engine::view::Views;
use crate::model::bytes::{Input, Truncated, put_text, put_varint, put_zigzag};
use crate::model::{Batch, Offset, Timestamp};
use crate::window::BEFORE_ALL;

/// W over one batch: how it was before, and each reading that raised it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trajectory {
    before_ms: i64,
    /// Offset of the reading and W after it; both ascend.
    rises: Vec<(Offset, i64)>,
}

impl Trajectory {
    /// A trajectory that stays at `watermark_ms`.
    pub fn flat(watermark_ms: i64) -> Self {
        Self { before_ms: watermark_ms, rises: Vec::new() }
    }

    /// W before the reading at `offset`.
    pub fn before(&self, offset: Offset) -> i64 {
        let rises = self.rises.partition_point(|(at, _)| *at < offset);
        rises.checked_sub(1).map_or(self.before_ms, |last| self.rises[last].1)
    }

    /// W after the batch.
    pub fn last(&self) -> i64 {
        self.rises.last().map_or(self.before_ms, |(_, watermark)| *watermark)
    }

    /// The reading that raised W to `least_ms` or beyond; `otherwise` if W was there before the batch.
    pub fn cause(&self, least_ms: i64, otherwise: Offset) -> Offset {
        let below = self.rises.partition_point(|(_, watermark)| *watermark < least_ms);
        if least_ms <= self.before_ms {
            otherwise
        } else {
            self.rises.get(below).map_or(otherwise, |(at, _)| *at)
        }
    }
}

/// The event time that moves the watermark for a reading at `time`: none if it lies too far ahead of the clock.
///
/// The rule is off while the clock says nothing (before the first tick).
pub fn moves(watermark: &Watermark, time: Timestamp, wall: Timestamp) -> Option<i64> {
    let ahead = time.nanos().saturating_sub(wall.nanos());
    let too_far =
        watermark.max_ahead.is_some_and(|max| wall.nanos() > 0 && i128::from(ahead) > max.as_nanos() as i128);
    (!too_far).then(|| time.floor_millis())
}

impl Shared {
    /// A reading of `source` at `time_ms`; whether it raised the watermark.
    fn heard(&mut self, source: usize, time_ms: i64, delay_ms: i64) -> bool {
        let largest = &mut self.largest[source];
        if largest.is_some_and(|largest| largest >= time_ms) {
            return false;
        }
        *largest = Some(time_ms);
        let least = self.largest.iter().flatten().min().copied().unwrap_or(time_ms);
        let before = self.watermark_ms;
        self.watermark_ms = before.max(least.saturating_sub(delay_ms));
        self.watermark_ms > before
    }
}

/// The lane's watermarks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// Per pipeline with scope `source`.
    shared: Vec<Shared>,
}

/// One pipeline's watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shared {
    watermark_ms: i64,
    /// Per source of its `from` the largest event time, once it has spoken.
    largest: Vec<Option<i64>>,
}

impl Watermarks {
    /// Watermarks before any reading.
    pub fn new(plan: &LanePlan) -> Self {
        let shared = |index: &usize| Shared {
            watermark_ms: BEFORE_ALL,
            largest: vec![None; plan.config.pipelines[*index].from.len()],
        };
        Self { shared: plan.source_scoped.iter().map(shared).collect() }
    }

    /// Those of `plan`, each from the part that has it; all plans are of one configuration.
    pub fn joined(plan: &LanePlan, parts: [(&LanePlan, &Self); 2]) -> Self {
        let mut joined = Self::new(plan);
        for (index, shared) in plan.source_scoped.iter().zip(&mut joined.shared) {
            for (part, watermarks) in parts {
                if let Some(at) = part.source_scoped.iter().position(|own| own == index) {
                    *shared = watermarks.shared[at].clone();
                }
            }
        }
        joined
    }

    /// W of the pipeline at `at` in [`LanePlan::source_scoped`].
    pub fn get(&self, at: usize) -> i64 {
        self.shared[at].watermark_ms
    }

    /// Moves over `batch`; one trajectory per pipeline of [`LanePlan::source_scoped`].
    pub fn advance(
        &mut self,
        plan: &LanePlan,
        views: &Views,
        batch: &Batch,
        wall: Timestamp,
    ) -> Vec<Trajectory> {
        (0..plan.source_scoped.len()).map(|at| self.advance_one(plan, views, batch, wall, at)).collect()
    }

    fn advance_one(
        &mut self,
        plan: &LanePlan,
        views: &Views,
        batch: &Batch,
        wall: Timestamp,
        at: usize,
    ) -> Trajectory {
        let index = plan.source_scoped[at];
        let pipeline = &plan.config.pipelines[index];
        let source_of: Vec<Option<usize>> = batch
            .shapes()
            .iter()
            .map(|shape| {
                pipeline.from.iter().position(|from| **from == *batch.dictionary().get(shape.source))
            })
            .collect();
        let shared = &mut self.shared[at];
        let mut trajectory = Trajectory::flat(shared.watermark_ms);
        for (row, fixed) in batch.rows().iter().enumerate() {
            if views.pipelines[index][fixed.shape as usize].is_none() {
                continue;
            }
            let Some(source) = source_of[fixed.shape as usize] else { continue };
            let Some(time) = moves(&pipeline.watermark, fixed.time, wall) else { continue };
            if shared.heard(source, time, pipeline.watermark.delay_ms) {
                trajectory.rises.push((batch.base.plus(row as u64), shared.watermark_ms));
            }
        }
        trajectory
    }

    /// Appends the state to `out`, by generation so that a changed configuration does not misread it.
    pub fn put(&self, plan: &LanePlan, out: &mut Vec<u8>) {
        put_varint(out, self.shared.len() as u64);
        for (index, Shared { watermark_ms, largest }) in plan.source_scoped.iter().zip(&self.shared) {
            let Pipeline { generation, name, .. } = &plan.config.pipelines[*index];
            put_varint(out, *generation);
            put_text(out, name);
            put_zigzag(out, *watermark_ms);
            put_varint(out, largest.len() as u64);
            for time in largest {
                out.push(u8::from(time.is_some()));
                put_zigzag(out, time.unwrap_or_default());
            }
        }
    }

    /// Reads the state of [`Self::put`]; generations that are no more are left out, new ones begin anew.
    ///
    /// # Errors
    /// [`Truncated`] if the bytes are no state.
    pub fn take(plan: &LanePlan, input: &mut Input<'_>) -> Result<Self, Truncated> {
        let (mut saved, mut states) = (Vec::new(), Vec::new());
        for _ in 0..input.count(input.0.len())? {
            saved.push((input.varint()?, input.text()?));
            let watermark_ms = input.zigzag()?;
            let count = input.count(input.0.len())?;
            let time = |input: &mut Input<'_>| {
                let is_some = input.byte()? == 1;
                Ok(Some(input.zigzag()?).filter(|_| is_some))
            };
            let largest = (0..count).map(|_| time(input)).collect::<Result<Vec<_>, _>>()?;
            states.push(Shared { watermark_ms, largest });
        }
        let mut watermarks = Self::new(plan);
        let pipelines = plan.source_scoped.iter().map(|index| &plan.config.pipelines[*index]);
        for (at, from) in generations::pair(pipelines, &saved) {
            watermarks.shared[at] = states[from].clone();
        }
        Ok(watermarks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_source_holds_w_and_a_new_one_does_not_take_it_back() {
        let mut shared = Shared { watermark_ms: BEFORE_ALL, largest: vec![None; 2] };
        let heard = [(0, 100), (1, 5), (0, 200), (1, 90), (1, 150)];
        let after = heard.map(|(source, time)| (shared.heard(source, time, 10), shared.watermark_ms));
        assert_eq!(after, [(true, 90), (false, 90), (false, 90), (false, 90), (true, 140)]);
    }

    #[test]
    fn a_trajectory_tells_w_before_a_row_and_who_moved_it() {
        let trajectory = Trajectory {
            before_ms: 10,
            rises: vec![(Offset(100), 20), (Offset(103), 50), (Offset(104), 60)],
        };
        let before: Vec<_> = [99, 100, 101, 103, 104, 105].map(|at| trajectory.before(Offset(at))).into();
        assert_eq!(before, [10, 10, 20, 20, 50, 60]);
        let cause: Vec<_> = [5, 11, 20, 21, 60].map(|w| trajectory.cause(w, Offset(7)).0).into();
        assert_eq!(cause, [7, 100, 100, 103, 104]);
        assert_eq!(trajectory.last(), 60);
    }
}
