//! Ids of readings whose source has `dedup` (pure): equal ids within its time are one reading.
//!
//! They are looked up in front of the journal, which keeps them. Source and sensor are part of every id: two
//! devices may count alike.

use crate::config::{Dedup, DedupBy, Pointer};
use crate::model::batch::RecordId;
use crate::model::{Cell, Reading, ResultId};

use super::document::Node;

/// The id of a reading; `root` is the object it was read from, `None` for a record of a SenML pack. `None` where
/// the device gave none.
pub fn record_id(rule: &Dedup, reading: Reading<'_>, root: Option<Node<'_>>) -> Option<RecordId> {
    let sensor = ResultId::EMPTY.with_text(reading.source()).with_text(reading.sensor());
    let id = match &rule.by {
        DedupBy::Content => content(sensor, reading),
        DedupBy::Record(pointers) => pointers.iter().try_fold(sensor, |id, at| scalar(id, at, root?))?,
    };
    Some(RecordId::new(id.short(), rule.within_s))
}

/// The order of an object's members is no difference.
fn content(id: ResultId, reading: Reading<'_>) -> ResultId {
    let mut fields: Vec<_> = reading.fields().collect();
    fields.sort_by_key(|(name, _)| *name);
    let id = id.with_number(reading.time().nanos() as u64);
    fields.into_iter().fold(id, |id, (name, value)| with_cell(id.with_text(name), value))
}

fn scalar(id: ResultId, at: &Pointer, root: Node<'_>) -> Option<ResultId> {
    match root.pointer(at)?.cell()? {
        Cell::Null => None,
        value => Some(with_cell(id, value)),
    }
}

/// The kind is part of it: the text "1" is not the number.
fn with_cell(id: ResultId, cell: Cell<'_>) -> ResultId {
    match cell {
        Cell::Null => id.with(&[0]),
        Cell::Bool(value) => id.with(&[1, u8::from(value)]),
        Cell::Number(value) => id.with(&[2]).with_number(value.to_bits()),
        Cell::Text(text) => id.with(&[3]).with_text(text),
    }
}
