//! SenML in JSON (RFC 8428 §5): `application/senml+json`, and SensML streams of it.
//!
//! The reader is our own, over the bytes, without a tree: it borrows strings, stops at limits,
//! never recurses and knows where it is when something is wrong. It takes the JSON of RFC 8259,
//! also an `E` in capital, which §5 asks of senders not to write.

use crate::error::{Error, Kind};
use crate::limits::Limits;
use crate::member::{self, Source};
use crate::pack::{Pack, Record};

mod scan;
mod stream;
mod write;

use scan::Scanner;

pub use stream::Stream;
pub use write::encode;
pub(crate) use write::number_text;

/// Bytes of a record, to reserve memory by.
const USUAL_RECORD_BYTES: usize = 40;

/// Decodes a pack. Strings of the pack borrow from `bytes` where they have no escapes.
///
/// # Errors
/// What is not JSON, not SenML, or beyond the limits. Rules that span records are checked by
/// [`Pack::resolve`].
pub fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Pack<'a>, Error> {
    if bytes.len() > limits.bytes {
        return Err(Kind::TooManyBytes { limit: limits.bytes }.into());
    }
    let mut scanner = Scanner::new(bytes, 0, limits)?;
    if scanner.peek() != Some(b'[') {
        return Err(scanner.unless_value(Kind::NotAPack).into());
    }
    scanner.next();
    let mut records = Vec::with_capacity((bytes.len() / USUAL_RECORD_BYTES + 1).min(limits.records));
    let mut more = !scanner.eat(b']');
    while more {
        let index = records.len();
        if index == limits.records {
            return Err(Kind::TooManyRecords { limit: limits.records }.into());
        }
        records.push(record(&mut scanner).map_err(|error| error.in_record(index))?);
        more = scanner.another(b']', "',' or ']'").map_err(|kind| Error::from(kind).in_record(index))?;
    }
    scanner.end()?;
    if records.is_empty() { Err(Kind::EmptyPack.into()) } else { Ok(Pack { records }) }
}

/// Reads the record that the scanner stands before.
fn record<'a>(scanner: &mut Scanner<'a>) -> Result<Record<'a>, Error> {
    if scanner.peek() != Some(b'{') {
        return Err(scanner.unless_value(Kind::NotARecord).into());
    }
    scanner.next();
    let mut record = Record::default();
    let mut more = !scanner.eat(b'}');
    while more {
        let label = scanner.label()?;
        let read = member::read_text_label(&mut record, &label, scanner);
        read.map_err(|kind| Error::of_member(label.into_owned(), kind))?;
        more = scanner.another(b'}', "',' or '}'")?;
    }
    record.check_has_value()?;
    Ok(record)
}

impl<'a> Source<'a> for Scanner<'a> {
    fn limits(&self) -> &Limits {
        Scanner::limits(self)
    }

    fn number(&mut self) -> Result<f64, Kind> {
        Scanner::number(self)
    }

    fn version(&mut self) -> Result<f64, Kind> {
        Scanner::number(self)
    }

    fn boolean(&mut self) -> Result<bool, Kind> {
        Scanner::boolean(self)
    }

    fn text(&mut self, bytes_max: usize) -> Result<std::borrow::Cow<'a, str>, Kind> {
        self.string("a string", bytes_max)
    }

    fn data(&mut self, bytes_max: usize) -> Result<std::borrow::Cow<'a, [u8]>, Kind> {
        let text = self.string("a string in base64url", bytes_max.saturating_mul(4).div_ceil(3))?;
        let data = crate::base64::decode(text.as_bytes()).ok_or(Kind::NotBase64Url)?;
        Ok(data.into())
    }

    fn skip(&mut self) -> Result<(), Kind> {
        Scanner::skip(self)
    }
}
