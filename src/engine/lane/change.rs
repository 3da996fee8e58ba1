//! Following the text: at a `Config` record the lane turns over to what it says.
//!
//! Everything below the record is computed by the old text, saved and durable before the new one begins, in one
//! row: a crash finds either the old text before the record or the new one behind it. Pipelines whose generation
//! is still there go on with their state; what is gone goes with its open windows; what is new is unborn
//! ([`super::birth`]).

use std::sync::Arc;

use super::save::Next;
use super::{Duty, Ground, Lane, LaneError, Quarantines};
use crate::config::Config;
use crate::engine::checkpoint::Checkpoint;
use crate::engine::generations::{self, Beginning, BirthId, Member};
use crate::engine::plan::{self, LanePlan};
use crate::engine::steps::{Step, reached};
use crate::engine::watermarks::Watermarks;
use crate::model::Offset;
use crate::model::bytes::Input;
use crate::store::StoreError;

/// What the lane called `cursor` goes on with: its row and the plan of the text in force at its position. Where
/// that cannot be read any more, the newest text takes its place there, as if a record stood at the position.
pub(super) async fn resume(
    ground: &Ground,
    cursor: &Arc<str>,
    mut checkpoint: Checkpoint,
) -> Result<(Checkpoint, Arc<LanePlan>), LaneError> {
    let found = match checkpoint.config_at {
        Some(at) => ground.texts.at(&ground.readings, at).await?,
        None => None,
    };
    let config = found.unwrap_or_else(|| ground.texts.newest());
    let (lane, _) = plan::lane_of(cursor);
    let had = checkpoint.members.take();
    let members = had.clone().unwrap_or_else(|| generations::all(&config, lane, Offset(0)));
    let beginning =
        Beginning { oldest: ground.readings.oldest(), now: checkpoint.position.max(checkpoint.since) };
    let members = follow(&config, cursor, &members, beginning);
    let plan = plan_of(ground, &config, cursor, (&members, checkpoint.since));
    let is_same = had.as_ref() == Some(&members);
    checkpoint.birth = checkpoint.birth.or_else(|| BirthId::of(&members, checkpoint.position));
    checkpoint.members = Some(members);
    if !is_same {
        checkpoint.save(&ground.store, cursor)?;
    }
    Ok((checkpoint, plan))
}

/// A birth takes in nothing that it did not begin with.
fn follow(config: &Config, cursor: &str, members: &[Member], beginning: Beginning) -> Vec<Member> {
    match plan::lane_of(cursor) {
        (lane, true) => generations::kept(config, lane, members),
        (lane, false) => generations::follow(config, lane, members, beginning),
    }
}

/// The plan of what has joined.
pub(super) fn plan_of(
    ground: &Ground,
    config: &Arc<Config>,
    cursor: &Arc<str>,
    (members, since): (&[Member], Offset),
) -> Arc<LanePlan> {
    let joined: Vec<_> = members.iter().filter(|member| member.joined_at.is_some()).cloned().collect();
    let plan = LanePlan::of(config, cursor, &ground.journal_id, &joined);
    Arc::new(LanePlan { since, ..plan })
}

impl Lane {
    /// Turns over at the `Config` record at `at`, if it says anything new. What stands before the lane's own
    /// beginning is of a time that it computes by a later text.
    pub(super) async fn on_config(&mut self, text: &str, at: Offset) -> Result<(), LaneError> {
        if *self.duty.plan.config.text == *text {
            self.config_at = Some(at);
            return Ok(());
        }
        if at < self.since {
            return Ok(());
        }
        let Some(config) = self.duty.ground.texts.find(text) else { return Ok(()) };
        let cursor = self.duty.plan.cursor.clone();
        let beginning = Beginning { oldest: self.duty.ground.readings.oldest(), now: at };
        let members = follow(&config, &cursor, &self.members, beginning);
        let unborn = members.iter().filter(|member| member.joined_at.is_none()).count();
        tracing::info!(
            lane = &*cursor,
            at = at.0,
            hash = config.hash,
            unborn,
            "lane follows the configuration"
        );
        self.config_at = Some(at);
        let plan = plan_of(&self.duty.ground, &config, &cursor, (&members, self.since));
        let watermarks = self.watermarks_for(&plan)?;
        let birth_id = self.birth_id.or_else(|| BirthId::of(&members, at));
        let next = Next { plan, members, watermarks, birth_id };
        self.rest(&next).await?;
        reached(&self.duty.ground, Step::Followed).await;
        self.go_on(next).await?;
        self.bear().await
    }

    /// The watermarks of what goes on under another text.
    fn watermarks_for(&self, plan: &LanePlan) -> Result<Watermarks, LaneError> {
        let mut bytes = Vec::new();
        self.watermarks.put(&self.duty.plan, &mut bytes);
        let taken = Watermarks::take(plan, &mut Input(&bytes));
        Ok(taken.map_err(|_| StoreError::Damaged("watermarks of the text before".to_owned()))?)
    }

    /// Computes `next` from here on: the store holds everything as of the position, the row says so.
    pub(super) async fn go_on(&mut self, next: Next) -> Result<(), LaneError> {
        let Next { plan, members, watermarks, birth_id } = next;
        let (ground, position) = (self.duty.ground.clone(), self.reader.position());
        let before = self.duty.plan.config.clone();
        self.duty.observer.forget_firing(&self.duty.plan);
        ground.partitions.remove_lane(self.duty.number).await?;
        self.quarantines = Quarantines::read(&plan, &ground.readings, position).await?;
        let newest = ground.texts.newest();
        self.duty = Duty::take_up(ground, plan).await?;
        self.duty.observer.forget_unnamed(&before, &newest);
        (self.members, self.watermarks, self.birth_id) = (members, watermarks, birth_id);
        Ok(())
    }
}
