//! What a lane finds when it starts: which sleeping keys want to be woken.

use std::hash::BuildHasher;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::engine::observe::Observer;
use crate::engine::partition::PartitionError;
use crate::engine::plan::LanePlan;
use crate::engine::step::SensorState;
use crate::engine::wheel::KeyRef;
use crate::store::Store;

/// The partition of `key` among `count`: by a hash, so it matters to nothing durable.
pub fn partition_of(key: &str, count: usize) -> usize {
    (FxBuildHasher.hash_one(key) % count as u64) as usize
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
    for row in store.states(&plan.cursor)? {
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
