//! A SenML pack (RFC 8428) to readings: records with the same sensor and time form one.
//!
//! A record's value is its field: numbers, texts and booleans as they are, data as base64url text. A sum is the
//! field `NAME_sum`, in the record's unit times seconds. Rows come in order of (time, sensor). Where a
//! field stands twice at one sensor and time, the second begins a further reading, so that nothing is lost.

use std::borrow::Cow;

use senml::{Class, Limits, Pack, Resolved};

use crate::model::{BatchBuilder, Cell, Reason};

use super::document::Document;
use super::fields::{self, Fields};
use super::limits::{DEPTH_MAX, FIELDS_MAX, RECORDS_MAX};
use super::rejection::Rejection;
use super::source::{Message, Source};
use super::time::EventTime;
use super::{base64url, json, sensor, time};

/// Adds the readings of `pack` to `out`.
///
/// # Errors
/// The first record that is refused, with its pointer.
pub fn admit(
    source: &Source,
    pack: Pack<'_>,
    message: Message<'_>,
    out: &mut BatchBuilder,
) -> Result<(), Rejection> {
    let resolved = pack.resolve(message.arrival.received().nanos()).map_err(refusal)?;
    let template = Some(&source.naming).filter(|naming| naming.is_template());
    let named = template.map(|naming| naming.name(message.topic, None)).transpose()?;
    let mut items = Vec::with_capacity(resolved.len());
    for record in &resolved {
        let place = |refusal: Rejection| refusal.in_record(record.index);
        Item::add(source, record, named.as_deref(), message, &mut items).map_err(place)?;
    }
    if items.is_empty() {
        return Err(Rejection::new(Reason::Field, "no record of the pack is a field of the source"));
    }
    // Resolved records are in order of time already; this brings those of a sensor together.
    items.sort_by(|a, b| (a.when.time, a.sensor).cmp(&(b.when.time, b.sensor)));
    push_groups(source, &items, message, out)
}

/// Decodes a pack in JSON.
///
/// # Errors
/// What is no pack.
pub fn from_json(bytes: &[u8]) -> Result<Pack<'_>, Rejection> {
    senml::json::decode(bytes, &limits(bytes)).map_err(refusal)
}

/// Decodes a pack in CBOR.
///
/// # Errors
/// What is no pack.
pub fn from_cbor(bytes: &[u8]) -> Result<Pack<'_>, Rejection> {
    senml::cbor::decode(bytes, &limits(bytes)).map_err(refusal)
}

/// Checks a pack against the source's schema, in JSON form whatever it came as.
///
/// # Errors
/// [`Reason::Schema`].
pub fn check_schema(source: &Source, pack: &Pack<'_>, json: Option<&[u8]>) -> Result<(), Rejection> {
    let Some(schema) = &source.schema else { return Ok(()) };
    let check = |document: Document<'_>| schema.check(document.root());
    match json {
        Some(text) => check(json::decode(text)?),
        None => check(json::decode(&senml::json::encode(pack).map_err(refusal)?)?),
    }
}

fn limits(bytes: &[u8]) -> Limits {
    // The length is the listener's to limit.
    Limits { bytes: bytes.len(), records: RECORDS_MAX, depth: DEPTH_MAX, ..Limits::default() }
}

fn refusal(error: senml::Error) -> Rejection {
    let reason = match error.class() {
        // A limit of the structure: see `limits`.
        Class::Malformed | Class::TooLarge => Reason::Malformed,
        Class::Unit => Reason::Unit,
        Class::Time => Reason::Time,
        Class::Field => Reason::Field,
    };
    let mut refusal = Rejection::new(reason, error.kind.to_string()).at(&error.pointer());
    refusal.record = error.record.map(|index| index as u64);
    refusal
}

/// A field on its way into a reading.
struct Item<'a> {
    sensor: &'a str,
    when: EventTime,
    field: Cow<'a, str>,
    value: Content<'a>,
}

enum Content<'a> {
    Number(f64),
    Bool(bool),
    Text(Cow<'a, str>),
}

impl<'a> Item<'a> {
    /// The fields of one record: its value, its sum or both.
    fn add(
        source: &'a Source,
        record: &'a Resolved<'a>,
        named: Option<&'a str>,
        message: Message<'_>,
        items: &mut Vec<Self>,
    ) -> Result<(), Rejection> {
        let (sensor, field) = match named {
            Some(sensor) => (sensor, sensor::field_of(&record.name, sensor)),
            None => sensor::split(&record.name),
        };
        sensor::check(sensor)?;
        let when = time::of_record(&source.time, record.time, message.arrival)?;
        let item = |field, value| Item { sensor, when, field, value };
        if let Some((field, value)) = value(source, field, record)? {
            items.push(item(field, value));
        }
        if let Some(sum) = record.sum {
            let field = format!("{field}_sum");
            let target = source.fields.of_record(&field);
            items.extend(target.map(|target| {
                let field = target.name.map_or(Cow::Owned(field), Cow::Borrowed);
                item(field, Content::Number(sum))
            }));
        }
        Ok(())
    }

    fn cell(&self) -> Cell<'_> {
        match &self.value {
            Content::Number(value) => Cell::Number(*value),
            Content::Bool(value) => Cell::Bool(*value),
            Content::Text(text) => Cell::Text(text),
        }
    }
}

/// The field that the record's value is; `None` where it has no value or the source does not ask for it.
fn value<'a>(
    source: &'a Source,
    field: &'a str,
    record: &'a Resolved<'a>,
) -> Result<Option<(Cow<'a, str>, Content<'a>)>, Rejection> {
    let (Some(value), Some(target)) = (&record.value, source.fields.of_record(field)) else {
        return Ok(None);
    };
    let content = match value {
        senml::Value::Number(value) => match target.unit {
            Some(wanted) => Content::Number(fields::in_unit(*value, record.unit, wanted)?),
            None => Content::Number(*value),
        },
        senml::Value::Bool(value) => Content::Bool(*value),
        senml::Value::Text(text) => Content::Text(Cow::Borrowed(text)),
        senml::Value::Data(data) => Content::Text(Cow::Owned(base64url::encode(data))),
    };
    Ok(Some((Cow::Borrowed(target.name.unwrap_or(field)), content)))
}

/// Pushes one reading for each run of items with the same sensor and time.
fn push_groups(
    source: &Source,
    items: &[Item<'_>],
    message: Message<'_>,
    out: &mut BatchBuilder,
) -> Result<(), Rejection> {
    let mut row: Fields<'_> = Vec::with_capacity(8);
    for group in items.chunk_by(|a, b| (a.when.time, a.sensor) == (b.when.time, b.sensor)) {
        let (sensor, when) = (group[0].sensor, group[0].when);
        for item in group {
            let (field, cell) = (&*item.field, item.cell());
            fields::check(field, cell)?;
            if row.len() == FIELDS_MAX || row.iter().any(|(known, _)| *known == field) {
                source.push(sensor, when, &row, message, out)?;
                source.identify(None, out);
                row.clear();
            }
            row.push((field, cell));
        }
        source.push(sensor, when, &row, message, out)?;
        source.identify(None, out);
        row.clear();
    }
    Ok(())
}
