//! Several batches as one: what the journal's group commit does with the bursts of many connections.

use super::{Batch, BatchBuilder, Row, Shape, Slot, StringId};
use crate::model::Identity;

/// Where strings, shapes and tag sets of a source batch stand in the builder; each is looked up once.
pub struct Merge<'a> {
    from: &'a Batch,
    strings: Vec<Option<StringId>>,
    shapes: Vec<Option<u32>>,
    tag_sets: Vec<Option<u32>>,
}

impl<'a> Merge<'a> {
    /// Prepares to copy messages of `from`.
    pub fn new(from: &'a Batch) -> Self {
        Self {
            from,
            strings: vec![None; from.dictionary.len()],
            shapes: vec![None; from.shapes.len()],
            tag_sets: vec![None; from.tag_sets.len()],
        }
    }

    /// Appends the rows `rows` of the source batch to `into` as one message.
    pub fn message(
        &mut self,
        into: &mut BatchBuilder,
        rows: impl Iterator<Item = usize>,
        identity: Identity,
    ) {
        for at in rows {
            let row = &self.from.rows[at];
            let count = self.from.shapes[row.shape as usize].fields.len();
            let (sensor, shape, tags) =
                (self.string(into, row.sensor), self.shape(into, row.shape), self.tags(into, row.tags));
            let slots = into.batch.slots.len() as u32;
            for slot in &self.from.slots[row.slots as usize..][..count] {
                let slot = self.slot(into, *slot);
                into.batch.slots.push(slot);
            }
            into.batch.rows.push(Row { sensor, shape, tags, slots, ..*row });
            if let Some(id) = self.from.record_id(at) {
                into.identify(id);
            }
        }
        into.end_message(identity);
    }

    fn string(&mut self, into: &mut BatchBuilder, id: StringId) -> StringId {
        let known = &mut self.strings[id.0 as usize];
        *known.get_or_insert_with(|| into.batch.dictionary.intern(self.from.dictionary.get(id)))
    }

    fn slot(&mut self, into: &mut BatchBuilder, slot: Slot) -> Slot {
        if let Slot::Text(id) = slot { Slot::Text(self.string(into, id)) } else { slot }
    }

    fn shape(&mut self, into: &mut BatchBuilder, at: u32) -> u32 {
        if let Some(known) = self.shapes[at as usize] {
            return known;
        }
        let Shape { source, fields } = &self.from.shapes[at as usize];
        let source = self.string(into, *source);
        into.names.clear();
        for name in fields {
            let name = self.string(into, *name);
            into.names.push(name);
        }
        let shape = into.shape(source);
        self.shapes[at as usize] = Some(shape);
        shape
    }

    fn tags(&mut self, into: &mut BatchBuilder, at: u32) -> u32 {
        if let Some(known) = self.tag_sets[at as usize] {
            return known;
        }
        let mut set = Vec::new();
        for (name, slot) in &self.from.tag_sets[at as usize].0 {
            set.push((self.string(into, *name), self.slot(into, *slot)));
        }
        set.sort_by_key(|(name, _)| *name);
        let tags = into.tag_set_at(&set);
        self.tag_sets[at as usize] = Some(tags);
        tags
    }
}
