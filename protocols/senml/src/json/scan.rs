//! A reader of JSON text (RFC 8259) that goes forward once, byte by byte, without recursion.
//!
//! Invariant: `position` stands at a character boundary of `text` outside of strings.

use crate::error::Kind;
use crate::limits::Limits;
use std::borrow::Cow;

mod string;

/// Levels that a member's value is in: the pack and the record.
const LEVELS_AROUND_MEMBER: usize = 2;

pub(super) struct Scanner<'a> {
    text: &'a str,
    position: usize,
    /// Where `text` begins in the input, for error texts.
    offset: usize,
    limits: Limits,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8], offset: usize, limits: &Limits) -> Result<Self, Kind> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Kind::NotUtf8 { offset: offset + error.valid_up_to() })?;
        Ok(Scanner { text, position: 0, offset, limits: *limits })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    /// The next byte that is not white space, left in place.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.byte() {
            self.position += 1;
        }
        self.byte()
    }

    /// Goes past the byte that was peeked.
    pub(super) fn next(&mut self) {
        self.position += 1;
    }

    /// Goes past `wanted` if it comes next.
    pub(super) fn eat(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }

    /// After an element: whether another follows, or `close` ended the list.
    pub(super) fn another(&mut self, close: u8, expected: &'static str) -> Result<bool, Kind> {
        match self.peek() {
            Some(b',') => self.next(),
            Some(byte) if byte == close => {
                self.next();
                return Ok(false);
            }
            _ => return Err(self.syntax(expected)),
        }
        Ok(true)
    }

    /// Nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), Kind> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Kind::Trailing { offset: self.offset + self.position }),
        }
    }

    /// A label and its colon.
    pub(super) fn label(&mut self) -> Result<Cow<'a, str>, Kind> {
        if self.peek() != Some(b'"') {
            return Err(self.syntax("a label"));
        }
        let label = self.string("a label", self.limits.name_bytes)?;
        if self.eat(b':') { Ok(label) } else { Err(self.syntax("':'")) }
    }

    pub(super) fn number(&mut self) -> Result<f64, Kind> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => {}
            _ => return Err(self.wrong_type("a number")),
        }
        let start = self.position;
        self.pass_number()?;
        // The grammar of JSON numbers is a part of what `f64` parses, to the nearest double.
        let number: f64 = self.text[start..self.position].parse().map_err(|_| self.syntax("a number"))?;
        if number.is_finite() { Ok(number) } else { Err(Kind::NotFinite) }
    }

    fn pass_number(&mut self) -> Result<(), Kind> {
        if self.byte() == Some(b'-') {
            self.position += 1;
        }
        match self.byte() {
            Some(b'0') => self.position += 1,
            _ => self.pass_digits()?,
        }
        if self.byte() == Some(b'.') {
            self.position += 1;
            self.pass_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.position += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.position += 1;
            }
            self.pass_digits()?;
        }
        Ok(())
    }

    fn pass_digits(&mut self) -> Result<(), Kind> {
        let rest = &self.text.as_bytes()[self.position..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(self.syntax("a digit"));
        }
        self.position += digits;
        Ok(())
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Kind> {
        match self.peek() {
            Some(b't') => self.pass_word("true").map(|()| true),
            Some(b'f') => self.pass_word("false").map(|()| false),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    fn pass_word(&mut self, word: &'static str) -> Result<(), Kind> {
        if !self.text.as_bytes()[self.position..].starts_with(word.as_bytes()) {
            return Err(self.syntax("a value"));
        }
        self.position += word.len();
        Ok(())
    }

    /// Passes over a value of any type. Open arrays and objects are kept in a list of at most
    /// `limits.depth` closing brackets.
    pub(super) fn skip(&mut self) -> Result<(), Kind> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            let opened = self.skip_scalar_or_open(&mut open)?;
            if opened && !self.eat(open[open.len() - 1]) {
                self.skip_label(&open)?;
                continue;
            }
            if opened {
                open.pop();
            }
            if !self.skip_closed(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Passes a scalar, or the bracket that opens an array or object. True: a bracket.
    fn skip_scalar_or_open(&mut self, open: &mut Vec<u8>) -> Result<bool, Kind> {
        match self.peek() {
            Some(b'"') => self.pass_string()?,
            Some(b'-' | b'0'..=b'9') => self.pass_number()?,
            Some(b't') => self.pass_word("true")?,
            Some(b'f') => self.pass_word("false")?,
            Some(b'n') => self.pass_word("null")?,
            Some(bracket @ (b'[' | b'{')) => {
                if open.len() + LEVELS_AROUND_MEMBER >= self.limits.depth {
                    return Err(Kind::TooDeep { limit: self.limits.depth });
                }
                self.next();
                open.push(if bracket == b'[' { b']' } else { b'}' });
                return Ok(true);
            }
            _ => return Err(self.syntax("a value")),
        }
        Ok(false)
    }

    /// In an object, passes the label before the next value.
    fn skip_label(&mut self, open: &[u8]) -> Result<(), Kind> {
        if open.last() != Some(&b'}') {
            return Ok(());
        }
        if self.peek() != Some(b'"') {
            return Err(self.syntax("a label"));
        }
        self.pass_string()?;
        if self.eat(b':') { Ok(()) } else { Err(self.syntax("':'")) }
    }

    /// After a value: closes what ends here. True: a further value follows.
    fn skip_closed(&mut self, open: &mut Vec<u8>) -> Result<bool, Kind> {
        while let Some(&close) = open.last() {
            if self.another(close, "',' or a closing bracket")? {
                self.skip_label(open)?;
                return Ok(true);
            }
            open.pop();
        }
        Ok(false)
    }

    /// `kind` if a value comes next, otherwise that it is no JSON.
    pub(super) fn unless_value(&mut self, kind: Kind) -> Kind {
        match self.peek() {
            Some(b'"' | b'-' | b'0'..=b'9' | b'[' | b'{' | b't' | b'f' | b'n') => kind,
            _ => self.syntax("a value"),
        }
    }

    fn wrong_type(&mut self, expected: &'static str) -> Kind {
        self.unless_value(Kind::WrongType { expected })
    }

    pub(super) fn syntax(&self, expected: &'static str) -> Kind {
        let offset = self.offset + self.position;
        match self.byte() {
            Some(_) => Kind::Syntax { offset, expected },
            None => Kind::Truncated { offset },
        }
    }
}

#[cfg(test)]
mod tests;
