//! SenML in CBOR (RFC 8428 §6): `application/senml+cbor`, and SensML streams of it.
//!
//! Labels may be the integers of Table 4 or text. Numbers may be integers, floats of any width,
//! decimal fractions (tag 4) and big numbers up to 128 bits (tags 2 and 3). Strings have definite
//! lengths, as §6 says; arrays and maps may be of either kind.

use crate::error::{Error, Kind};
use crate::label::Label;
use crate::limits::Limits;
use crate::member::{self, Source};
use crate::pack::{Pack, Record};

mod number;
mod reader;
mod stream;
mod walk;
mod write;

use reader::{Key, Reader};

pub use stream::Stream;
pub use write::encode;

/// Bytes of a record, to reserve memory by: never by the length that the input claims.
const USUAL_RECORD_BYTES: usize = 16;

/// Decodes a pack. Strings and data of the pack borrow from `bytes`.
///
/// # Errors
/// What is not CBOR, not SenML, or beyond the limits. Rules that span records are checked by
/// [`Pack::resolve`].
pub fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Pack<'a>, Error> {
    if bytes.len() > limits.bytes {
        return Err(Kind::TooManyBytes { limit: limits.bytes }.into());
    }
    let too_many = Kind::TooManyRecords { limit: limits.records };
    let mut reader = Reader::new(bytes, 0, limits);
    let mut left = reader.array(Kind::NotAPack)?;
    if left.is_some_and(|records| records > limits.records as u64) {
        return Err(too_many.into());
    }
    let mut records = Vec::with_capacity((bytes.len() / USUAL_RECORD_BYTES + 1).min(limits.records));
    while reader.another(&mut left)? {
        let index = records.len();
        if index == limits.records {
            return Err(too_many.into());
        }
        records.push(record(&mut reader).map_err(|error| error.in_record(index))?);
    }
    reader.end()?;
    if records.is_empty() { Err(Kind::EmptyPack.into()) } else { Ok(Pack { records }) }
}

/// Reads the record that the reader stands before.
fn record<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, Error> {
    let mut left = reader.map(Kind::NotARecord)?;
    let mut record = Record::default();
    while reader.another(&mut left)? {
        match reader.key()? {
            Key::Text(label) => member::read_text_label(&mut record, label, reader)
                .map_err(|kind| Error::of_member(label.to_owned(), kind))?,
            Key::Number(number) => match Label::from_number(number) {
                Some(label) => member::read(&mut record, label, reader)
                    .map_err(|kind| Error::of_member(label.text(), kind))?,
                None => reader.skip().map_err(|kind| Error::of_member(number.to_string(), kind))?,
            },
        }
    }
    record.check_has_value()?;
    Ok(record)
}
