//! A [`Batch`] as bytes: the payload of a `readings` frame (before lz4).
//!
//! Columns stand one after the other, so that like stands beside like: the dictionary, shapes, tag sets,
//! then per column all rows. Times are deltas in the coarsest unit that loses nothing; a numeric field is
//! a column of scaled integers where every value is one (`21.5` = 215 / 10), else of raw doubles with their
//! bytes transposed. Any bytes decode or are refused; none panic.

use crate::model::batch::{Message, RecordId, Row, Shape, Slot, TagSet};
use crate::model::bytes::{Input, Truncated, put_varint, put_zigzag};
use crate::model::dictionary::{Dictionary, StringId};
use crate::model::{Batch, Identity, Offset, Timestamp};

mod numbers;

/// Most rows, strings, fields of one frame; what decoding allocates is bounded by it.
const ROWS_MAX: usize = 1 << 24;

/// Appends `batch` to `out`.
pub fn encode(batch: &Batch, out: &mut Vec<u8>) {
    put_dictionary(out, &batch.dictionary);
    put_varint(out, batch.shapes.len() as u64);
    for shape in &batch.shapes {
        put_varint(out, u64::from(shape.source.0));
        put_varint(out, shape.fields.len() as u64);
        shape.fields.iter().for_each(|name| put_varint(out, u64::from(name.0)));
    }
    put_varint(out, batch.tag_sets.len() as u64);
    for set in &batch.tag_sets {
        put_varint(out, set.0.len() as u64);
        for (name, slot) in &set.0 {
            put_varint(out, u64::from(name.0));
            put_slot(out, *slot);
        }
    }
    put_varint(out, batch.rows.len() as u64);
    put_indices(out, batch.rows.iter().map(|row| row.sensor.0));
    put_indices(out, batch.rows.iter().map(|row| row.shape));
    put_indices(out, batch.rows.iter().map(|row| row.tags));
    put_indices(out, batch.rows.iter().map(|row| u32::from(row.flags)));
    put_times(out, batch.rows.iter().map(|row| row.time));
    put_times(out, batch.rows.iter().map(|row| row.received));
    put_fields(out, batch);
    put_messages(out, batch);
}

/// The batch in `bytes`, its first row at offset `base`.
///
/// # Errors
/// [`Truncated`] if the bytes are no batch.
pub fn decode(bytes: &[u8], base: Offset) -> Result<Batch, Truncated> {
    let mut input = Input(bytes);
    let dictionary = take_dictionary(&mut input)?;
    let strings = dictionary.len();
    let shapes = take_shapes(&mut input, strings)?;
    let tag_sets = take_tag_sets(&mut input, strings)?;
    let count = input.count(ROWS_MAX)?;
    let sensors = take_indices(&mut input, count, strings)?;
    let shape_of = take_indices(&mut input, count, shapes.len())?;
    let tags = take_indices(&mut input, count, tag_sets.len())?;
    let flags = take_indices(&mut input, count, 256)?;
    let times = take_times(&mut input, count)?;
    let received = take_times(&mut input, count)?;
    let mut rows = Vec::with_capacity(count);
    let mut slots = 0u32;
    for at in 0..count {
        let shape = shape_of[at];
        let (sensor, tags, flags) = (StringId(sensors[at]), tags[at], flags[at] as u8);
        rows.push(Row { sensor, shape, tags, slots, time: times[at], received: received[at], flags });
        slots = slots.checked_add(shapes[shape as usize].fields.len() as u32).ok_or(Truncated)?;
    }
    let slots = take_fields(&mut input, &shapes, &rows, slots as usize, strings)?;
    let (messages, record_ids) = take_messages(&mut input, count)?;
    if !input.0.is_empty() {
        return Err(Truncated);
    }
    Ok(Batch { base, dictionary, shapes, tag_sets, rows, slots, messages, record_ids })
}

fn put_dictionary(out: &mut Vec<u8>, dictionary: &Dictionary) {
    put_varint(out, dictionary.len() as u64);
    dictionary.iter().for_each(|text| put_varint(out, text.len() as u64));
    dictionary.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
}

fn take_dictionary(input: &mut Input<'_>) -> Result<Dictionary, Truncated> {
    let count = input.count(ROWS_MAX.min(input.0.len()))?;
    let lengths = (0..count).map(|_| input.count(ROWS_MAX)).collect::<Result<Vec<_>, _>>()?;
    let mut dictionary = Dictionary::default();
    for length in lengths {
        let text = std::str::from_utf8(input.take(length)?).map_err(|_| Truncated)?;
        let known = dictionary.len();
        if dictionary.intern(text).0 as usize != known {
            return Err(Truncated);
        }
    }
    Ok(dictionary)
}

fn take_shapes(input: &mut Input<'_>, strings: usize) -> Result<Vec<Shape>, Truncated> {
    let count = input.count(ROWS_MAX.min(input.0.len()))?;
    let shape = |input: &mut Input<'_>| {
        let source = take_index(input, strings)?;
        let fields = input.count(input.0.len())?;
        let fields =
            (0..fields).map(|_| take_index(input, strings).map(StringId)).collect::<Result<_, _>>()?;
        Ok(Shape { source: StringId(source), fields })
    };
    (0..count).map(|_| shape(input)).collect()
}

fn take_tag_sets(input: &mut Input<'_>, strings: usize) -> Result<Vec<TagSet>, Truncated> {
    let count = input.count(ROWS_MAX.min(input.0.len()))?;
    let tag = |input: &mut Input<'_>| Ok((StringId(take_index(input, strings)?), take_slot(input, strings)?));
    let set = |input: &mut Input<'_>| {
        let tags = input.count(input.0.len())?;
        (0..tags).map(|_| tag(input)).collect::<Result<_, _>>().map(TagSet)
    };
    (0..count).map(|_| set(input)).collect()
}

fn take_index(input: &mut Input<'_>, bound: usize) -> Result<u32, Truncated> {
    let index = input.varint()?;
    if index < bound as u64 { Ok(index as u32) } else { Err(Truncated) }
}

const SAME: u8 = 0;
const EACH: u8 = 1;

/// One number for all rows, or one a row.
fn put_indices(out: &mut Vec<u8>, mut indices: impl ExactSizeIterator<Item = u32> + Clone) {
    let rows = indices.clone();
    let Some(first) = indices.next() else { return };
    if indices.all(|index| index == first) {
        out.push(SAME);
        return put_varint(out, u64::from(first));
    }
    out.push(EACH);
    rows.for_each(|index| put_varint(out, u64::from(index)));
}

fn take_indices(input: &mut Input<'_>, count: usize, bound: usize) -> Result<Vec<u32>, Truncated> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match input.byte()? {
        SAME => Ok(vec![take_index(input, bound)?; count]),
        EACH if count <= input.0.len() => (0..count).map(|_| take_index(input, bound)).collect(),
        _ => Err(Truncated),
    }
}

/// Units of a time column in nanoseconds, coarsest first.
const TIME_UNITS: [i64; 4] = [1_000_000_000, 1_000_000, 1_000, 1];

fn put_times(out: &mut Vec<u8>, times: impl Iterator<Item = Timestamp> + Clone) {
    let fits = |unit: &i64| times.clone().all(|time| time.nanos() % unit == 0);
    let unit = TIME_UNITS.iter().position(fits).unwrap_or(TIME_UNITS.len() - 1);
    out.push(unit as u8);
    let mut last = 0i64;
    for time in times {
        let value = time.nanos() / TIME_UNITS[unit];
        put_zigzag(out, value.wrapping_sub(last));
        last = value;
    }
}

fn take_times(input: &mut Input<'_>, count: usize) -> Result<Vec<Timestamp>, Truncated> {
    let unit = *TIME_UNITS.get(input.byte()? as usize).ok_or(Truncated)?;
    if count > input.0.len() {
        return Err(Truncated);
    }
    let mut last = 0i64;
    let mut time = || {
        last = last.wrapping_add(input.zigzag()?);
        last.checked_mul(unit).map(Timestamp::from_nanos).ok_or(Truncated)
    };
    (0..count).map(|_| time()).collect()
}

/// Field by field over the rows of each shape, so that like stands beside like.
fn put_fields(out: &mut Vec<u8>, batch: &Batch) {
    for (at, shape) in batch.shapes.iter().enumerate() {
        for place in 0..shape.fields.len() {
            let rows = batch.rows.iter().filter(|row| row.shape as usize == at);
            put_column(out, rows.map(|row| batch.slots[row.slots as usize + place]));
        }
    }
}

fn take_fields(
    input: &mut Input<'_>,
    shapes: &[Shape],
    rows: &[Row],
    count: usize,
    strings: usize,
) -> Result<Vec<Slot>, Truncated> {
    let mut rows_of = vec![Vec::new(); shapes.len()];
    rows.iter().for_each(|row| rows_of[row.shape as usize].push(row.slots as usize));
    let mut slots = vec![Slot::Null; count];
    for (shape, starts) in shapes.iter().zip(&rows_of) {
        for place in 0..shape.fields.len() {
            for (start, slot) in starts.iter().zip(take_column(input, starts.len(), strings)?) {
                slots[start + place] = slot;
            }
        }
    }
    Ok(slots)
}

const NUMBERS: u8 = 0;
const MIXED: u8 = 1;

fn put_column(out: &mut Vec<u8>, column: impl Iterator<Item = Slot> + Clone) {
    let number = |slot| if let Slot::Number(value) = slot { Some(value) } else { None };
    if column.clone().all(|slot| matches!(slot, Slot::Number(_))) {
        out.push(NUMBERS);
        return numbers::put(out, column.filter_map(number));
    }
    out.push(MIXED);
    column.for_each(|slot| put_slot(out, slot));
}

fn take_column(input: &mut Input<'_>, count: usize, strings: usize) -> Result<Vec<Slot>, Truncated> {
    match input.byte()? {
        NUMBERS => Ok(numbers::take(input, count)?.into_iter().map(Slot::Number).collect()),
        MIXED if count <= input.0.len() => (0..count).map(|_| take_slot(input, strings)).collect(),
        _ => Err(Truncated),
    }
}

fn put_slot(out: &mut Vec<u8>, slot: Slot) {
    match slot {
        Slot::Null => out.push(0),
        Slot::Bool(value) => out.push(1 + u8::from(value)),
        Slot::Number(value) => {
            out.push(3);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Slot::Text(id) => {
            out.push(4);
            put_varint(out, u64::from(id.0));
        }
    }
}

fn take_slot(input: &mut Input<'_>, strings: usize) -> Result<Slot, Truncated> {
    match input.byte()? {
        0 => Ok(Slot::Null),
        kind @ 1..=2 => Ok(Slot::Bool(kind == 2)),
        3 => Ok(Slot::Number(f64::from_bits(input.u64()?))),
        4 => Ok(Slot::Text(StringId(take_index(input, strings)?))),
        _ => Err(Truncated),
    }
}

/// A message's flags: it has an identity.
const HAS_IDENTITY: u8 = 1;
/// A message's flags: its readings may have record ids, and a column of them follows the messages.
const HAS_RECORD_IDS: u8 = 2;

fn put_messages(out: &mut Vec<u8>, batch: &Batch) {
    put_varint(out, batch.messages.len() as u64);
    let mut last = 0;
    for message in &batch.messages {
        put_varint(out, u64::from(message.end - last));
        last = message.end;
    }
    let record_ids = if batch.has_record_ids() { HAS_RECORD_IDS } else { 0 };
    for message in &batch.messages {
        let identity = message.identity.hash();
        out.push(record_ids | if identity.is_some() { HAS_IDENTITY } else { 0 });
        out.extend(identity.map(u64::to_le_bytes).into_iter().flatten());
    }
    for id in &batch.record_ids {
        out.extend_from_slice(&id.hash().unwrap_or(0).to_le_bytes());
    }
}

/// Identities come back as [`Identity::Remember`]: what is in the journal is a first transmission. For how long a
/// record id counts is not kept either: only a new reading is looked up, and it brings its own.
fn take_messages(input: &mut Input<'_>, rows: usize) -> Result<(Vec<Message>, Vec<RecordId>), Truncated> {
    let count = input.count(rows.min(input.0.len()))?;
    let mut messages = Vec::with_capacity(count);
    let mut end = 0u64;
    for _ in 0..count {
        end += input.varint()?.min(ROWS_MAX as u64 + 1);
        if end > rows as u64 {
            return Err(Truncated);
        }
        messages.push(Message { end: end as u32, identity: Identity::None });
    }
    let mut all_flags = 0;
    for message in &mut messages {
        let flags = input.byte()?;
        all_flags |= flags;
        if flags & HAS_IDENTITY != 0 {
            message.identity = Identity::Remember(input.u64()?);
        }
    }
    let ids = if all_flags & HAS_RECORD_IDS == 0 { 0 } else { rows };
    let id = |hash: u64| if hash == 0 { RecordId::default() } else { RecordId::new(hash, 0) };
    let ids = (0..ids).map(|_| input.u64().map(id)).collect::<Result<_, _>>()?;
    Ok((messages, ids))
}

#[cfg(test)]
mod tests;
