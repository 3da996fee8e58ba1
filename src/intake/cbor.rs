//! CBOR (RFC 8949) to a [`Document`]: what the data means as JSON (section 6.1).
//!
//! Tags are passed over, integer keys become names (`{1: 22.5}` has the member `1`), `undefined` is null,
//! byte strings become base64url. Nothing is allocated for a length the payload merely claims: every entry
//! is read before it is counted, so a length bomb ends at the last byte.

use std::borrow::Cow;

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};

use crate::model::Reason;

use super::base64url;
use super::document::{Document, Entry, Number, Tape, TapeError};
use super::limits::DEPTH_MAX;
use super::rejection::Rejection;

/// Decodes `bytes`; texts borrow from them where they are in one piece.
///
/// # Errors
/// [`Reason::Malformed`], with the byte position.
pub fn decode(bytes: &[u8]) -> Result<Document<'_>, Rejection> {
    let mut reader = Reader { input: Decoder::new(bytes), tape: Tape::for_bytes(bytes.len()) };
    let read = reader.value(0);
    let at = reader.input.position();
    read.map_err(|fault| fault.rejection(at))?;
    if at < bytes.len() {
        let text = format!("unexpected bytes after the value, at byte {at}");
        return Err(Rejection::new(Reason::Malformed, text));
    }
    Ok(reader.tape.finish())
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Cbor(#[from] Error),
    #[error("{0}")]
    Tape(#[from] TapeError),
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    #[error("{0} has no meaning here")]
    Unexpected(Type),
    #[error("a map key is neither a text nor an integer")]
    Key,
}

impl Fault {
    fn rejection(self, at: usize) -> Rejection {
        let text = match &self {
            Self::Cbor(error) if error.is_end_of_input() => format!("input ends too early, at byte {at}"),
            Self::Cbor(error) => format!("not CBOR at byte {}: {error}", error.position().unwrap_or(at)),
            _ => format!("{self}, at byte {at}"),
        };
        Rejection::new(Reason::Malformed, text)
    }
}

struct Reader<'a> {
    input: Decoder<'a>,
    tape: Tape<'a>,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.input.datatype()? {
            Type::Array | Type::ArrayIndef => self.array(depth),
            Type::Map | Type::MapIndef => self.map(depth),
            Type::Tag => {
                self.input.tag()?;
                self.value(deeper(depth)?)
            }
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) -> Result<(), Fault> {
        let entry = match self.input.datatype()? {
            Type::Bool => Entry::Bool(self.input.bool()?),
            Type::Null => {
                self.input.null()?;
                Entry::Null
            }
            Type::Undefined => {
                self.input.undefined()?;
                Entry::Null
            }
            Type::F16 | Type::F32 | Type::F64 => {
                let value = self.input.f64()?;
                return Ok(self.tape.double(value)?);
            }
            Type::String | Type::StringIndef => Entry::Text(self.text()?),
            Type::Bytes | Type::BytesIndef => Entry::Text(Cow::Owned(self.bytes()?)),
            kind if is_integer(kind) => Entry::Number(self.integer()?),
            kind => return Err(Fault::Unexpected(kind)),
        };
        Ok(self.tape.scalar(entry)?)
    }

    fn integer(&mut self) -> Result<Number, Fault> {
        let value = i128::from(self.input.int()?);
        Ok(i64::try_from(value).map_or(Number::Double(value as f64), Number::Integer))
    }

    fn text(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.input.datatype()? == Type::String {
            return Ok(Cow::Borrowed(self.input.str()?));
        }
        let mut text = String::new();
        for chunk in self.input.str_iter()? {
            text.push_str(chunk?);
        }
        Ok(Cow::Owned(text))
    }

    fn bytes(&mut self) -> Result<String, Fault> {
        let mut bytes = Vec::new();
        for chunk in self.input.bytes_iter()? {
            bytes.extend_from_slice(chunk?);
        }
        Ok(base64url::encode(&bytes))
    }

    fn array(&mut self, depth: usize) -> Result<(), Fault> {
        let depth = deeper(depth)?;
        let claimed = self.input.array()?;
        let open = self.tape.open()?;
        let mut len = 0;
        while self.has_more(claimed, len)? {
            self.value(depth)?;
            len += 1;
        }
        self.tape.close_array(open, len);
        Ok(())
    }

    fn map(&mut self, depth: usize) -> Result<(), Fault> {
        let depth = deeper(depth)?;
        let claimed = self.input.map()?;
        let open = self.tape.open()?;
        let mut len = 0;
        while self.has_more(claimed, len)? {
            let name = self.key()?;
            self.tape.scalar(Entry::Text(name))?;
            self.value(depth)?;
            len += 1;
        }
        Ok(self.tape.close_object(open, len)?)
    }

    fn key(&mut self) -> Result<Cow<'a, str>, Fault> {
        match self.input.datatype()? {
            Type::String | Type::StringIndef => self.text(),
            kind if is_integer(kind) => Ok(Cow::Owned(self.input.int()?.to_string())),
            _ => Err(Fault::Key),
        }
    }

    /// Whether another element follows the `len` read so far; takes the break of an indefinite length.
    fn has_more(&mut self, claimed: Option<u64>, len: usize) -> Result<bool, Fault> {
        if let Some(claimed) = claimed {
            return Ok((len as u64) < claimed);
        }
        let ends = self.input.datatype()? == Type::Break;
        if ends {
            self.input.set_position(self.input.position() + 1);
        }
        Ok(!ends)
    }
}

fn deeper(depth: usize) -> Result<usize, Fault> {
    if depth == DEPTH_MAX { Err(Fault::TooDeep) } else { Ok(depth + 1) }
}

fn is_integer(kind: Type) -> bool {
    matches!(
        kind,
        Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int
    )
}
