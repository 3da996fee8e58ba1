//! States on their way into a birth and out of it: both may be repeated after a crash.

use std::sync::Arc;

use crate::engine::partition::{PartitionError, load};
use crate::engine::plan::{Keying, LanePlan};
use crate::engine::restore;
use crate::engine::round::{Saved, StateBytes};
use crate::engine::step::SensorState;
use crate::engine::step::codec::StateError;
use crate::engine::wheel::KeyRef;
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
    sources: &[Arc<str>],
) -> Result<(), PartitionError> {
    let has_alerts = |keying: &Keying| keying.pipelines.iter().any(|pipeline| !pipeline.alerts.is_empty());
    if !plan.keyings.iter().any(has_alerts) {
        return Ok(());
    }
    for source in sources.iter().filter(|source| **source != plan.cursor) {
        let mut rows = Rows::new(store, plan);
        for (id, key) in store.keys(source)? {
            let wanted = plan.keyings.iter().position(|keying| keying.id == id && has_alerts(keying));
            let Some(at) = wanted else { continue };
            let saved = store.state(&StateKey { lane: source, keying: id, key: &key })?;
            let (Some(bytes), key) = (saved, (at as u16, Arc::from(key))) else { continue };
            if let Some(state) = inherited(store, plan, (&key, position), &bytes)? {
                rows.push(key, &state)?;
            }
        }
        rows.write()?;
    }
    Ok(store.flush()?)
}

/// The state of `key` in a birth that begins at `position`, with what `bytes` knows of its alerts; `None` if that is
/// nothing worth keeping.
fn inherited(
    store: &Store,
    plan: &LanePlan,
    (key, position): (&KeyRef, Offset),
    bytes: &[u8],
) -> Result<Option<SensorState>, PartitionError> {
    let keying = &plan.keyings[usize::from(key.0)];
    let sown = load(plan, store, key)?;
    let is_sown = sown.is_some();
    let mut state = sown.unwrap_or_else(|| SensorState::new(keying, position));
    let is_known = state.inherit(plan, keying, bytes).map_err(of(key))?;
    Ok((is_known && (is_sown || !state.is_calm(plan, keying))).then_some(state))
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
    let mut rows = Rows::new(store, plan);
    for (id, key) in store.keys(&born.cursor)? {
        let of_id = |plan: &LanePlan| plan.keyings.iter().position(|keying| keying.id == id);
        let (Some(at), Some(born_at)) = (of_id(plan), of_id(born)) else { continue };
        let key: Arc<str> = key.into();
        let (key, born_key) = ((at as u16, key.clone()), (born_at as u16, key));
        let Some(born_state) = load(born, store, &born_key)? else { continue };
        let keying = &plan.keyings[at];
        let mut state = load(plan, store, &key)?.unwrap_or_else(|| SensorState::new(keying, met));
        state.adopt(keying, (born_state, &born.keyings[born_at]), met);
        rows.push(key, &state)?;
    }
    rows.write()?;
    Ok(store.flush()?)
}

/// States that are written together, with when they want to be woken.
struct Rows<'a> {
    store: &'a Store,
    plan: &'a LanePlan,
    saved: Vec<Saved>,
}

impl<'a> Rows<'a> {
    fn new(store: &'a Store, plan: &'a LanePlan) -> Self {
        Self { store, plan, saved: Vec::with_capacity(ROWS_MAX) }
    }

    fn push(&mut self, key: KeyRef, state: &SensorState) -> Result<(), PartitionError> {
        let bytes = StateBytes::of(self.plan, &key, state);
        self.saved.push(Saved { key, bytes });
        if self.saved.len() == ROWS_MAX { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), PartitionError> {
        restore::write(self.plan, self.store, restore::pairs(&self.saved))?;
        self.saved.clear();
        Ok(())
    }
}

fn of(key: &KeyRef) -> impl Fn(StateError) -> PartitionError + '_ {
    move |error| PartitionError::State { key: key.1.clone(), error }
}
