//! What a lane finds when it starts: which sleeping keys want to be woken.

use std::hash::BuildHasher;
use std::sync::Arc;

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::engine::observe::Observer;
use crate::engine::partition::PartitionError;
use crate::engine::plan::LanePlan;
use crate::engine::round::{Saved, StateBytes};
use crate::engine::step::{Due, SensorState};
use crate::engine::wake::Wake;
use crate::engine::wheel::KeyRef;
use crate::store::{StateKey, StateRow, Store, StoreError};

/// The partition of `key` among `count`: by a hash, so it matters to nothing durable.
pub fn partition_of(key: &str, count: usize) -> usize {
    (FxBuildHasher.hash_one(key) % count as u64) as usize
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
    let rows = store.dues(&plan.cursor)?.into_iter();
    let mut rows: FxHashMap<_, _> = rows.map(|(id, key, row)| ((id, key), row)).collect();
    let mut renewed = Vec::new();
    for (id, key) in store.keys(&plan.cursor)? {
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
            write(plan, store, pairs(&std::mem::take(&mut renewed)))?;
        }
    }
    write(plan, store, pairs(&renewed))?;
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
    let saved = store.state(&StateKey { lane: &plan.cursor, keying: keying.id, key: &key.1 })?;
    let Some(bytes) = saved else { return Ok(None) };
    let state = SensorState::take(plan, keying, &bytes);
    let state = state.map_err(|error| PartitionError::State { key: key.1.clone(), error })?;
    let wake = Wake::of(plan, key, &state);
    let bytes = StateBytes { state: bytes, wake: wake.encode(plan) };
    renewed.push(Saved { key: key.clone(), bytes });
    Ok(Some(wake))
}

/// Keys and states of `saved`.
pub fn pairs(saved: &[Saved]) -> impl Iterator<Item = (&KeyRef, &StateBytes)> {
    saved.iter().map(|Saved { key, bytes }| (key, bytes))
}

/// Writes `states` without waiting for the disk.
pub fn write<'a>(
    plan: &LanePlan,
    store: &Store,
    states: impl Iterator<Item = (&'a KeyRef, &'a StateBytes)>,
) -> Result<(), StoreError> {
    let lane: &str = &plan.cursor;
    store.put_states(states.map(|((keying, key), bytes)| {
        let key = StateKey { lane, keying: plan.keyings[usize::from(*keying)].id, key };
        StateRow { key, state: &bytes.state, due: &bytes.wake }
    }))
}
