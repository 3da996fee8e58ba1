//! The lane's loop: pull a chunk, run its round, hand the outputs on, save from time to time.
//!
//! Waiting happens in one place, [`Lane::run`]; everything else changes state.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use super::birth::{Heard, Parent, heard};
use super::rebuild::{Rebuilt, rebuild};
use super::spread;
use super::{Lane, LaneError};
use crate::alert::Moment;
use crate::engine::checkpoint;
use crate::engine::emission::Effects;
use crate::engine::group::Grouped;
use crate::engine::restore;
use crate::engine::round::{Saved, SharedRows, Work};
use crate::engine::steps::{Step, reached};
use crate::engine::view::Views;
use crate::engine::wheel::KeyRef;
use crate::journal::{Chunk, Content, Record};
use crate::model::{Batch, Offset};

/// Outputs that may wait for the journal before the lane stops pulling.
const PENDING_OUTPUTS_MAX: usize = 50_000;

/// What a round left to do.
pub(super) struct Rounded {
    pub(super) saved: Vec<Saved>,
    /// How many sensors panicked.
    pub(super) panicked: usize,
    /// How many are still to hand over their states.
    pub(super) queued: usize,
}

impl Lane {
    /// Pulls until told to stop and everything durable is done; then saves everything. A birth pulls until it meets
    /// its parent, or leaves the rest to the next start.
    pub(super) async fn run(mut self) -> Result<(), LaneError> {
        let every = self.duty.ground.checkpoint_every;
        let (mut checkpoints, mut slices) = (ticks(every), ticks(spread::slice_every(every)));
        checkpoints.tick().await;
        self.show();
        self.bear().await?;
        while !self.is_done() {
            self.append();
            self.show();
            let limit = self.parent.as_ref().map_or(Offset(u64::MAX), Parent::limit);
            let has_met_limit = self.reader.position() >= limit;
            let may_pull = self.pending.outputs.len() < PENDING_OUTPUTS_MAX && !has_met_limit;
            let stop = self.duty.ground.stop.clone();
            tokio::select! {
                biased;
                appended = wait(&mut self.appending) => self.on_appended(appended)?,
                saved = wait(&mut self.saves.writing) => self.on_saved(saved).await,
                // Before the input, which under load is always ready.
                () = stop.cancelled() => break,
                _ = checkpoints.tick() => self.begin_checkpoint().await?,
                _ = slices.tick(), if self.saves.is_under_way() => self.take_slice().await?,
                news = heard(&mut self.birth) => match news {
                    Heard::Near => self.meet().await?,
                    Heard::Ended => self.end_birth().await?,
                },
                () = moved(&mut self.parent), if has_met_limit => {}
                chunk = self.reader.next(), if may_pull => self.process(chunk?).await?,
            }
        }
        self.finish().await
    }

    /// Whether the lane has nothing to wait for: a birth that has met its parent or has nothing left to bear, or a
    /// lane that the newest text does not name.
    fn is_done(&self) -> bool {
        match &self.parent {
            Some(parent) => {
                parent.approach(self.reader.position());
                self.members.is_empty() || parent.is_met(self.reader.position())
            }
            None => self.is_gone(),
        }
    }

    /// Whether the lane has nothing to compute, now or later.
    fn is_gone(&self) -> bool {
        let is_idle = self.duty.plan.is_empty() && self.birth.is_none() && self.birth_id.is_none();
        is_idle && self.duty.ground.texts.retire(&self.duty.plan.lane, self.reader.position())
    }

    async fn finish(mut self) -> Result<(), LaneError> {
        if self.parent.is_some() {
            let present = self.present();
            self.rest(&present).await?;
            reached(&self.duty.ground, Step::Met).await;
        } else if !self.is_gone() {
            self.drain().await?;
        }
        let is_gone = self.parent.is_none() && self.is_gone();
        if is_gone {
            let (store, lane) = (self.duty.ground.store.clone(), self.duty.plan.lane.clone());
            self.persist(move || Ok(checkpoint::remove(&store, &lane)?)).await?;
        }
        self.duty.ground.partitions.remove_lane(self.duty.number).await?;
        self.show();
        if is_gone || self.parent.is_some() {
            self.duty.observer.gone();
        } else {
            self.duty.observer.ended();
        }
        Ok(())
    }

    /// Does everything that is durable and saves it; then the birth, if there is one, has done so too.
    async fn drain(&mut self) -> Result<(), LaneError> {
        while let Some(chunk) = self.reader.try_next().await? {
            self.process(chunk).await?;
        }
        self.save().await?;
        self.end_birth().await
    }

    async fn process(&mut self, chunk: Chunk) -> Result<(), LaneError> {
        match &chunk.content {
            Content::Readings(batch) => self.process_rows(batch, chunk.base).await?,
            Content::Record(record) => self.process_record(record, chunk.base).await?,
            // The readings stream holds nothing else.
            Content::Outputs(_) | Content::DeadLetters(_) => {}
        }
        self.duty.observer.advanced(&self.reader, chunk.received);
        if self.parent.is_some() {
            reached(&self.duty.ground, Step::Caught).await;
        }
        Ok(())
    }

    async fn process_record(&mut self, record: &Record, cause: Offset) -> Result<(), LaneError> {
        match record {
            Record::Tick(clock) => {
                self.clock = *clock;
                let moment = Moment { wall: clock.wall, service_ns: clock.service_ns, cause };
                let nobody = vec![Vec::new(); self.duty.ground.partitions.count()];
                self.round(Arc::new(Work::Tick(moment)), nobody).await?;
            }
            Record::Config { text, .. } => self.on_config(text, cause).await?,
            _ => {}
        }
        Ok(())
    }

    async fn process_rows(&mut self, batch: &Arc<Batch>, base: Offset) -> Result<(), LaneError> {
        let started = crate::telemetry::clock::monotonic();
        let plan = self.duty.plan.clone();
        let views = Views::new(&plan, batch);
        let trajectories = self.watermarks.advance(&plan, &views, batch, self.clock.wall);
        let mut grouped: Vec<_> =
            plan.keyings.iter().map(|keying| Grouped::new(&plan, keying, &views, batch)).collect();
        self.quarantines.skip(batch, &mut grouped);
        let keys = self.deal(&grouped);
        let (batch, clock, position) = (batch.clone(), self.clock, base);
        let rows = batch.len() as u64;
        let shared = SharedRows { batch, views, trajectories, grouped, clock, position };
        let watermarks = (0..plan.source_scoped.len()).map(|at| self.watermarks.get(at));
        self.duty.observer.watermarks(&plan, watermarks, self.clock.wall);
        self.round(Arc::new(Work::Rows(shared)), keys).await?;
        self.duty.observer.round(rows, started.elapsed());
        Ok(())
    }

    /// Which keys go to which partition: by a hash of the key, so it matters to nothing durable.
    fn deal(&self, grouped: &[Grouped]) -> Vec<Vec<(u16, u32)>> {
        let count = self.duty.ground.partitions.count();
        let mut hands = vec![Vec::new(); count];
        for (keying, grouped) in grouped.iter().enumerate() {
            for (at, (key, _)) in grouped.keys.iter().enumerate() {
                hands[restore::partition_of(key, count)].push((keying as u16, at as u32));
            }
        }
        hands
    }

    /// One round in all partitions; takes over its outputs.
    pub(super) async fn round(
        &mut self,
        work: Arc<Work>,
        keys: Vec<Vec<(u16, u32)>>,
    ) -> Result<Rounded, LaneError> {
        let done = self.duty.ground.partitions.round(self.duty.number, &work, keys).await?;
        let (mut effects, panicked, queued) = (done.collected.effects, done.panicked.len(), done.queued);
        if panicked > 0 {
            effects.merge(self.put_back(&work, done.panicked).await?);
            effects.sort();
        }
        self.duty.observer.transitions(&effects);
        effects.emissions.retain(|emission| emission.cause >= self.suppress_below);
        self.duty.observer.effects(&effects, done.active);
        for emission in effects.emissions {
            self.pending.causes.push(emission.cause);
            self.pending.outputs.push(emission.output);
        }
        Ok(Rounded { saved: done.collected.saved, panicked, queued })
    }

    /// Sets aside what made sensors panic in this round and puts them back without it; what they put out then.
    async fn put_back(&mut self, work: &Work, panicked: Vec<KeyRef>) -> Result<Effects, LaneError> {
        panicked.iter().for_each(|(_, key)| self.duty.observer.panicked(key));
        let to = self.reader.position();
        let from = match work {
            Work::Rows(rows) => {
                self.quarantines.set_aside(&self.duty, rows, &panicked).await?;
                rows.position
            }
            Work::Tick(moment) => moment.cause,
            Work::Save(_) => to,
        };
        let Rebuilt { sensors, effects } =
            rebuild(&self.duty, &self.quarantines, panicked, (from, to)).await?;
        self.duty.ground.partitions.restore(self.duty.number, sensors).await?;
        Ok(effects)
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The future in `slot` with what stands beside it; never, if there is none. Cancel safe.
pub(super) async fn wait<F: Future + Unpin, T: Copy>(slot: &mut Option<(F, T)>) -> (F::Output, T) {
    match slot {
        Some((future, beside)) => (future.await, *beside),
        None => std::future::pending().await,
    }
}

/// Waits until `parent` has moved; never, if there is none.
async fn moved(parent: &mut Option<Parent>) {
    match parent {
        Some(parent) => parent.moved().await,
        None => std::future::pending().await,
    }
}
