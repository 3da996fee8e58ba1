//! A lane's durable position: which records its saved states hold, and what else replay needs to begin there.
//!
//! States are written first, then this row; both are on disk when [`save`] returns. States carry their own
//! position, so a crash between the two is harmless: a state that is ahead skips what it has applied.

use crate::engine::plan::LanePlan;
use crate::engine::restore;
use crate::engine::round::Saved;
use crate::engine::watermarks::Watermarks;
use crate::journal::Clock;
use crate::model::bytes::{Input, Truncated, put_varint, put_zigzag};
use crate::model::{Offset, StreamName, Timestamp};
use crate::store::{Mark, Store, StoreError};

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
    /// [`StoreError`]; [`StoreError::Newer`] for a row of a newer format.
    pub fn load(plan: &LanePlan, store: &Store) -> Result<Option<Self>, StoreError> {
        let name = cursor_name(&plan.lane);
        let Some(bytes) = store.cursor(&name)? else { return Ok(None) };
        if let Some(format) = bytes.first().copied().filter(|format| *format > VERSION) {
            return Err(StoreError::Newer { what: name, format: format.into(), reads: VERSION.into() });
        }
        Self::take(plan, &bytes).map(Some).map_err(|_| StoreError::Damaged(name))
    }

    /// Writes `states` and then the checkpoint, durably. Every state's outputs must be durable already.
    ///
    /// # Errors
    /// [`StoreError`]; the old checkpoint holds on.
    pub fn save(&self, plan: &LanePlan, store: &Store, states: &[Saved]) -> Result<(), StoreError> {
        restore::write(plan, store, states)?;
        store.flush()?;
        let mut bytes = vec![VERSION];
        put_varint(&mut bytes, self.position.0);
        put_zigzag(&mut bytes, self.clock.wall.nanos());
        put_varint(&mut bytes, self.clock.service_ns);
        self.watermarks.put(plan, &mut bytes);
        store.commit(&cursor_name(&plan.lane), &bytes, Mark::from([(StreamName::Readings, self.position)]))
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

/// The name of a lane's cursor in the store.
pub fn cursor_name(lane: &str) -> String {
    format!("lane/{lane}")
}

/// Removes the checkpoint and the states of a lane that is no more: should it come back, it begins as a new one.
///
/// # Errors
/// [`StoreError`].
pub fn forget(store: &Store, lane: &str) -> Result<(), StoreError> {
    store.remove_lane(lane, &cursor_name(lane))
}
