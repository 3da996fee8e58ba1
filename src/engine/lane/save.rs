//! What makes a lane's work durable: outputs go to `results`, states to the store, in this order.
//!
//! At most one append and one save are under way; outputs that come meanwhile form the next frame.

use std::sync::Arc;

use super::pull::{Rounded, wait};
use super::{Lane, LaneError, RETRY_AFTER, keep};
use crate::engine::checkpoint::{self, Checkpoint};
use crate::engine::generations::{BirthId, Member};
use crate::engine::partition::PartitionError;
use crate::engine::plan::LanePlan;
use crate::engine::round::{Idle, Saved, StateBytes, Work};
use crate::engine::watermarks::Watermarks;
use crate::journal::{Refused, Work as Append};
use crate::model::Offset;
use crate::store::StoreError;

/// How often a lane that is told to stop tries to save.
const STOPPING_TRIES: u32 = 3;

pub(super) type Appended = std::pin::Pin<Box<dyn Future<Output = Result<(), Refused>>>>;
pub(super) type Saving = tokio::task::JoinHandle<Result<(), StoreError>>;

/// What a lane computes from its position on.
pub(super) struct Next {
    pub(super) plan: Arc<LanePlan>,
    pub(super) members: Vec<Member>,
    pub(super) watermarks: Watermarks,
    pub(super) birth_id: Option<BirthId>,
}

impl Lane {
    /// Hands pending outputs to the journal, one frame at a time: what comes meanwhile forms the next one.
    pub(super) fn append(&mut self) {
        if self.appending.is_none() && !self.pending.outputs.is_empty() {
            self.append_now();
        }
    }

    fn append_now(&mut self) {
        let position = self.reader.position();
        let mut frame = std::mem::take(&mut self.pending);
        let own = std::iter::once(&self.duty.plan.cursor);
        frame.emitted.extend(own.chain(&self.taken_in).map(|cursor| (cursor.clone(), position)));
        let (frame, results) = (Arc::new(frame), self.duty.ground.results.clone());
        let append = async move { keep(&results, || Append::Outputs(frame.clone())).await };
        self.appending = Some((Box::pin(append), position));
    }

    pub(super) fn on_appended(
        &mut self,
        (appended, position): (Result<(), Refused>, Offset),
    ) -> Result<(), LaneError> {
        self.appending = None;
        appended?;
        self.emitted = position;
        Ok(())
    }

    /// Everything put out so far becomes durable, with the position.
    async fn settle(&mut self) -> Result<(), LaneError> {
        while self.emitted < self.reader.position() || self.appending.is_some() {
            if self.appending.is_none() {
                self.append_now();
            }
            let appended = wait(&mut self.appending).await;
            self.on_appended(appended)?;
        }
        Ok(())
    }

    /// Saves the states as of now: first their outputs become durable, then they are written beside the lane's work.
    pub(super) async fn save(&mut self) -> Result<(), LaneError> {
        let position = self.reader.position();
        if self.saving.is_some() || (position == self.checkpoint && self.unsaved.is_empty()) {
            return Ok(());
        }
        let idle = if self.unsaved.is_empty() { Idle::Sleeps } else { Idle::Stays };
        if self.collect_states(idle).await? > 0 {
            // A state is missing, so the old checkpoint holds on.
            return Ok(());
        }
        self.settle().await?;
        let (plan, store) = (self.duty.plan.clone(), self.duty.ground.store.clone());
        let (states, checkpoint) = (self.states(), self.checkpoint_with(&self.present()));
        let saving = tokio::task::spawn_blocking(move || {
            checkpoint::save_states(&plan, &store, &states)?;
            checkpoint.save(&store, &plan.cursor)
        });
        self.saving = Some((saving, position));
        Ok(())
    }

    /// Waits for the save under way.
    pub(super) async fn saved(&mut self) {
        if let Some((saving, position)) = self.saving.take() {
            self.on_saved((saving.await, position));
        }
    }

    /// Saves everything as of now, however long the disk takes to recover; from here on the lane computes `next`.
    pub(super) async fn rest(&mut self, next: &Next) -> Result<(), LaneError> {
        self.saved().await;
        while self.collect_states(Idle::Stays).await? > 0 {}
        self.settle().await?;
        let position = self.reader.position();
        let (plan, store) = (self.duty.plan.clone(), self.duty.ground.store.clone());
        let (states, checkpoint) = (self.states(), self.checkpoint_with(next));
        self.persist(move || {
            checkpoint::save_states(&plan, &store, &states)?;
            Ok(checkpoint.save(&store, &plan.cursor)?)
        })
        .await?;
        self.unsaved.clear();
        self.checkpoint = position;
        self.quarantines.forget(position);
        Ok(())
    }

    /// What the lane computes now.
    pub(super) fn present(&self) -> Next {
        Next {
            plan: self.duty.plan.clone(),
            members: self.members.clone(),
            watermarks: self.watermarks.clone(),
            birth_id: self.birth_id,
        }
    }

    /// The row of the present position, with `next` from there on.
    pub(super) fn checkpoint_with(&self, next: &Next) -> Checkpoint {
        let mut watermarks = Vec::new();
        next.watermarks.put(&next.plan, &mut watermarks);
        Checkpoint {
            position: self.reader.position(),
            clock: self.clock,
            since: self.since,
            config_at: self.config_at,
            birth: next.birth_id,
            members: Some(next.members.clone()),
            watermarks,
        }
    }

    /// Does `work` on the store beside the lanes' thread, again and again while the disk refuses it.
    ///
    /// # Errors
    /// What no waiting mends; once the lane is told to stop, also what does not pass at once: the first full disk is
    /// given room by the ballast.
    pub(super) async fn persist<T: Send + 'static>(
        &self,
        work: impl Fn() -> Result<T, PartitionError> + Send + Sync + 'static,
    ) -> Result<T, LaneError> {
        let work = Arc::new(work);
        let mut stopping = 0;
        loop {
            let attempt = work.clone();
            let done = tokio::task::spawn_blocking(move || attempt()).await;
            let error = match done.map_err(std::io::Error::other)? {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let is_passing = matches!(error, PartitionError::Store(StoreError::Full(_) | StoreError::Io(_)));
            stopping += u32::from(self.duty.ground.stop.is_cancelled());
            if !is_passing || stopping >= STOPPING_TRIES {
                return Err(error.into());
            }
            tracing::error!(lane = &*self.duty.plan.cursor, %error, "the state store fails, the lane waits for it");
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Has the sensors hand over their states; how many panicked, whose states are missing.
    async fn collect_states(&mut self, idle: Idle) -> Result<usize, LaneError> {
        let nobody = vec![Vec::new(); self.duty.ground.partitions.count()];
        let Rounded { saved, panicked } = self.round(Arc::new(Work::Save(idle)), nobody).await?;
        self.unsaved.extend(saved.into_iter().map(|Saved { key, bytes }| (key, bytes)));
        Ok(panicked)
    }

    fn states(&self) -> Vec<Saved> {
        let state = |(key, bytes): (&_, &StateBytes)| Saved { key: Clone::clone(key), bytes: bytes.clone() };
        self.unsaved.iter().map(state).collect()
    }

    pub(super) fn on_saved(
        &mut self,
        (saved, position): (Result<Result<(), StoreError>, tokio::task::JoinError>, Offset),
    ) {
        self.saving = None;
        let saved = saved.map_err(|error| error.to_string());
        match saved.and_then(|saved| saved.map_err(|error| error.to_string())) {
            Ok(()) => {
                self.unsaved.clear();
                self.checkpoint = position;
                self.quarantines.forget(position);
            }
            Err(error) => {
                tracing::error!(
                    lane = &*self.duty.plan.cursor,
                    error,
                    "checkpoint failed, the old one holds on"
                );
            }
        }
    }
}
