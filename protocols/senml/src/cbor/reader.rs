//! Items of CBOR (RFC 8949) as SenML wants them, on minicbor's decoder.

use super::number;
use super::walk::{Progress, Walk};
use crate::error::Kind;
use crate::limits::Limits;
use crate::member::Source;
use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};
use std::borrow::Cow;

/// Levels that a member's value is in: the pack and the record.
const LEVELS_AROUND_MEMBER: usize = 2;

pub(super) struct Reader<'a> {
    decoder: Decoder<'a>,
    /// Where the decoder's bytes begin in the input, for error texts.
    offset: usize,
    limits: Limits,
}

/// A label as it came.
pub(super) enum Key<'a> {
    Number(i128),
    Text(&'a str),
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], offset: usize, limits: &Limits) -> Self {
        Reader { decoder: Decoder::new(bytes), offset, limits: *limits }
    }

    /// Opens an array, or fails with `otherwise`. `None`: of indefinite length.
    pub(super) fn array(&mut self, otherwise: Kind) -> Result<Option<u64>, Kind> {
        match self.datatype()? {
            Type::Array | Type::ArrayIndef => self.read(Decoder::array),
            _ => Err(otherwise),
        }
    }

    /// Opens a map, or fails with `otherwise`. `None`: of indefinite length.
    pub(super) fn map(&mut self, otherwise: Kind) -> Result<Option<u64>, Kind> {
        match self.datatype()? {
            Type::Map | Type::MapIndef => self.read(Decoder::map),
            _ => Err(otherwise),
        }
    }

    /// Whether a further element follows in an array or map with so many left. Goes past the break
    /// that ends one of indefinite length.
    pub(super) fn another(&mut self, left: &mut Option<u64>) -> Result<bool, Kind> {
        match left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.datatype()? == Type::Break => {
                self.decoder.set_position(self.decoder.position() + 1);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    pub(super) fn key(&mut self) -> Result<Key<'a>, Kind> {
        match self.datatype()? {
            Type::String => self.str(self.limits.name_bytes).map(Key::Text),
            kind if is_integer(kind) => self.read(Decoder::int).map(|number| Key::Number(number.into())),
            _ => Err(self.syntax("an integer or text as label")),
        }
    }

    /// Nothing is left.
    pub(super) fn end(&self) -> Result<(), Kind> {
        let position = self.decoder.position();
        if position == self.decoder.input().len() {
            return Ok(());
        }
        Err(Kind::Trailing { offset: self.offset + position })
    }

    fn str(&mut self, bytes_max: usize) -> Result<&'a str, Kind> {
        let text = self.read(Decoder::str)?;
        if text.len() > bytes_max { Err(Kind::TooLong { limit: bytes_max }) } else { Ok(text) }
    }

    /// The number behind a tag: a decimal fraction or a big number.
    fn tagged_number(&mut self) -> Result<f64, Kind> {
        match self.read(Decoder::tag)?.as_u64() {
            4 => self.decimal_fraction(),
            tag @ (2 | 3) => self.big_number(tag).map(|number| number as f64),
            _ => Err(Kind::WrongType { expected: "a number" }),
        }
    }

    /// RFC 8949 §3.4.4: an array of exponent and mantissa, the value is mantissa * 10^exponent.
    fn decimal_fraction(&mut self) -> Result<f64, Kind> {
        let expected = Kind::WrongType { expected: "a decimal fraction of exponent and mantissa" };
        if self.array(expected.clone())? != Some(2) {
            return Err(expected);
        }
        let exponent = self.integer(expected.clone())?;
        let mantissa = match self.datatype()? {
            Type::Tag => match self.read(Decoder::tag)?.as_u64() {
                tag @ (2 | 3) => self.big_number(tag)?,
                _ => return Err(expected),
            },
            _ => self.integer(expected)?,
        };
        number::decimal(mantissa, exponent)
    }

    fn integer(&mut self, otherwise: Kind) -> Result<i128, Kind> {
        match self.datatype()? {
            kind if is_integer(kind) => self.read(Decoder::int).map(i128::from),
            _ => Err(otherwise),
        }
    }

    fn big_number(&mut self, tag: u64) -> Result<i128, Kind> {
        match self.datatype()? {
            Type::Bytes => number::big(self.read(Decoder::bytes)?, tag == 3),
            _ => Err(Kind::WrongType { expected: "a number" }),
        }
    }

    fn datatype(&mut self) -> Result<Type, Kind> {
        self.read(|decoder| decoder.datatype())
    }

    fn read<T>(&mut self, read: impl FnOnce(&mut Decoder<'a>) -> Result<T, Error>) -> Result<T, Kind> {
        let offset = self.offset + self.decoder.position();
        read(&mut self.decoder).map_err(|error| match error {
            error if error.is_end_of_input() => Kind::Truncated { offset: self.offset + self.length() },
            error if std::error::Error::source(&error).is_some() => Kind::NotUtf8 { offset },
            _ => Kind::Syntax { offset, expected: "an item of CBOR" },
        })
    }

    fn length(&self) -> usize {
        self.decoder.input().len()
    }

    fn wrong_type(&self, found: Type, expected: &'static str) -> Kind {
        match found {
            Type::Unknown(_) | Type::Break => self.syntax("an item of CBOR"),
            _ => Kind::WrongType { expected },
        }
    }

    fn syntax(&self, expected: &'static str) -> Kind {
        Kind::Syntax { offset: self.offset + self.decoder.position(), expected }
    }
}

impl<'a> Source<'a> for Reader<'a> {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn number(&mut self) -> Result<f64, Kind> {
        let number = match self.datatype()? {
            kind if is_integer(kind) => i128::from(self.read(Decoder::int)?) as f64,
            Type::F16 | Type::F32 | Type::F64 => self.read(Decoder::f64)?,
            Type::Tag => self.tagged_number()?,
            other => return Err(self.wrong_type(other, "a number")),
        };
        if number.is_finite() { Ok(number) } else { Err(Kind::NotFinite) }
    }

    fn version(&mut self) -> Result<f64, Kind> {
        match self.datatype()? {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
                self.read(Decoder::u64).map(|number| number as f64)
            }
            other => Err(self.wrong_type(other, "an unsigned integer")),
        }
    }

    fn boolean(&mut self) -> Result<bool, Kind> {
        match self.datatype()? {
            Type::Bool => self.read(Decoder::bool),
            other => Err(self.wrong_type(other, "true or false")),
        }
    }

    fn text(&mut self, bytes_max: usize) -> Result<Cow<'a, str>, Kind> {
        match self.datatype()? {
            Type::String => self.str(bytes_max).map(Cow::Borrowed),
            other => Err(self.wrong_type(other, "a text string of definite length")),
        }
    }

    fn data(&mut self, bytes_max: usize) -> Result<Cow<'a, [u8]>, Kind> {
        let data = match self.datatype()? {
            Type::Bytes => self.read(Decoder::bytes)?,
            other => return Err(self.wrong_type(other, "a byte string of definite length")),
        };
        if data.len() > bytes_max { Err(Kind::TooLong { limit: bytes_max }) } else { Ok(data.into()) }
    }

    fn skip(&mut self) -> Result<(), Kind> {
        let (start, input) = (self.decoder.position(), self.decoder.input());
        let mut walk = Walk::new(self.limits.depth, LEVELS_AROUND_MEMBER);
        match walk.advance(&input[start..], self.offset + start)? {
            Progress::Done(length) => self.decoder.set_position(start + length),
            Progress::NeedsMore => return Err(Kind::Truncated { offset: self.offset + input.len() }),
        }
        Ok(())
    }
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
