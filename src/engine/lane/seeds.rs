//! States on their way into a birth and out of it: both may be repeated after a crash.

use crate::engine::partition::PartitionError;
use crate::engine::plan::{Keying, LanePlan};
use crate::engine::step::SensorState;
use crate::engine::step::codec::StateError;
use crate::model::Offset;
use crate::store::{StateKey, Store};

/// States written at once.
const ROWS_MAX: usize = 256;

/// Gives the birth of `plan`, which begins at `position`, the states that its alerts have in `sources`; a later
/// source knows better.
///
/// # Errors
/// [`PartitionError`].
pub(super) fn sow(
    store: &Store,
    plan: &LanePlan,
    position: Offset,
    sources: &[std::sync::Arc<str>],
) -> Result<(), PartitionError> {
    let has_alerts = |keying: &&Keying| keying.pipelines.iter().any(|pipeline| !pipeline.alerts.is_empty());
    let keyings: Vec<_> = plan.keyings.iter().filter(has_alerts).collect();
    if keyings.is_empty() {
        return Ok(());
    }
    for source in sources.iter().filter(|source| **source != plan.cursor) {
        for row in store.states(source)? {
            let (id, key, bytes) = row?;
            let Some(keying) = keyings.iter().find(|keying| keying.id == id) else { continue };
            let own = StateKey { lane: &plan.cursor, keying: id, key: &key };
            let sown = store.state(&own)?;
            let mut state = match &sown {
                Some(sown) => SensorState::take(plan, keying, sown).map_err(of(&key))?,
                None => SensorState::new(keying, position),
            };
            let is_known = state.inherit(plan, keying, &bytes).map_err(of(&key))?;
            if is_known && (sown.is_some() || !state.is_calm(plan, keying)) {
                let mut bytes = Vec::new();
                state.put(plan, keying, &mut bytes);
                store.put_states(std::iter::once((own, bytes.as_slice())))?;
            }
        }
    }
    Ok(store.flush()?)
}

/// Moves the states of the birth `born`, which has met its lane at `met`, into those of the lane, whose plan is now
/// `plan`. The lane's row does not say so yet: until it does, the lane reads over them.
///
/// # Errors
/// [`PartitionError`].
pub(super) fn merge(
    store: &Store,
    plan: &LanePlan,
    born: &LanePlan,
    met: Offset,
) -> Result<(), PartitionError> {
    let mut merged: Vec<(u64, String, Vec<u8>)> = Vec::with_capacity(ROWS_MAX);
    for row in store.states(&born.cursor)? {
        let (id, key, bytes) = row?;
        let of_id = |plan: &&Keying| plan.id == id;
        let keyings = (plan.keyings.iter().find(of_id), born.keyings.iter().find(of_id));
        let (Some(keying), Some(born_keying)) = keyings else { continue };
        let born_state = SensorState::take(born, born_keying, &bytes).map_err(of(&key))?;
        let mut state = match store.state(&StateKey { lane: &plan.cursor, keying: id, key: &key })? {
            Some(known) => SensorState::take(plan, keying, &known).map_err(of(&key))?,
            None => SensorState::new(keying, met),
        };
        state.adopt(keying, (born_state, born_keying), met);
        let mut bytes = Vec::new();
        state.put(plan, keying, &mut bytes);
        merged.push((id, key, bytes));
        if merged.len() == ROWS_MAX {
            write(store, plan, &mut merged)?;
        }
    }
    write(store, plan, &mut merged)?;
    Ok(store.flush()?)
}

fn write(
    store: &Store,
    plan: &LanePlan,
    rows: &mut Vec<(u64, String, Vec<u8>)>,
) -> Result<(), PartitionError> {
    let lane: &str = &plan.cursor;
    let states =
        rows.iter().map(|(keying, key, bytes)| (StateKey { lane, keying: *keying, key }, bytes.as_slice()));
    store.put_states(states)?;
    rows.clear();
    Ok(())
}

fn of(key: &str) -> impl Fn(StateError) -> PartitionError + '_ {
    move |error| PartitionError::State { key: key.into(), error }
}
