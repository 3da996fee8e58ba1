//! JSON strings: borrowed as they are, or built where they have escapes.

use super::Scanner;
use crate::error::Kind;
use std::borrow::Cow;

impl<'a> Scanner<'a> {
    /// A string of at most `bytes_max` bytes, escapes resolved.
    pub(in crate::json) fn string(
        &mut self,
        expected: &'static str,
        bytes_max: usize,
    ) -> Result<Cow<'a, str>, Kind> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong_type(expected));
        }
        self.next();
        let plain = self.plain_run()?;
        let text = match self.byte() {
            Some(b'"') => Cow::Borrowed(plain),
            _ => Cow::Owned(self.escaped(plain, bytes_max)?),
        };
        self.next();
        if text.len() > bytes_max { Err(Kind::TooLong { limit: bytes_max }) } else { Ok(text) }
    }

    /// Passes over a string, checking it.
    pub(super) fn pass_string(&mut self) -> Result<(), Kind> {
        self.next();
        loop {
            self.plain_run()?;
            if self.byte() == Some(b'"') {
                self.next();
                return Ok(());
            }
            self.escape()?;
        }
    }

    /// Characters up to the next quote or backslash, at which the scanner then stands.
    fn plain_run(&mut self) -> Result<&'a str, Kind> {
        let start = self.position;
        let rest = &self.text.as_bytes()[start..];
        let length = rest.iter().position(|&byte| matches!(byte, b'"' | b'\\' | ..0x20));
        self.position = start + length.unwrap_or(rest.len());
        match self.byte() {
            Some(b'"' | b'\\') => Ok(&self.text[start..self.position]),
            _ => Err(self.syntax("a character of a string")),
        }
    }

    /// The rest of a string whose beginning is `plain`, up to its closing quote.
    fn escaped(&mut self, plain: &str, bytes_max: usize) -> Result<String, Kind> {
        let mut text = plain.to_owned();
        while self.byte() == Some(b'\\') {
            text.push(self.escape()?);
            text.push_str(self.plain_run()?);
            if text.len() > bytes_max {
                return Err(Kind::TooLong { limit: bytes_max });
            }
        }
        Ok(text)
    }

    /// The character of the escape that the scanner stands at.
    fn escape(&mut self) -> Result<char, Kind> {
        self.next();
        let character = match self.byte() {
            Some(quoted @ (b'"' | b'\\' | b'/')) => char::from(quoted),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.next();
                return self.unicode_escape();
            }
            _ => return Err(self.syntax("an escape")),
        };
        self.next();
        Ok(character)
    }

    /// Four hex digits, or twice four with `\u` between for a surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, Kind> {
        let first = self.hex4()?;
        let code = match first {
            0xd800..0xdc00 => {
                if !self.text.as_bytes()[self.position..].starts_with(b"\\u") {
                    return Err(self.syntax("the second half of a surrogate pair"));
                }
                self.position += 2;
                let second = self.hex4()?;
                // A second half out of range gives a code that is no character.
                let low = second.checked_sub(0xdc00).filter(|&low| low < 0x400);
                low.map(|low| 0x1_0000 + ((first - 0xd800) << 10 | low))
            }
            code => Some(code),
        };
        code.and_then(char::from_u32).ok_or_else(|| self.syntax("a surrogate pair"))
    }

    fn hex4(&mut self) -> Result<u32, Kind> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| char::from(byte).to_digit(16));
            code = code << 4 | digit.ok_or_else(|| self.syntax("a hex digit"))?;
            self.next();
        }
        Ok(code)
    }
}
