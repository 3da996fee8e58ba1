//! Packs to CBOR: integer labels, shortest numbers, definite lengths (RFC 8428 §6). Members come in
//! the order of the example of §6.

use super::number::fits_half;
use crate::error::{Error, Kind};
use crate::label::Label;
use crate::pack::{ContentType, Pack, Record, Value};
use minicbor::encode::Encoder;
use std::convert::Infallible;

type Written<T = ()> = Result<T, minicbor::encode::Error<Infallible>>;

/// Integers up to here are the same in a double.
const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// Encodes a pack, resolved or not, with a definite length.
///
/// # Errors
/// [`Kind::NotFinite`] where a number of the pack is not finite, as in JSON.
pub fn encode(pack: &Pack<'_>) -> Result<Vec<u8>, Error> {
    let mut encoder = Encoder::new(Vec::with_capacity(2 + pack.records.len() * 48));
    infallible(encoder.array(pack.records.len() as u64).map(drop));
    for (index, record) in pack.records.iter().enumerate() {
        let members = members(record);
        if let Some((label, _)) = members.iter().find(|(_, item)| !item.is_finite()) {
            return Err(Error::of_member(label.text(), Kind::NotFinite).in_record(index));
        }
        infallible(write_members(&mut encoder, &members));
    }
    Ok(encoder.into_writer())
}

/// What a member holds, as CBOR sees it.
enum Item<'r> {
    Number(f64),
    Text(&'r str),
    Bool(bool),
    Data(&'r [u8]),
}

fn members<'r>(record: &'r Record<'_>) -> Vec<(Label, Item<'r>)> {
    let number = |label, number: Option<f64>| number.map(|number| (label, Item::Number(number)));
    let text = |label, text: &'r Option<_>| text.as_deref().map(|text| (label, Item::Text(text)));
    let content_type = |content_type: &'r Option<ContentType<'_>>, plain, required| {
        let with_label =
            |it: &'r ContentType<'_>| (if it.required { required } else { plain }, Item::Text(&it.text));
        content_type.as_ref().map(with_label)
    };
    let all = [
        text(Label::BaseName, &record.base_name),
        number(Label::BaseTime, record.base_time),
        text(Label::BaseUnit, &record.base_unit),
        number(Label::BaseValue, record.base_value),
        number(Label::BaseSum, record.base_sum),
        number(Label::Version, record.version.map(f64::from)),
        content_type(&record.base_content_type, Label::BaseContentType, Label::BaseContentTypeRequired),
        text(Label::Name, &record.name),
        text(Label::Unit, &record.unit),
        number(Label::Time, record.time),
        record.value.as_ref().map(value),
        number(Label::Sum, record.sum),
        number(Label::UpdateTime, record.update_time),
        content_type(&record.content_type, Label::ContentType, Label::ContentTypeRequired),
    ];
    all.into_iter().flatten().collect()
}

fn value<'r>(value: &'r Value<'_>) -> (Label, Item<'r>) {
    match value {
        Value::Number(number) => (Label::Value, Item::Number(*number)),
        Value::Text(text) => (Label::StringValue, Item::Text(text)),
        Value::Bool(bool) => (Label::BooleanValue, Item::Bool(*bool)),
        Value::Data(data) => (Label::DataValue, Item::Data(data)),
    }
}

fn write_members(encoder: &mut Encoder<Vec<u8>>, members: &[(Label, Item<'_>)]) -> Written {
    encoder.map(members.len() as u64)?;
    for (label, item) in members {
        match label.number() {
            Some(number) => encoder.i8(number)?,
            None => encoder.str(label.text())?,
        };
        match item {
            Item::Number(number) => write_number(encoder, *number)?,
            Item::Text(text) => encoder.str(text).map(drop)?,
            Item::Bool(bool) => encoder.bool(*bool).map(drop)?,
            Item::Data(data) => encoder.bytes(data).map(drop)?,
        }
    }
    Ok(())
}

/// An integer where it is one, else the shortest float of the same value.
fn write_number(encoder: &mut Encoder<Vec<u8>>, number: f64) -> Written {
    let single = number as f32;
    let is_negative_zero = number == 0.0 && number.is_sign_negative();
    if number.fract() == 0.0 && number.abs() <= EXACT_INTEGER_MAX && !is_negative_zero {
        encoder.i64(number as i64)?;
    } else if f64::from(single) != number {
        encoder.f64(number)?;
    } else if fits_half(single) {
        encoder.f16(single)?;
    } else {
        encoder.f32(single)?;
    }
    Ok(())
}

impl Item<'_> {
    fn is_finite(&self) -> bool {
        match self {
            Item::Number(number) => number.is_finite(),
            _ => true,
        }
    }
}

fn infallible(written: Written) {
    written.expect("writing to a Vec does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let table: [(f64, &[u8]); 9] = [
            (0.0, &[0x00]),
            (-0.0, &[0xf9, 0x80, 0x00]),
            (-5.0, &[0x24]),
            (1_320_067_464.0, &[0x1a, 0x4e, 0xae, 0xa1, 0x88]),
            (1.5, &[0xf9, 0x3e, 0x00]),
            (100_000.5, &[0xfa, 0x47, 0xc3, 0x50, 0x40]),
            (1.2, &[0xfb, 0x3f, 0xf3, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]),
            (1e300, &[0xfb, 0x7e, 0x37, 0xe4, 0x3c, 0x88, 0x00, 0x75, 0x9c]),
            (9_007_199_254_740_992.0, &[0x1b, 0x00, 0x20, 0, 0, 0, 0, 0, 0]),
        ];
        for (number, want) in table {
            let mut encoder = Encoder::new(Vec::new());
            infallible(write_number(&mut encoder, number));
            assert_eq!(encoder.into_writer(), want, "{number}");
        }
    }

    #[test]
    fn refuses_numbers_that_are_not_finite() {
        let record = Record { base_time: Some(f64::INFINITY), ..Record::default() };
        let error = encode(&Pack { records: vec![record] }).expect_err("infinity");
        assert_eq!(error.to_string(), r#"record 0: "bt": not a finite number"#);
    }
}
