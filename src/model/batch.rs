//! Readings in columns: the unit that travels from intake through the journal to the sensors.
//!
//! Strings stand once in a dictionary; field names once in a shape; a reading is a row of indices and
//! values. A message's readings are consecutive rows; [`BatchBuilder::rollback`] makes a message atomic.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use super::dictionary::{Dictionary, StringId};
use super::{Cell, Identity, Offset, Timestamp};

pub mod merge;
mod reading;
mod records;

pub use reading::Reading;
pub use records::RecordId;

/// A value of a row; texts are names in the batch's dictionary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slot {
    /// Missing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A text of the dictionary.
    Text(StringId),
}

/// What readings of one kind have in common: their source and the names of their fields, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The source's name.
    pub source: StringId,
    /// Field names.
    pub fields: Box<[StringId]>,
}

/// A set of tags, sorted by the dictionary's order of their names' first use.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TagSet(pub Box<[(StringId, Slot)]>);

/// The row's time is the arrival time, because the device gave none.
pub const TIME_IS_RECEIVED: u8 = 1;

/// One row's fixed columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The sensor's name.
    pub sensor: StringId,
    /// Index of the row's [`Shape`].
    pub shape: u32,
    /// Index of the row's [`TagSet`].
    pub tags: u32,
    /// Index of the first value; one value per field of the shape.
    pub slots: u32,
    /// Event time.
    pub time: Timestamp,
    /// Arrival time.
    pub received: Timestamp,
    /// [`TIME_IS_RECEIVED`] or 0.
    pub flags: u8,
}

/// The rows of one message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message {
    /// One past the message's last row.
    pub end: u32,
    /// For duplicate detection.
    pub identity: Identity,
}

/// Readings in columns. `base` is the journal offset of the first row.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Offset of row 0; 0 until the journal gives one.
    pub base: Offset,
    pub(crate) dictionary: Dictionary,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) tag_sets: Vec<TagSet>,
    pub(crate) rows: Vec<Row>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) messages: Vec<Message>,
    /// Of readings whose source has `dedup`; empty, or one a row.
    pub(crate) record_ids: Vec<RecordId>,
}

impl Batch {
    /// The number of readings.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no reading.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// One past the offset of the last reading.
    pub fn end(&self) -> Offset {
        self.base.plus(self.rows.len() as u64)
    }

    /// The reading in `row`.
    pub fn reading(&self, row: usize) -> Reading<'_> {
        Reading { batch: self, row }
    }

    /// All readings in journal order.
    pub fn readings(&self) -> impl Iterator<Item = Reading<'_>> {
        (0..self.rows.len()).map(|row| self.reading(row))
    }

    /// The strings.
    pub fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// The shapes that rows refer to.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The fixed columns of all rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The messages, in order; together they hold every row.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Bytes in memory, roughly: what byte budgets count.
    pub fn bytes(&self) -> usize {
        self.dictionary.bytes()
            + self.dictionary.len() * 12
            + self.rows.len() * size_of::<Row>()
            + self.slots.len() * size_of::<Slot>()
            + self.messages.len() * size_of::<Message>()
            + self.record_ids.len() * size_of::<RecordId>()
            + self.shapes.len() * 64
            + self.tag_sets.len() * 64
    }

    /// The value of a slot of this batch.
    pub fn cell(&self, slot: Slot) -> Cell<'_> {
        match slot {
            Slot::Null => Cell::Null,
            Slot::Bool(value) => Cell::Bool(value),
            Slot::Number(value) => Cell::Number(value),
            Slot::Text(id) => Cell::Text(self.dictionary.get(id)),
        }
    }
}

/// What to return to when a message turns out to be bad.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    rows: usize,
    slots: usize,
    messages: usize,
}

/// A reading as it is added: borrowed from the payload.
#[derive(Clone, Copy, Debug)]
pub struct NewReading<'a> {
    /// The source's name.
    pub source: &'a str,
    /// The sensor's name.
    pub sensor: &'a str,
    /// Event time.
    pub time: Timestamp,
    /// Arrival time.
    pub received: Timestamp,
    /// [`TIME_IS_RECEIVED`] or 0.
    pub flags: u8,
    /// Fields in order; a name stands once.
    pub fields: &'a [(&'a str, Cell<'a>)],
    /// Tags; a name stands once.
    pub tags: &'a [(&'a str, Cell<'a>)],
}

/// Collects readings into a [`Batch`].
#[derive(Default)]
pub struct BatchBuilder {
    batch: Batch,
    shape_index: HashTable<u32>,
    names: Vec<StringId>,
    tags: Vec<(StringId, Slot)>,
}

impl BatchBuilder {
    /// What is collected so far.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The number of readings so far.
    pub fn len(&self) -> usize {
        self.batch.rows.len()
    }

    /// Whether no reading is collected.
    pub fn is_empty(&self) -> bool {
        self.batch.rows.is_empty()
    }

    /// Adds one reading.
    pub fn push(&mut self, reading: NewReading<'_>) {
        let source = self.batch.dictionary.intern(reading.source);
        let sensor = self.batch.dictionary.intern(reading.sensor);
        self.names.clear();
        let slots = self.batch.slots.len() as u32;
        for (name, value) in reading.fields {
            let name = self.batch.dictionary.intern(name);
            self.names.push(name);
            let slot = self.slot(*value);
            self.batch.slots.push(slot);
        }
        let shape = self.shape(source);
        let tags = self.tag_set(reading.tags);
        let NewReading { time, received, flags, .. } = reading;
        self.batch.rows.push(Row { sensor, shape, tags, slots, time, received, flags });
    }

    /// Ends a message: all readings since the last end are its. An empty message is none.
    pub fn end_message(&mut self, identity: Identity) {
        let end = self.batch.rows.len() as u32;
        if self.batch.messages.last().map_or(0, |last| last.end) < end {
            self.batch.messages.push(Message { end, identity });
        }
    }

    /// The state to return to with [`Self::rollback`].
    pub fn mark(&self) -> Mark {
        Mark {
            rows: self.batch.rows.len(),
            slots: self.batch.slots.len(),
            messages: self.batch.messages.len(),
        }
    }

    /// Forgets every reading and message since `mark`.
    pub fn rollback(&mut self, mark: Mark) {
        self.batch.rows.truncate(mark.rows);
        self.batch.slots.truncate(mark.slots);
        self.batch.messages.truncate(mark.messages);
        self.batch.record_ids.truncate(mark.rows);
    }

    /// The finished batch.
    pub fn finish(mut self) -> Batch {
        self.complete_record_ids();
        self.batch
    }

    fn slot(&mut self, value: Cell<'_>) -> Slot {
        match value {
            Cell::Null => Slot::Null,
            Cell::Bool(value) => Slot::Bool(value),
            Cell::Number(value) => Slot::Number(value),
            Cell::Text(value) => Slot::Text(self.batch.dictionary.intern(value)),
        }
    }

    /// The index of the shape of `self.names` at `source`.
    fn shape(&mut self, source: StringId) -> u32 {
        let (shapes, names) = (&mut self.batch.shapes, &self.names);
        let hash = FxBuildHasher.hash_one((source, names.as_slice()));
        let same = |at: &u32| {
            let shape = &shapes[*at as usize];
            shape.source == source && *shape.fields == **names
        };
        if let Some(at) = self.shape_index.find(hash, same) {
            return *at;
        }
        let at = shapes.len() as u32;
        shapes.push(Shape { source, fields: names.as_slice().into() });
        self.shape_index.insert_unique(hash, at, |at| {
            let shape = &shapes[*at as usize];
            FxBuildHasher.hash_one((shape.source, &*shape.fields))
        });
        at
    }

    fn tag_set(&mut self, tags: &[(&str, Cell<'_>)]) -> u32 {
        let mut set = std::mem::take(&mut self.tags);
        set.clear();
        for (name, value) in tags {
            let name = self.batch.dictionary.intern(name);
            set.push((name, self.slot(*value)));
        }
        set.sort_by_key(|(name, _)| *name);
        let at = self.tag_set_at(&set);
        self.tags = set;
        at
    }

    /// Successive rows mostly share their tags, so the search goes from the end and not far.
    fn tag_set_at(&mut self, set: &[(StringId, Slot)]) -> u32 {
        const LOOK_BACK_MAX: usize = 8;
        let sets = &mut self.batch.tag_sets;
        let near = sets.iter().enumerate().rev().take(LOOK_BACK_MAX).find(|(_, known)| *known.0 == *set);
        if let Some((at, _)) = near {
            return at as u32;
        }
        sets.push(TagSet(set.into()));
        sets.len() as u32 - 1
    }
}

#[cfg(test)]
mod tests;
