//! What makes a lane's work durable: outputs go to `results`, states to the store, in this order.
//!
//! At most one append is under way; outputs that come meanwhile form the next frame. From time to time states are
//! saved beside the lane's work ([`super::spread`]); here everything is saved at once, where the lane turns over or
//! ends.

use std::sync::Arc;

use super::pull::wait;
use super::{Lane, LaneError, RETRY_AFTER, keep};
use crate::engine::checkpoint::{self, Checkpoint};
use crate::engine::generations::{BirthId, Member};
use crate::engine::partition::PartitionError;
use crate::engine::plan::LanePlan;
use crate::engine::round::Ask;
use crate::engine::steps::{Step, reached};
use crate::engine::watermarks::Watermarks;
use crate::journal::{Refused, Work as Append};
use crate::model::Offset;
use crate::store::StoreError;

/// How often a lane that is told to stop tries to save.
const STOPPING_TRIES: u32 = 3;

pub(super) type Appended = std::pin::Pin<Box<dyn Future<Output = Result<(), Refused>>>>;

/// What a lane computes from its position on.
pub(super) struct Next {
    pub(super) plan: Arc<LanePlan>,
    pub(super) members: Vec<Member>,
    pub(super) watermarks: Watermarks,
    pub(super) birth_id: Option<BirthId>,
}

impl Lane {
    /// Hands pending outputs to the journal, one frame at a time: what comes meanwhile forms the next one. Where states
    /// wait for it, a frame says that there were none.
    pub(super) fn append(&mut self) {
        let is_wanted = !self.pending.outputs.is_empty() || self.saves.wait_for_more_than(self.emitted);
        if self.appending.is_none() && is_wanted {
            self.append_now();
        }
    }

    fn append_now(&mut self) {
        let position = self.reader.position();
        let mut frame = std::mem::take(&mut self.pending);
        let own = std::iter::once(&self.duty.plan.cursor);
        frame.emitted.extend(own.chain(&self.taken_in).map(|cursor| (cursor.clone(), position)));
        let (frame, ground) = (Arc::new(frame), self.duty.ground.clone());
        let append = async move {
            reached(&ground, Step::PutOut).await;
            keep(&ground.results, || Append::Outputs(frame.clone())).await
        };
        self.appending = Some((Box::pin(append), position));
    }

    pub(super) fn on_appended(
        &mut self,
        (appended, position): (Result<(), Refused>, Offset),
    ) -> Result<(), LaneError> {
        self.appending = None;
        appended?;
        self.emitted = position;
        self.write_due();
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

    /// Saves everything as of now; if the disk refuses, the old checkpoint holds on.
    pub(super) async fn save(&mut self) -> Result<(), LaneError> {
        self.end_round().await;
        let is_new = self.reader.position() != self.checkpoint || !self.saves.taken.is_empty();
        if !is_new || self.collect_states().await? > 0 {
            return Ok(());
        }
        self.settle().await?;
        let row = self.checkpoint_with(&self.present());
        self.write(Some(row));
        self.end_round().await;
        Ok(())
    }

    /// Saves everything as of now, however long the disk takes to recover; from here on the lane computes `next`.
    pub(super) async fn rest(&mut self, next: &Next) -> Result<(), LaneError> {
        self.end_round().await;
        while self.collect_states().await? > 0 {}
        self.settle().await?;
        let position = self.reader.position();
        let (plan, store) = (self.duty.plan.clone(), self.duty.ground.store.clone());
        let (states, checkpoint) = (self.saves.taken.clone(), self.checkpoint_with(next));
        self.persist(move || {
            checkpoint::save_states(&plan, &store, &states)?;
            Ok(checkpoint.save(&store, &plan.cursor)?)
        })
        .await?;
        self.saves.taken = Arc::default();
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
            let done = self.duty.ground.under_way.spawn_blocking(move || attempt()).await;
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

    /// Has all sensors hand over their states; how many panicked, whose states are missing.
    async fn collect_states(&mut self) -> Result<usize, LaneError> {
        Ok(self.ask(Ask::All).await?.panicked)
    }
}
