//! What a lane finds when it starts: where a new one begins, and which sleeping keys want to be woken.

use std::hash::BuildHasher;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::config::Start;
use crate::engine::checkpoint::Checkpoint;
use crate::engine::observe::Observer;
use crate::engine::partition::PartitionError;
use crate::engine::plan::LanePlan;
use crate::engine::step::SensorState;
use crate::engine::watermarks::Watermarks;
use crate::engine::wheel::KeyRef;
use crate::journal::{Clock, Stream};
use crate::model::Offset;
use crate::store::{Store, StoreError};

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
    // States without a checkpoint are of a lane of this name that was removed: readings came meanwhile.
    store.remove_states(&plan.lane)?;
    let position = emitted.unwrap_or_else(|| first_position(plan, readings));
    let checkpoint = Checkpoint { position, clock: Clock::default(), watermarks: Watermarks::new(plan) };
    checkpoint.save(plan, store, &[])?;
    Ok(checkpoint)
}

/// Where a lane that never ran begins: at the oldest record if one of its pipelines wants that, else at the tail.
fn first_position(plan: &LanePlan, readings: &Stream) -> Offset {
    let pipelines = plan.keyings.iter().flat_map(|keying| &keying.pipelines);
    let earliest = pipelines
        .map(|pipeline| plan.config.pipelines[pipeline.index].start)
        .any(|start| start == Start::Earliest);
    if earliest { readings.oldest() } else { readings.durable() }
}

/// The saved states of the lane, by partition. They are read once to learn who wants to be woken; the states
/// themselves go to sleep again.
///
/// # Errors
/// [`PartitionError`] if a state cannot be read.
pub fn states(
    plan: &Arc<LanePlan>,
    store: &Store,
    partitions: usize,
    observer: &Observer,
) -> Result<Vec<Vec<(KeyRef, SensorState)>>, PartitionError> {
    let mut hands: Vec<Vec<_>> = (0..partitions).map(|_| Vec::new()).collect();
    for row in store.states(&plan.lane)? {
        let (id, key, bytes) = row?;
        // A grouping that no pipeline uses any more.
        let Some(at) = plan.keyings.iter().position(|keying| keying.id == id) else { continue };
        let key: Arc<str> = key.into();
        let state = SensorState::take(plan, &plan.keyings[at], &bytes);
        let state = state.map_err(|error| PartitionError::State { key: key.clone(), error })?;
        observer.found_firing(state.firing(&plan.keyings[at]));
        hands[partition_of(&key, partitions)].push(((at as u16, key), state));
    }
    Ok(hands)
}
