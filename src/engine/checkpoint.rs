//! A lane's durable position: which records its saved states hold, and what else replay needs to begin there.
//!
//! States are written first, then this row; both are on disk when [`save`] returns. States carry their own
//! position, so a crash between the two is harmless: a state that is ahead skips what it has applied.

use std::sync::Arc;

use crate::engine::plan::LanePlan;
use crate::engine::round::Saved;
use crate::engine::watermarks::Watermarks;
use crate::journal::Clock;
use crate::model::bytes::{Input, Truncated, put_varint, put_zigzag};
use crate::model::{Offset, Timestamp};
use crate::store::{StateKey, Store, StoreError};

const VERSION: u8 = 1;

/// Where a lane stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Every record below it is in the saved states.
    pub position: Offset,
    /// The last tick below it.
    pub clock: Clock,
    /// Watermarks as of the position.
    pub watermarks: Watermarks,
}

impl Checkpoint {
    /// The checkpoint of the plan's lane, if it has one.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Damaged`] also for a row of a newer format.
    pub fn load(plan: &LanePlan, store: &Store) -> Result<Option<Self>, StoreError> {
        let name = row_name(&plan.lane);
        let Some(bytes) = store.cursor(&name)? else { return Ok(None) };
        Self::take(plan, &bytes).map(Some).map_err(|_| StoreError::Damaged(name))
    }

    /// Writes `states` and then the checkpoint, durably. Every state's outputs must be durable already.
    ///
    /// # Errors
    /// [`StoreError`]; the old checkpoint holds on.
    pub fn save(&self, plan: &LanePlan, store: &Store, states: &[Saved]) -> Result<(), StoreError> {
        let lane: &str = &plan.lane;
        store.put_states(states.iter().map(|Saved { key: (keying, key), bytes }| {
            (StateKey { lane, keying: plan.keyings[usize::from(*keying)].id, key }, bytes.as_slice())
        }))?;
        store.flush()?;
        let mut bytes = vec![VERSION];
        put_varint(&mut bytes, self.position.0);
        put_zigzag(&mut bytes, self.clock.wall.nanos());
        put_varint(&mut bytes, self.clock.service_ns);
        self.watermarks.put(plan, &mut bytes);
        store.put_cursor(&row_name(lane), &bytes)
    }

    fn take(plan: &LanePlan, bytes: &[u8]) -> Result<Self, Truncated> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return Err(Truncated);
        }
        let position = Offset(input.varint()?);
        let clock = Clock { wall: Timestamp::from_nanos(input.zigzag()?), service_ns: input.varint()? };
        Ok(Self { position, clock, watermarks: Watermarks::take(plan, &mut input)? })
    }
}

fn row_name(lane: &str) -> String {
    format!("lane/{lane}")
}

/// Removes the checkpoint of a lane that is no more: should it come back, it begins as a new one.
///
/// # Errors
/// [`StoreError`].
pub fn forget(store: &Store, lane: &str) -> Result<(), StoreError> {
    store.remove_cursor(&row_name(lane))
}

/// The position of `lane`'s checkpoint without knowing its plan: what the journal must not give out again.
///
/// # Errors
/// [`StoreError`].
pub fn position(store: &Store, lane: &Arc<str>) -> Result<Option<Offset>, StoreError> {
    let name = row_name(lane);
    let Some(bytes) = store.cursor(&name)? else { return Ok(None) };
    let mut input = Input(&bytes);
    let position = input.byte().and_then(|_| input.varint());
    position.map(|position| Some(Offset(position))).map_err(|_| StoreError::Damaged(name))
}
