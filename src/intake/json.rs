//! JSON text (RFC 8259) to a [`Document`].
//!
//! `serde_json` reads, the tape is filled from its callbacks: no tree in between. Numbers beyond a double
//! (`1e999`), repeated members, bytes after the document and nesting beyond [`DEPTH_MAX`] are refused;
//! the reader never recurses deeper than that.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::model::Reason;

use super::document::{Document, Entry, Number, Tape};
use super::limits::DEPTH_MAX;
use super::rejection::Rejection;

/// Decodes `bytes`; texts borrow from them where they stand there without escapes.
///
/// # Errors
/// [`Reason::Malformed`], with the place in the text.
pub fn decode(bytes: &[u8]) -> Result<Document<'_>, Rejection> {
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(not_utf8(error)))?;
    let mut tape = Tape::for_bytes(text.len());
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Value { tape: &mut tape, depth: 0 };
    value.deserialize(&mut reader).and_then(|()| reader.end()).map_err(|error| malformed(place(&error)))?;
    Ok(tape.finish())
}

fn malformed(text: String) -> Rejection {
    Rejection::new(Reason::Malformed, text)
}

fn not_utf8(error: std::str::Utf8Error) -> String {
    format!("not UTF-8 at byte {}", error.valid_up_to())
}

/// The error's text; the line only where the document has several (that of an NDJSON body has one).
fn place(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let text = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    if line > 1 {
        format!("{text} at line {line} column {column}")
    } else {
        format!("{text} at column {column}")
    }
}

/// Reads one value onto the tape.
struct Value<'t, 'de> {
    tape: &'t mut Tape<'de>,
    depth: usize,
}

impl<'de> Value<'_, 'de> {
    fn scalar<E: serde::de::Error>(self, entry: Entry<'de>) -> Result<(), E> {
        self.tape.scalar(entry).map_err(E::custom)
    }

    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.scalar(Entry::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(Entry::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(Entry::Number(Number::Integer(value)))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        let number = i64::try_from(value).map_or(Number::Double(value as f64), Number::Integer);
        self.scalar(Entry::Number(number))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.tape.double(value).map_err(E::custom)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<(), E> {
        self.scalar(Entry::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.scalar(Entry::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let open = self.tape.open().map_err(A::Error::custom)?;
        let mut len = 0;
        while elements.next_element_seed(Value { tape: &mut *self.tape, depth })?.is_some() {
            len += 1;
        }
        self.tape.close_array(open, len);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let open = self.tape.open().map_err(A::Error::custom)?;
        let mut len = 0;
        while members.next_key_seed(Value { tape: &mut *self.tape, depth })?.is_some() {
            members.next_value_seed(Value { tape: &mut *self.tape, depth })?;
            len += 1;
        }
        self.tape.close_object(open, len).map_err(A::Error::custom)
    }
}
