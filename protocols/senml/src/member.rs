//! From label and value to a member of a record: the one place both encodings share.

use crate::VERSION;
use crate::error::Kind;
use crate::label::Label;
use crate::limits::Limits;
use crate::pack::{ContentType, Record, Value};
use std::borrow::Cow;

/// A decoder that stands before a member's value.
pub(crate) trait Source<'a> {
    fn limits(&self) -> &Limits;
    fn number(&mut self) -> Result<f64, Kind>;
    /// The number of a version, which CBOR wants as an unsigned integer.
    fn version(&mut self) -> Result<f64, Kind>;
    fn boolean(&mut self) -> Result<bool, Kind>;
    fn text(&mut self, bytes_max: usize) -> Result<Cow<'a, str>, Kind>;
    fn data(&mut self, bytes_max: usize) -> Result<Cow<'a, [u8]>, Kind>;
    fn skip(&mut self) -> Result<(), Kind>;
}

/// Reads the value of a label that came as text. Unknown ones are passed over, unless they end in
/// `_` (RFC 8428 §4.4).
pub(crate) fn read_text_label<'a>(
    record: &mut Record<'a>,
    label: &str,
    source: &mut impl Source<'a>,
) -> Result<(), Kind> {
    match Label::from_text(label) {
        Some(label) => read(record, label, source),
        None if label.ends_with('_') => Err(Kind::MustUnderstand),
        None => source.skip(),
    }
}

/// Reads the value of a known label into its place.
pub(crate) fn read<'a>(
    record: &mut Record<'a>,
    label: Label,
    source: &mut impl Source<'a>,
) -> Result<(), Kind> {
    let Limits { name_bytes, value_bytes, .. } = *source.limits();
    match label {
        Label::Name => put(&mut record.name, source.text(name_bytes)?),
        Label::Unit => put(&mut record.unit, source.text(name_bytes)?),
        Label::Time => put(&mut record.time, source.number()?),
        Label::Value => put_value(record, Value::Number(source.number()?)),
        Label::StringValue => put_value(record, Value::Text(source.text(value_bytes)?)),
        Label::BooleanValue => put_value(record, Value::Bool(source.boolean()?)),
        Label::DataValue => put_value(record, Value::Data(source.data(value_bytes)?)),
        Label::Sum => put(&mut record.sum, source.number()?),
        Label::UpdateTime => put(&mut record.update_time, source.number()?),
        Label::ContentType | Label::ContentTypeRequired => {
            let text = source.text(name_bytes)?;
            let required = label == Label::ContentTypeRequired;
            put(&mut record.content_type, ContentType { text, required })
        }
        Label::BaseName => put(&mut record.base_name, source.text(name_bytes)?),
        Label::BaseTime => put(&mut record.base_time, source.number()?),
        Label::BaseUnit => put(&mut record.base_unit, source.text(name_bytes)?),
        Label::BaseValue => put(&mut record.base_value, source.number()?),
        Label::BaseSum => put(&mut record.base_sum, source.number()?),
        Label::Version => put(&mut record.version, supported(source.version()?)?),
        Label::BaseContentType | Label::BaseContentTypeRequired => {
            let text = source.text(name_bytes)?;
            let required = label == Label::BaseContentTypeRequired;
            put(&mut record.base_content_type, ContentType { text, required })
        }
    }
}

fn put<T>(place: &mut Option<T>, value: T) -> Result<(), Kind> {
    if place.replace(value).is_some() { Err(Kind::Duplicate) } else { Ok(()) }
}

fn put_value<'a>(record: &mut Record<'a>, value: Value<'a>) -> Result<(), Kind> {
    let kind = std::mem::discriminant(&value);
    match record.value.replace(value) {
        None => Ok(()),
        Some(earlier) if std::mem::discriminant(&earlier) == kind => Err(Kind::Duplicate),
        Some(_) => Err(Kind::SeveralValues),
    }
}

fn supported(version: f64) -> Result<u8, Kind> {
    let known = (1..=VERSION).find(|&known| f64::from(known) == version);
    known.ok_or_else(|| Kind::Version { found: crate::json::number_text(version).into() })
}
