//! A lane's durable position: which records its saved states hold, and what else replay needs to begin there.
//!
//! States are written first, slice by slice, then this row; all are on disk when it is. States carry their own
//! position, so they may be ahead of the row, and a crash in between is harmless: such a state skips what it has
//! applied. The row also says which text is in force at the position and which generations have joined the lane
//! (`SEMANTICS` §7). A birth has a row of its own, under its own name.

use std::sync::Arc;

use crate::engine::generations::{BirthId, Member};
use crate::engine::lane::Taken;
use crate::engine::plan::LanePlan;
use crate::engine::restore;
use crate::engine::watermarks::Watermarks;
use crate::journal::Clock;
use crate::model::bytes::{Input, Truncated, put_varint, put_zigzag};
use crate::model::{Offset, StreamName, Timestamp};
use crate::store::{Mark, Store, StoreError};

/// The format this program writes.
const VERSION: u8 = 2;
/// The format before, which knew no generations.
const VERSION_BEFORE: u8 = 1;

/// Where a lane stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Every record below it is in the saved states; they may hold later ones.
    pub position: Offset,
    /// The last tick below it.
    pub clock: Clock,
    /// Alerts on readings judge none below it.
    pub since: Offset,
    /// The `Config` record in force at the position, if the lane has met one.
    pub config_at: Option<Offset>,
    /// A lane's: the birth under way. A birth's: itself.
    pub birth: Option<BirthId>,
    /// The lane's pipelines; `None`: a program wrote the row that knew no generations.
    pub members: Option<Vec<Member>>,
    /// Watermarks as of the position: [`Self::watermarks`].
    pub watermarks: Vec<u8>,
}

impl Checkpoint {
    /// The checkpoint of the lane or birth called `cursor`, if it has one.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Newer`] for a row of a newer format.
    pub fn load(store: &Store, cursor: &str) -> Result<Option<Self>, StoreError> {
        let name = cursor_name(cursor);
        let Some(bytes) = store.cursor(&name)? else { return Ok(None) };
        if let Some(format) = bytes.first().copied().filter(|format| *format > VERSION) {
            return Err(StoreError::Newer { what: name, format: format.into(), reads: VERSION.into() });
        }
        Self::take(&bytes).map(Some).map_err(|_| StoreError::Damaged(name))
    }

    /// The watermarks as of the position.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn watermarks(&self, plan: &LanePlan) -> Result<Watermarks, StoreError> {
        // The first row of a lane says nothing of them.
        if self.watermarks.is_empty() {
            return Ok(Watermarks::new(plan));
        }
        let taken = Watermarks::take(plan, &mut Input(&self.watermarks));
        taken.map_err(|_| StoreError::Damaged(cursor_name(&plan.cursor)))
    }

    /// Writes the row durably, and with it everything written before.
    ///
    /// # Errors
    /// [`StoreError`]; the old checkpoint holds on.
    pub fn save(&self, store: &Store, cursor: &str) -> Result<(), StoreError> {
        let mut bytes = vec![VERSION];
        put_varint(&mut bytes, self.position.0);
        put_zigzag(&mut bytes, self.clock.wall.nanos());
        put_varint(&mut bytes, self.clock.service_ns);
        put_varint(&mut bytes, self.since.0);
        put_varint(&mut bytes, self.config_at.map_or(0, |at| at.0 + 1));
        BirthId::put(self.birth, &mut bytes);
        let members = self.members.as_deref().unwrap_or_default();
        put_varint(&mut bytes, members.len() as u64);
        members.iter().for_each(|member| member.put(&mut bytes));
        bytes.extend_from_slice(&self.watermarks);
        store.commit(&cursor_name(cursor), &bytes, Mark::from([(StreamName::Readings, self.position)]))
    }

    fn take(bytes: &[u8]) -> Result<Self, Truncated> {
        let mut input = Input(bytes);
        let version = input.byte()?;
        if ![VERSION, VERSION_BEFORE].contains(&version) {
            return Err(Truncated);
        }
        let position = Offset(input.varint()?);
        let clock = Clock { wall: Timestamp::from_nanos(input.zigzag()?), service_ns: input.varint()? };
        let mut checkpoint = Self {
            position,
            clock,
            since: Offset(0),
            config_at: None,
            birth: None,
            members: None,
            watermarks: Vec::new(),
        };
        if version == VERSION {
            checkpoint.since = Offset(input.varint()?);
            checkpoint.config_at = input.varint()?.checked_sub(1).map(Offset);
            checkpoint.birth = BirthId::take(&mut input)?;
            let count = input.count(bytes.len())?;
            checkpoint.members =
                Some((0..count).map(|_| Member::take(&mut input)).collect::<Result<_, _>>()?);
        }
        checkpoint.watermarks = input.0.to_vec();
        Ok(checkpoint)
    }
}

/// Writes `states`; they are durable once a row is saved after them. Their outputs must be durable already.
///
/// # Errors
/// [`StoreError`].
pub fn save_states(plan: &LanePlan, store: &Store, states: &Taken) -> Result<(), StoreError> {
    restore::write(plan, store, states.iter())?;
    store.flush()
}

/// Removes row and states of the lane or birth called `cursor`.
///
/// # Errors
/// [`StoreError`]; another call removes the rest.
pub fn remove(store: &Store, cursor: &str) -> Result<(), StoreError> {
    store.remove_lane(cursor, &cursor_name(cursor))
}

/// Names of the lanes and births with a checkpoint that begin with `prefix`.
///
/// # Errors
/// [`StoreError`].
pub fn cursors(store: &Store, prefix: &str) -> Result<Vec<Arc<str>>, StoreError> {
    let names = store.cursor_names(&cursor_name(prefix))?;
    Ok(names.iter().map(|name| Arc::from(&name[cursor_name("").len()..])).collect())
}

/// The name in the store of the row of a lane or birth.
pub fn cursor_name(cursor: &str) -> String {
    format!("lane/{cursor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_and_one_of_the_format_before_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let member = |joined_at| Member {
            generation: 7,
            pipeline: "p".into(),
            grouping: 9,
            born_at: Offset(3),
            partial_before_ms: i64::MIN,
            joined_at,
            gone_at: joined_at.map(|at| at.plus(1)),
        };
        let row = Checkpoint {
            position: Offset(12),
            clock: Clock { wall: Timestamp::from_millis(-5), service_ns: 8 },
            since: Offset(2),
            config_at: Some(Offset(0)),
            birth: Some(BirthId { unborn_since: Offset(0), decided_at: Offset(4) }),
            members: Some(vec![member(None), member(Some(Offset(0)))]),
            watermarks: vec![1, 2, 3],
        };
        row.save(&store, "main").unwrap();
        assert_eq!(Checkpoint::load(&store, "main").unwrap(), Some(row.clone()));
        let mut old = vec![1];
        put_varint(&mut old, 12);
        put_zigzag(&mut old, row.clock.wall.nanos());
        put_varint(&mut old, 8);
        old.extend([1, 2, 3]);
        store.put_cursor("lane/main", &old).unwrap();
        let read = Checkpoint { since: Offset(0), config_at: None, birth: None, members: None, ..row };
        assert_eq!(Checkpoint::load(&store, "main").unwrap(), Some(read));
        store.put_cursor("lane/main", &[3, 0]).unwrap();
        assert!(matches!(
            Checkpoint::load(&store, "main"),
            Err(StoreError::Newer { format: 3, reads: 2, .. })
        ));
        store.put_cursor("lane/main", &[2, 12]).unwrap();
        assert!(matches!(Checkpoint::load(&store, "main"), Err(StoreError::Damaged(_))));
    }
}
