//! The lane's loop: pull a chunk, run its round, hand the outputs on, save from time to time.
//!
//! Waiting happens in one place, [`Lane::run`]; everything else changes state. At most one append and one save
//! are under way; outputs that come meanwhile form the next frame.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::quarantine::Quarantines;
use super::rebuild::{Rebuilt, rebuild};
use super::{LaneError, Start, keep};
use crate::alert::Moment;
use crate::engine::checkpoint::Checkpoint;
use crate::engine::emission::Effects;
use crate::engine::group::Grouped;
use crate::engine::round::{Idle, Saved, SharedRows, StateBytes, Work};
use crate::engine::view::Views;
use crate::engine::watermarks::Watermarks;
use crate::engine::wheel::KeyRef;
use crate::engine::{LaneStatus, restore};
use crate::journal::{Chunk, Clock, Content, OutputFrame, Reader, Record, Refused, Work as Append};
use crate::model::{Batch, Offset};
use crate::store::StoreError;

/// Outputs that may wait for the journal before the lane stops pulling.
const PENDING_OUTPUTS_MAX: usize = 50_000;

type Appended = std::pin::Pin<Box<dyn Future<Output = Result<(), Refused>>>>;
type Saving = tokio::task::JoinHandle<Result<(), StoreError>>;

/// A lane at work.
pub(super) struct Lane {
    start: Start,
    reader: Reader,
    clock: Clock,
    watermarks: Watermarks,
    /// Outputs below it are suppressed: they were sent before the restart.
    suppress_below: Offset,
    /// Outputs that wait for the journal.
    pending: OutputFrame,
    appending: Option<(Appended, Offset)>,
    /// Every output caused below it is durable.
    emitted: Offset,
    saving: Option<(Saving, Offset)>,
    checkpoint: Offset,
    /// States of a save that failed: they go with the next one.
    unsaved: BTreeMap<(u16, Arc<str>), StateBytes>,
    /// Readings that made sensors panic, since the checkpoint.
    quarantines: Quarantines,
}

/// What a round left to do.
struct Rounded {
    saved: Vec<Saved>,
    /// How many sensors panicked.
    panicked: usize,
}

impl Lane {
    /// Takes up the lane where its checkpoint left it; a new one begins where its pipelines want.
    pub(super) async fn new(start: Start) -> Result<Self, LaneError> {
        let (plan, store) = (start.plan.clone(), start.store.clone());
        let checkpoint = restore::checkpoint(&plan, &store, &start.readings, start.emitted)?;
        let position = checkpoint.position;
        let quarantines = Quarantines::read(&plan, &start.readings, position).await?;
        let wake = restore::sleeping(&plan, &store, start.partitions.count(), &start.observer)?;
        start.partitions.add_lane(&plan, start.number, wake).await?;
        let suppress_below = start.emitted.unwrap_or(position);
        Ok(Self {
            reader: start.readings.reader(position),
            clock: checkpoint.clock,
            watermarks: checkpoint.watermarks,
            suppress_below,
            pending: OutputFrame::default(),
            appending: None,
            emitted: suppress_below,
            saving: None,
            checkpoint: position,
            unsaved: BTreeMap::new(),
            quarantines,
            start,
        })
    }

    /// Pulls until told to stop and everything durable is done, or up to the border; then saves everything.
    pub(super) async fn run(mut self) -> Result<(), LaneError> {
        let mut checkpoints = tokio::time::interval(self.start.checkpoint_every);
        checkpoints.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        checkpoints.tick().await;
        loop {
            self.append();
            self.show();
            let may_pull = self.pending.outputs.len() < PENDING_OUTPUTS_MAX;
            let stop = self.start.stop.clone();
            tokio::select! {
                biased;
                appended = wait(&mut self.appending) => self.on_appended(appended)?,
                saved = wait(&mut self.saving) => self.on_saved(saved),
                // Before the input, which under load is always ready.
                () = stop.cancelled() => break,
                _ = checkpoints.tick() => self.save().await?,
                chunk = self.reader.next(), if may_pull => {
                    let chunk = chunk?;
                    let is_last = self.start.border.is_at(&chunk);
                    self.process(chunk).await?;
                    if is_last {
                        return self.end().await;
                    }
                }
            }
        }
        while let Some(chunk) = self.reader.try_next().await? {
            self.process(chunk).await?;
        }
        self.end().await
    }

    /// Saves everything.
    async fn end(mut self) -> Result<(), LaneError> {
        if let Some((saving, position)) = self.saving.take() {
            self.on_saved((saving.await, position));
        }
        self.save().await?;
        if let Some((saving, position)) = self.saving.take() {
            self.on_saved((saving.await, position));
        }
        self.show();
        Ok(())
    }

    async fn process(&mut self, chunk: Chunk) -> Result<(), LaneError> {
        match &chunk.content {
            Content::Readings(batch) => self.process_rows(batch, chunk.base).await?,
            Content::Record(record) => self.process_record(record, chunk.base).await?,
            // The readings stream holds nothing else.
            Content::Outputs(_) | Content::DeadLetters(_) => {}
        }
        self.start.observer.advanced(&self.reader, chunk.received);
        Ok(())
    }

    async fn process_record(&mut self, record: &Record, cause: Offset) -> Result<(), LaneError> {
        if let Record::Tick(clock) = record {
            self.clock = *clock;
            let moment = Moment { wall: clock.wall, service_ns: clock.service_ns, cause };
            let nobody = vec![Vec::new(); self.start.partitions.count()];
            self.round(Arc::new(Work::Tick(moment)), nobody).await?;
        }
        Ok(())
    }

    async fn process_rows(&mut self, batch: &Arc<Batch>, base: Offset) -> Result<(), LaneError> {
        let started = crate::telemetry::clock::monotonic();
        let plan = self.start.plan.clone();
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
        self.start.observer.watermarks(&plan, watermarks, self.clock.wall);
        self.round(Arc::new(Work::Rows(shared)), keys).await?;
        self.start.observer.round(rows, started.elapsed());
        Ok(())
    }

    /// Which keys go to which partition: by a hash of the key, so it matters to nothing durable.
    fn deal(&self, grouped: &[Grouped]) -> Vec<Vec<(u16, u32)>> {
        let count = self.start.partitions.count();
        let mut hands = vec![Vec::new(); count];
        for (keying, grouped) in grouped.iter().enumerate() {
            for (at, (key, _)) in grouped.keys.iter().enumerate() {
                hands[restore::partition_of(key, count)].push((keying as u16, at as u32));
            }
        }
        hands
    }

    /// One round in all partitions; takes over its outputs.
    async fn round(&mut self, work: Arc<Work>, keys: Vec<Vec<(u16, u32)>>) -> Result<Rounded, LaneError> {
        let done = self.start.partitions.round(self.start.number, &work, keys).await?;
        let (mut effects, panicked) = (done.collected.effects, done.panicked.len());
        if panicked > 0 {
            effects.merge(self.put_back(&work, done.panicked).await?);
            effects.sort();
        }
        self.start.observer.transitions(&effects);
        effects.emissions.retain(|emission| emission.cause >= self.suppress_below);
        self.start.observer.effects(&effects, done.active);
        for emission in effects.emissions {
            self.pending.causes.push(emission.cause);
            self.pending.outputs.push(emission.output);
        }
        Ok(Rounded { saved: done.collected.saved, panicked })
    }

    /// Sets aside what made sensors panic in this round and puts them back without it; what they put out then.
    async fn put_back(&mut self, work: &Work, panicked: Vec<KeyRef>) -> Result<Effects, LaneError> {
        panicked.iter().for_each(|(_, key)| self.start.observer.panicked(key));
        let to = self.reader.position();
        let from = match work {
            Work::Rows(rows) => {
                self.quarantines.set_aside(&self.start, rows, &panicked).await?;
                rows.position
            }
            Work::Tick(moment) => moment.cause,
            Work::Save(_) => to,
        };
        let Rebuilt { sensors, effects } =
            rebuild(&self.start, &self.quarantines, panicked, (from, to)).await?;
        self.start.partitions.restore(self.start.number, sensors).await?;
        Ok(effects)
    }

    /// Hands pending outputs to the journal, one frame at a time: what comes meanwhile forms the next one.
    fn append(&mut self) {
        if self.appending.is_none() && !self.pending.outputs.is_empty() {
            self.append_now();
        }
    }

    fn append_now(&mut self) {
        let position = self.reader.position();
        let mut frame = std::mem::take(&mut self.pending);
        frame.emitted.insert(self.start.plan.lane.clone(), position);
        let (frame, results) = (Arc::new(frame), self.start.results.clone());
        let append = async move { keep(&results, || Append::Outputs(frame.clone())).await };
        self.appending = Some((Box::pin(append), position));
    }

    fn on_appended(&mut self, (appended, position): (Result<(), Refused>, Offset)) -> Result<(), LaneError> {
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
    async fn save(&mut self) -> Result<(), LaneError> {
        let position = self.reader.position();
        if self.saving.is_some() || (position == self.checkpoint && self.unsaved.is_empty()) {
            return Ok(());
        }
        let nobody = vec![Vec::new(); self.start.partitions.count()];
        let idle = if self.unsaved.is_empty() { Idle::Sleeps } else { Idle::Stays };
        let Rounded { saved, panicked } = self.round(Arc::new(Work::Save(idle)), nobody).await?;
        self.unsaved.extend(saved.into_iter().map(|Saved { key, bytes }| (key, bytes)));
        if panicked > 0 {
            // A state is missing, so the old checkpoint holds on.
            return Ok(());
        }
        self.settle().await?;
        let (plan, store) = (self.start.plan.clone(), self.start.store.clone());
        let states: Vec<_> = self
            .unsaved
            .iter()
            .map(|(key, bytes)| Saved { key: key.clone(), bytes: bytes.clone() })
            .collect();
        let checkpoint = Checkpoint { position, clock: self.clock, watermarks: self.watermarks.clone() };
        let saving = tokio::task::spawn_blocking(move || checkpoint.save(&plan, &store, &states));
        self.saving = Some((saving, position));
        Ok(())
    }

    fn on_saved(
        &mut self,
        (saved, position): (Result<Result<(), StoreError>, tokio::task::JoinError>, Offset),
    ) {
        self.saving = None;
        match saved
            .map_err(|error| error.to_string())
            .and_then(|saved| saved.map_err(|error| error.to_string()))
        {
            Ok(()) => {
                self.unsaved.clear();
                self.checkpoint = position;
                self.quarantines.forget(position);
            }
            Err(error) => {
                tracing::error!(
                    lane = &*self.start.plan.lane,
                    error,
                    "checkpoint failed, the old one holds on"
                );
            }
        }
    }

    fn show(&self) {
        self.start.status.send_replace(LaneStatus {
            position: self.reader.position(),
            emitted: self.emitted,
            checkpoint: self.checkpoint,
        });
    }
}

/// The future in `slot` with what stands beside it; never, if there is none. Cancel safe.
async fn wait<F: Future + Unpin, T: Copy>(slot: &mut Option<(F, T)>) -> (F::Output, T) {
    match slot {
        Some((future, beside)) => (future.await, *beside),
        None => std::future::pending().await,
    }
}
