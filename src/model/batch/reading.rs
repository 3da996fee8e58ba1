//! One reading of a batch: a view of its row.

use super::{Batch, Row, Shape, StringId};
use crate::model::{Cell, Offset, Timestamp};

/// A reading: a view of one row.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    pub(super) batch: &'a Batch,
    pub(super) row: usize,
}

impl<'a> Reading<'a> {
    /// The fixed columns.
    pub fn row(&self) -> &'a Row {
        &self.batch.rows[self.row]
    }

    /// The row's place in its batch.
    pub fn index(&self) -> usize {
        self.row
    }

    /// The batch.
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// The journal offset.
    pub fn offset(&self) -> Offset {
        self.batch.base.plus(self.row as u64)
    }

    /// The sensor's name.
    pub fn sensor(&self) -> &'a str {
        self.batch.dictionary.get(self.row().sensor)
    }

    /// The source's name.
    pub fn source(&self) -> &'a str {
        self.batch.dictionary.get(self.shape().source)
    }

    /// The row's shape.
    pub fn shape(&self) -> &'a Shape {
        &self.batch.shapes[self.row().shape as usize]
    }

    /// Event time.
    pub fn time(&self) -> Timestamp {
        self.row().time
    }

    /// Arrival time.
    pub fn received(&self) -> Timestamp {
        self.row().received
    }

    /// The value of the field at `place` in the shape.
    pub fn slot(&self, place: usize) -> Cell<'a> {
        self.batch.cell(self.batch.slots[self.row().slots as usize + place])
    }

    /// Names and values of the fields, in the order of the shape.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, Cell<'a>)> + '_ {
        let names = self.shape().fields.iter().map(|name| self.batch.dictionary.get(*name));
        names.enumerate().map(|(place, name)| (name, self.slot(place)))
    }

    /// The field called `name`; null where the reading has none.
    pub fn field(&self, name: &str) -> Cell<'a> {
        self.fields().find(|(field, _)| *field == name).map_or(Cell::Null, |(_, value)| value)
    }

    /// Names and values of the tags.
    pub fn tags(&self) -> impl Iterator<Item = (&'a str, Cell<'a>)> + '_ {
        let tags = &self.batch.tag_sets[self.row().tags as usize].0;
        tags.iter().map(|(name, slot)| (self.batch.dictionary.get(*name), self.batch.cell(*slot)))
    }

    /// The tag with the dictionary name `id`; null where the reading has none.
    pub fn tag_by_id(&self, id: StringId) -> Cell<'a> {
        let tags = &self.batch.tag_sets[self.row().tags as usize].0;
        tags.iter().find(|(name, _)| *name == id).map_or(Cell::Null, |(_, slot)| self.batch.cell(*slot))
    }

    /// The tag called `name`; null where the reading has none.
    pub fn tag(&self, name: &str) -> Cell<'a> {
        self.tags().find(|(tag, _)| *tag == name).map_or(Cell::Null, |(_, value)| value)
    }
}
