//! Births: a generation that is new to a lane is computed from the past, quietly, and joins the lane whole.
//!
//! A birth is a lane of its own beside the one it is born into, with its own reader, cursors and states. It begins
//! one span before the `Config` record, puts out nothing that was caused before it, and runs behind its parent.
//! Once it is near, the parent rests at a batch border and saves; the birth goes on exactly to there, saves and
//! ends; its states move into the parent's, and the parent goes on with the whole plan.
//!
//! Every step is durable before the next and may be repeated, so a crash anywhere leaves a birth that goes on or
//! one that has joined. A lane has one birth at a time; a text that changes meanwhile reaches each of them at its
//! record, and what is new by then is born next.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::change::plan_of;
use super::save::Next;
use super::{Lane, LaneActor, LaneError, Running, seeds};
use crate::engine::checkpoint::{self, Checkpoint};
use crate::engine::generations::{self, BirthId, Member};
use crate::engine::plan::{self, LanePlan};
use crate::engine::steps::{Step, reached};
use crate::engine::watermarks::Watermarks;
use crate::engine::{LaneStatus, span};
use crate::journal::Clock;
use crate::model::Offset;

/// How near a birth comes before its parent waits for it: a few chunks.
const NEAR_RECORDS: u64 = 4_096;

/// The births whose outputs a lane goes on with that it still tells of: dumps of the store are minutes old.
const TAKEN_IN_MAX: usize = 16;

/// The last births into the lane called `cursor` that have put out something, but for the one under way.
pub(super) fn taken_in(
    emitted: &BTreeMap<Arc<str>, Offset>,
    cursor: &str,
    under_way: Option<BirthId>,
) -> Vec<Arc<str>> {
    if plan::lane_of(cursor).1 {
        return Vec::new();
    }
    let (prefix, under_way) =
        (plan::birth_prefix(cursor), under_way.map(|id| plan::birth_cursor(cursor, id)));
    let births =
        emitted.iter().filter(|(birth, _)| birth.starts_with(&prefix) && Some(*birth) != under_way.as_ref());
    let mut births: Vec<_> = births.collect();
    births.sort_by_key(|(_, emitted)| std::cmp::Reverse(**emitted));
    births.into_iter().take(TAKEN_IN_MAX).map(|(birth, _)| birth.clone()).collect()
}

/// A birth as its parent sees it.
pub(super) struct Birth {
    cursor: Arc<str>,
    near: CancellationToken,
    hold: watch::Sender<Option<Offset>>,
    pub(super) status: watch::Receiver<LaneStatus>,
    ended: oneshot::Receiver<Result<(), LaneError>>,
}

/// A parent as its birth sees it.
pub(super) struct Parent {
    status: watch::Receiver<LaneStatus>,
    near: CancellationToken,
    held: watch::Receiver<Option<Offset>>,
}

impl Parent {
    /// The birth reads nothing from here on: the parent has not, or waits here.
    pub(super) fn limit(&self) -> Offset {
        self.held.borrow().unwrap_or_else(|| self.status.borrow().position)
    }

    /// Whether a birth at `position` has met its parent.
    pub(super) fn is_met(&self, position: Offset) -> bool {
        *self.held.borrow() == Some(position)
    }

    /// Tells the parent once a birth at `position` is near. After a crash it may be ahead: its checkpoint was later
    /// than the parent's, which must come as far first.
    pub(super) fn approach(&self, position: Offset) {
        if self.limit().0.checked_sub(position.0).is_some_and(|behind| behind <= NEAR_RECORDS) {
            self.near.cancel();
        }
    }

    /// Waits until the parent has moved.
    pub(super) async fn moved(&mut self) {
        let moved = tokio::select! {
            moved = self.status.changed() => moved,
            held = self.held.changed() => held,
        };
        if moved.is_err() {
            // The parent is gone: the engine is being torn down.
            std::future::pending::<()>().await;
        }
    }
}

/// What a parent hears of its birth.
pub(super) enum Heard {
    /// It is near.
    Near,
    /// It has ended before it was near: nothing is left of it, or all lanes are told to stop.
    Ended,
}

/// Waits for news of `birth`; never, if there is none. Cancel safe.
pub(super) async fn heard(birth: &mut Option<Birth>) -> Heard {
    let Some(birth) = birth else { return std::future::pending().await };
    tokio::select! {
        biased;
        () = birth.near.cancelled() => Heard::Near,
        ended = birth.status.wait_for(|_| false) => {
            // The sender is gone with the birth.
            debug_assert!(ended.is_err());
            Heard::Ended
        }
    }
}

impl Lane {
    /// Begins or goes on with the birth of what is unborn; what earlier ones have left goes.
    pub(super) async fn bear(&mut self) -> Result<(), LaneError> {
        let ground = self.duty.ground.clone();
        if self.parent.is_some() || self.birth.is_some() || ground.stop.is_cancelled() {
            return Ok(());
        }
        let named = self.birth_id.map(|id| plan::birth_cursor(&self.duty.plan.lane, id));
        if let (Some(cursor), Some(id)) = (&named, self.birth_id)
            && Checkpoint::load(&ground.store, cursor)?.is_none()
        {
            self.conceive(cursor, id).await?;
            reached(&ground, Step::Conceived).await;
        }
        self.remove_others(named.as_ref()).await?;
        if let Some(cursor) = named {
            // Of the time before a store that went back.
            self.taken_in.retain(|taken_in| *taken_in != cursor);
            let (near, (hold, held)) = (CancellationToken::new(), watch::channel(None));
            let parent = Parent { status: self.status.subscribe(), near: near.clone(), held };
            let Running { status, ended } = LaneActor::spawn_with(ground, cursor.clone(), Some(parent));
            self.birth = Some(Birth { cursor, near, hold, status, ended });
        }
        Ok(())
    }

    /// Writes down where the birth called `cursor` begins, with the states that its alerts had under the text before.
    async fn conceive(&self, cursor: &Arc<str>, id: BirthId) -> Result<(), LaneError> {
        let ground = &self.duty.ground;
        let first = id.unborn_since;
        let is_of_it = |member: &&Member| member.joined_at.is_none() && member.born_at == first;
        let of_it = self.members.iter().filter(is_of_it);
        let mut members: Vec<_> = of_it.map(|member| Member { gone_at: None, ..member.clone() }).collect();
        // They begin under the text that named them, unless they are to see all of the past by the present one.
        let named = ground.texts.at(&ground.readings, first).await?.filter(|config| {
            generations::kept(config, &self.duty.plan.lane, &members).len() == members.len()
        });
        let present = || (self.duty.plan.config.clone(), self.config_at);
        let (config, config_at) = named.map_or_else(present, |config| (config, Some(first)));
        members = generations::kept(&config, &self.duty.plan.lane, &members);
        let plan = LanePlan::of(&config, cursor, &ground.journal_id, &members);
        let span::Beginning { position, partial_before_ms } =
            span::beginning(&plan, &ground.readings).await?;
        generations::begin(&mut members, &config, position, &partial_before_ms);
        let births = checkpoint::cursors(&ground.store, &plan::birth_prefix(&plan.lane))?;
        let sources: Vec<_> = std::iter::once(plan.lane.clone()).chain(births).collect();
        let (store, plan) = (ground.store.clone(), Arc::new(plan));
        self.persist(move || seeds::sow(&store, &plan, position, &sources)).await?;
        reached(ground, Step::Sown).await;
        let checkpoint = Checkpoint {
            position,
            clock: Clock::default(),
            since: config_at.unwrap_or(self.reader.position()),
            config_at,
            birth: Some(id),
            members: Some(members),
            watermarks: Vec::new(),
        };
        let (store, cursor) = (ground.store.clone(), cursor.clone());
        self.persist(move || Ok(checkpoint.save(&store, &cursor)?)).await
    }

    /// Waits here until the birth has come to the lane's position, and takes it in.
    pub(super) async fn meet(&mut self) -> Result<(), LaneError> {
        let present = self.present();
        self.rest(&present).await?;
        reached(&self.duty.ground, Step::Rested).await;
        if let Some(birth) = &self.birth {
            birth.hold.send_replace(Some(self.reader.position()));
        }
        self.end_birth().await
    }

    /// Takes in what the birth, which ends, has come to: where both stand at the same position it joins.
    pub(super) async fn end_birth(&mut self) -> Result<(), LaneError> {
        let Some(birth) = self.birth.take() else { return Ok(()) };
        let Ok(Ok(())) = birth.ended.await else {
            // It has said why, and whoever supervises us has been told.
            return Ok(());
        };
        let row = Checkpoint::load(&self.duty.ground.store, &birth.cursor)?;
        let Some(row) = row else { return Ok(()) };
        let born = row.members.clone().unwrap_or_default();
        if born.is_empty() {
            let members = self.without_gone(&row);
            let birth_id = BirthId::of(&members, self.config_at.unwrap_or(self.reader.position()));
            let next = Next { members, birth_id, ..self.present() };
            self.rest(&next).await?;
            (self.members, self.birth_id) = (next.members, next.birth_id);
        } else if row.position == self.reader.position() && self.checkpoint == row.position {
            self.take_in(&birth.cursor, &row, &born).await?;
        } else {
            // It was told to stop, and goes on at the next start.
            return Ok(());
        }
        self.bear().await
    }

    /// Moves the states of the birth called `cursor` into the lane's; from here on the lane computes its pipelines.
    async fn take_in(
        &mut self,
        cursor: &Arc<str>,
        row: &Checkpoint,
        born: &[Member],
    ) -> Result<(), LaneError> {
        let (ground, position) = (self.duty.ground.clone(), self.reader.position());
        let config = &self.duty.plan.config;
        let members = self.without_gone(row);
        let members: Vec<_> = members.iter().map(|member| joined(member, born, position)).collect();
        let plan = plan_of(&ground, config, &self.duty.plan.cursor, (&members, self.since));
        let born_plan = Arc::new(LanePlan::of(config, cursor, &ground.journal_id, born));
        let born_watermarks = row.watermarks(&born_plan)?;
        let parts = [(&*self.duty.plan, &self.watermarks), (&*born_plan, &born_watermarks)];
        let watermarks = Watermarks::joined(&plan, parts);
        let (store, into) = (ground.store.clone(), plan.clone());
        self.persist(move || seeds::merge(&store, &into, &born_plan, position)).await?;
        reached(&ground, Step::Merged).await;
        let birth_id = BirthId::of(&members, self.config_at.unwrap_or(self.reader.position()));
        let next = Next { plan, members, watermarks, birth_id };
        let (row, store, lane) =
            (self.checkpoint_with(&next), ground.store.clone(), next.plan.cursor.clone());
        self.persist(move || Ok(row.save(&store, &lane)?)).await?;
        reached(&ground, Step::Joined).await;
        let names: Vec<_> = born.iter().map(|member| &*member.pipeline).collect();
        tracing::info!(lane = &*self.duty.plan.lane, at = position.0, pipelines = ?names, "born pipelines have joined");
        self.go_on(next).await?;
        self.taken_in.push(cursor.clone());
        let beyond = self.taken_in.len().saturating_sub(TAKEN_IN_MAX);
        self.taken_in.drain(..beyond);
        Ok(())
    }

    /// The lane's members without those that were in the birth of `row` and have gone meanwhile: they are done.
    fn without_gone(&self, row: &Checkpoint) -> Vec<Member> {
        let is_done = |member: &&Member| {
            member.gone_at.is_some() && Some(member.born_at) == row.birth.map(|id| id.unborn_since)
        };
        self.members.iter().filter(|member| !is_done(member)).cloned().collect()
    }

    /// Removes what births have left that are not called `named`.
    async fn remove_others(&self, named: Option<&Arc<str>>) -> Result<(), LaneError> {
        let store = self.duty.ground.store.clone();
        let (prefix, named) = (plan::birth_prefix(&self.duty.plan.lane), named.cloned());
        self.persist(move || {
            let mut cursors = checkpoint::cursors(&store, &prefix)?;
            cursors.retain(|cursor| Some(cursor) != named.as_ref());
            for cursor in cursors {
                checkpoint::remove(&store, &cursor)?;
            }
            Ok(())
        })
        .await
    }
}

/// `member`, joined at `position` if it is among `born`.
fn joined(member: &Member, born: &[Member], position: Offset) -> Member {
    let is_same =
        |other: &&Member| (other.generation, &other.pipeline) == (member.generation, &member.pipeline);
    match born.iter().find(is_same).filter(|_| member.joined_at.is_none() && member.gone_at.is_none()) {
        Some(born) => Member { joined_at: Some(position), ..born.clone() },
        None => member.clone(),
    }
}
