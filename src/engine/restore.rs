//! What a lane finds when it starts: where a new one begins, and which sleeping keys want to be woken.

use std::hash::BuildHasher;
use std::sync::Arc;

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::config::Start;
use crate::engine::checkpoint::{Checkpoint, cursor_name};
use crate::engine::observe::Observer;
use crate::engine::partition::PartitionError;
use crate::engine::plan::LanePlan;
use crate::engine::round::{Saved, StateBytes};
use crate::engine::step::{Due, SensorState};
use crate::engine::wake::Wake;
use crate::engine::watermarks::Watermarks;
use crate::engine::wheel::KeyRef;
use crate::journal::{Clock, Stream};
use crate::model::{Offset, StreamName};
use crate::store::{StateKey, StateRow, Store, StoreError};

/// The partition of `key` among `count`: by a hash, so it matters to nothing durable.
pub fn partition_of(key: &str, count: usize) -> usize {
    (FxBuildHasher.hash_one(key) % count as u64) as usize
}

/// The lane's checkpoint. One that never ran gets its first: where it begins is written down before a device is
/// acknowledged, so that whatever comes later is in its windows, also after a crash.
///
/// # Errors
/// [`StoreError`] if the checkpoint cannot be read or saved.
pub fn checkpoint(
    plan: &LanePlan,
    store: &Store,
    readings: &Stream,
    emitted: Option<Offset>,
) -> Result<Checkpoint, StoreError> {
    if let Some(checkpoint) = Checkpoint::load(plan, store)? {
        return Ok(checkpoint);
    }
    let begin = store.begin(&cursor_name(&plan.lane), StreamName::Readings);
    let position = first_position(plan, readings, begin.or(emitted.map(|_| Offset(0))));
    let checkpoint = Checkpoint { position, clock: Clock::default(), watermarks: Watermarks::new(plan) };
    checkpoint.save(plan, store, &[])?;
    Ok(checkpoint)
}

/// Where a lane without a checkpoint begins. One that ran before (the store was lost) begins where it began then, or
/// at the oldest record, so that its windows are whole; what it has put out already is not put out again. A new one
/// begins at the oldest record if one of its pipelines wants that, else at the tail.
fn first_position(plan: &LanePlan, readings: &Stream, began: Option<Offset>) -> Offset {
    let pipelines = plan.keyings.iter().flat_map(|keying| &keying.pipelines);
    let earliest = pipelines
        .map(|pipeline| plan.config.pipelines[pipeline.index].start)
        .any(|start| start == Start::Earliest);
    match began {
        Some(began) if !earliest => began.max(readings.oldest()),
        None if !earliest => readings.durable(),
        _ => readings.oldest(),
    }
}

/// When the keys of the lane that have a saved state want to be woken, by partition. The states themselves sleep on;
/// only those are read whose rows are from another configuration or program, and get new ones.
///
/// # Errors
/// [`PartitionError`] if a state cannot be read.
pub fn sleeping(
    plan: &Arc<LanePlan>,
    store: &Store,
    partitions: usize,
    observer: &Observer,
) -> Result<Vec<Vec<(KeyRef, Due)>>, PartitionError> {
    let mut hands: Vec<Vec<_>> = (0..partitions).map(|_| Vec::new()).collect();
    let rows = store.dues(&plan.lane)?.into_iter();
    let mut rows: FxHashMap<_, _> = rows.map(|(id, key, row)| ((id, key), row)).collect();
    let mut renewed = Vec::new();
    for (id, key) in store.keys(&plan.lane)? {
        // A grouping that no pipeline uses any more.
        let Some(at) = plan.keyings.iter().position(|keying| keying.id == id) else { continue };
        let row = rows.remove(&(id, key.clone()));
        let key: KeyRef = (at as u16, key.into());
        let wake = match row.and_then(|row| Wake::decode(plan, &row)) {
            Some(wake) => wake,
            None => {
                let Some(wake) = renew(plan, store, &key, &mut renewed)? else { continue };
                wake
            }
        };
        observer.found_firing(wake.firing.iter().copied());
        hands[partition_of(&key.1, partitions)].push((key, wake.due));
        if renewed.len() >= RENEWED_MAX {
            write(plan, store, &std::mem::take(&mut renewed))?;
        }
    }
    write(plan, store, &renewed)?;
    Ok(hands)
}

/// Rows that are renewed before they are written.
const RENEWED_MAX: usize = 1_000;

/// What the state of `key` says itself.
fn renew(
    plan: &LanePlan,
    store: &Store,
    key: &KeyRef,
    renewed: &mut Vec<Saved>,
) -> Result<Option<Wake>, PartitionError> {
    let keying = &plan.keyings[usize::from(key.0)];
    let saved = store.state(&StateKey { lane: &plan.lane, keying: keying.id, key: &key.1 })?;
    let Some(bytes) = saved else { return Ok(None) };
    let state = SensorState::take(plan, keying, &bytes);
    let state = state.map_err(|error| PartitionError::State { key: key.1.clone(), error })?;
    let wake = Wake::of(plan, key, &state);
    let bytes = StateBytes { state: bytes, wake: wake.encode(plan) };
    renewed.push(Saved { key: key.clone(), bytes });
    Ok(Some(wake))
}

/// Writes `states` without waiting for the disk.
pub fn write(plan: &LanePlan, store: &Store, states: &[Saved]) -> Result<(), StoreError> {
    let lane: &str = &plan.lane;
    store.put_states(states.iter().map(|Saved { key: (keying, key), bytes }| {
        let key = StateKey { lane, keying: plan.keyings[usize::from(*keying)].id, key };
        StateRow { key, state: &bytes.state, due: &bytes.wake }
    }))
}
