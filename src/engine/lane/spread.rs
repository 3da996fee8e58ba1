//! Checkpoint rounds, spread over the time between them: a slice of the states at a time, the row last.
//!
//! A round begins at a position c: the sensors that have done something by then are queued, and the row is made: c,
//! the clock, the watermarks and the members as of c. Slice by slice the sensors hand over their states, in the order
//! of their rows in the store, and the lane goes on in between; a slice is written once everything put out below the
//! position at which it was taken is durable. With the last slice the row is written.
//!
//! Why a replay from c is right then. A state says up to where it has applied the journal. One that was queued is as
//! of c or later, and skips readings, ticks and wakes below that; what it put out meanwhile is durable, so it is
//! suppressed if another sensor's replay does it again. One that was not queued has done nothing between its last
//! save and c. Watermarks only rise, so a window that is open in a state that is ahead is not due below it. A crash
//! before the row leaves the row before, and states that are ahead of it: the same again.
//!
//! Where the lane turns over, meets a birth or ends, the round is given up and everything is saved at once
//! ([`super::save`]); what was written of it is right with any row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::pull::Rounded;
use super::{Lane, LaneError};
use crate::engine::checkpoint::{self, Checkpoint};
use crate::engine::round::{Ask, Saved, StateBytes, Work};
use crate::engine::steps::{Step, reached};
use crate::engine::wheel::KeyRef;
use crate::model::Offset;
use crate::store::StoreError;

/// Slices of a round; it is over a little before the next one is due.
const SLICES: usize = 50;
/// Time from one slice to the next, as a part of that from one round to the next.
const SLICES_PER_ROUND_TIME: u32 = 60;
/// Sensors of a slice at least: a few need no spreading. Tests have only a few.
const SLICE_SENSORS_MIN: usize = if cfg!(test) { 1 } else { 256 };

type Saving = tokio::task::JoinHandle<Result<(), StoreError>>;

/// States by key, in the order of their rows in the store.
pub(in crate::engine) type Taken = BTreeMap<KeyRef, StateBytes>;

/// States on their way to the store.
#[derive(Default)]
pub(super) struct Saves {
    /// Handed over, and not known to be written.
    pub(super) taken: Arc<Taken>,
    /// They are to be written once everything put out below is durable.
    due: Option<Offset>,
    /// The write under way, and the position of its row, if there is one.
    pub(super) writing: Option<(Saving, Option<Offset>)>,
    round: Option<Spread>,
}

/// A round under way.
struct Spread {
    row: Checkpoint,
    /// Sensors of each partition that hand over their states at a time.
    slice: usize,
    /// Sensors that are still to do so.
    queued: usize,
}

impl Saves {
    /// Whether states wait for what was put out below a position beyond `emitted`.
    pub(super) fn wait_for_more_than(&self, emitted: Offset) -> bool {
        self.due.is_some_and(|due| due > emitted)
    }

    /// Whether slices are to be taken, or written again.
    pub(super) fn is_under_way(&self) -> bool {
        self.round.is_some() || !self.taken.is_empty()
    }
}

/// Time from one slice to the next.
pub(super) fn slice_every(checkpoint_every: Duration) -> Duration {
    (checkpoint_every / SLICES_PER_ROUND_TIME).max(Duration::from_millis(1))
}

impl Lane {
    /// Begins a round, unless the one before is not over or there is nothing new, and takes its first slice.
    pub(super) async fn begin_checkpoint(&mut self) -> Result<(), LaneError> {
        if self.saves.is_under_way() || self.reader.position() == self.checkpoint {
            return Ok(());
        }
        let row = self.checkpoint_with(&self.present());
        let queued = self.ask(Ask::Begin).await?.queued;
        let slice = queued.div_ceil(SLICES).max(SLICE_SENSORS_MIN);
        let slice = slice.div_ceil(self.duty.ground.partitions.count());
        self.saves.round = Some(Spread { row, slice, queued });
        reached(&self.duty.ground, Step::Queued).await;
        self.take_slice().await
    }

    /// Has the next sensors hand over their states, unless those before are not written yet.
    pub(super) async fn take_slice(&mut self) -> Result<(), LaneError> {
        if self.saves.writing.is_some() || self.saves.due.is_some() {
            return Ok(());
        }
        if let Some(round) = self.saves.round.as_ref().filter(|_| self.saves.taken.is_empty()) {
            let Rounded { queued, panicked, .. } = self.ask(Ask::Next(round.slice)).await?;
            // A state is missing: what was handed over is written, but the old checkpoint holds on.
            self.saves.round = self.saves.round.take().filter(|_| panicked == 0);
            if let Some(round) = &mut self.saves.round {
                round.queued = queued;
            }
        }
        self.saves.due = Some(self.reader.position());
        self.write_due();
        Ok(())
    }

    /// Has sensors hand over their states.
    pub(super) async fn ask(&mut self, ask: Ask) -> Result<Rounded, LaneError> {
        let nobody = vec![Vec::new(); self.duty.ground.partitions.count()];
        let mut rounded = self.round(Arc::new(Work::Save(ask)), nobody).await?;
        let saved = rounded.saved.drain(..).map(|Saved { key, bytes }| (key, bytes));
        Arc::make_mut(&mut self.saves.taken).extend(saved);
        Ok(rounded)
    }

    /// Writes the slice that was taken, if its outputs are durable by now.
    pub(super) fn write_due(&mut self) {
        if self.saves.due.is_some_and(|due| due <= self.emitted) {
            let is_over = |round: &&Spread| round.queued == 0;
            let row = self.saves.round.as_ref().filter(is_over).map(|round| round.row.clone());
            self.write(row);
        }
    }

    /// Writes what was handed over beside the lane's work, then `row`. Its outputs are durable.
    pub(super) fn write(&mut self, row: Option<Checkpoint>) {
        self.saves.due = None;
        let (plan, store, states) =
            (self.duty.plan.clone(), self.duty.ground.store.clone(), self.saves.taken.clone());
        let position = row.as_ref().map(|row| row.position);
        let saving = self.duty.ground.under_way.spawn_blocking(move || {
            checkpoint::save_states(&plan, &store, &states)?;
            row.map_or(Ok(()), |row| row.save(&store, &plan.cursor))
        });
        self.saves.writing = Some((saving, position));
    }

    pub(super) async fn on_saved(
        &mut self,
        (saved, position): (Result<Result<(), StoreError>, tokio::task::JoinError>, Option<Offset>),
    ) {
        self.saves.writing = None;
        let saved = saved.map_err(|error| error.to_string());
        if let Err(error) = saved.and_then(|saved| saved.map_err(|error| error.to_string())) {
            tracing::error!(lane = &*self.duty.plan.cursor, error, "checkpoint failed, the old one holds on");
            return;
        }
        self.saves.taken = Arc::default();
        let Some(position) = position else {
            return reached(&self.duty.ground, Step::Sliced).await;
        };
        (self.saves.round, self.checkpoint) = (None, position);
        self.quarantines.forget(position);
        reached(&self.duty.ground, Step::Checkpointed).await;
    }

    /// Gives up the round under way, if there is one, once nothing is being written any more.
    pub(super) async fn end_round(&mut self) {
        if let Some((saving, position)) = self.saves.writing.take() {
            self.on_saved((saving.await, position)).await;
        }
        (self.saves.round, self.saves.due) = (None, None);
    }
}
