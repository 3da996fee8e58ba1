//! Walking the options of a raw message (RFC 7252 §3.1) without copying.

use crate::Token;

/// The option numbers this crate knows.
pub(crate) mod number {
    pub(crate) const URI_HOST: u16 = 3;
    pub(crate) const URI_PORT: u16 = 7;
    pub(crate) const URI_PATH: u16 = 11;
    pub(crate) const CONTENT_FORMAT: u16 = 12;
    pub(crate) const URI_QUERY: u16 = 15;
    pub(crate) const ACCEPT: u16 = 17;
    pub(crate) const BLOCK2: u16 = 23;
    pub(crate) const BLOCK1: u16 = 27;
    pub(crate) const PROXY_URI: u16 = 35;
    pub(crate) const PROXY_SCHEME: u16 = 39;
    pub(crate) const NO_RESPONSE: u16 = 258;
    pub(crate) const REQUEST_TAG: u16 = 292;
}

/// A message format error (RFC 7252 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A cursor over the options; at its end the rest is the payload.
pub(crate) struct Options<'a> {
    token: Token,
    rest: &'a [u8],
    number: u16,
}

impl<'a> Options<'a> {
    /// Starts behind the token of a datagram of at least four bytes.
    pub(crate) fn new(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let token_end = 4 + usize::from(datagram.first().ok_or(Malformed)? & 0x0f);
        let token = datagram.get(4..token_end).and_then(Token::new).ok_or(Malformed)?;
        Ok(Self { token, rest: &datagram[token_end..], number: 0 })
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// The payload, once [`next`](Self::next) has returned `None`.
    #[cfg(test)]
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.rest
    }

    /// The next option's number and value; `None` at the payload marker or the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u16, &'a [u8])>, Malformed> {
        let Some((&first, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        if first == 0xff {
            return if rest.is_empty() { Err(Malformed) } else { Ok(None) };
        }
        let delta = self.extended(first >> 4)?;
        let length = usize::from(self.extended(first & 0x0f)?);
        self.number = self.number.checked_add(delta).ok_or(Malformed)?;
        let (value, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(Some((self.number, value)))
    }

    /// Resolves a nibble: 13 means one more byte, 14 two more, 15 is reserved.
    fn extended(&mut self, nibble: u8) -> Result<u16, Malformed> {
        match nibble {
            0..=12 => Ok(u16::from(nibble)),
            13 => self.take().map(|[byte]| u16::from(byte) + 13),
            14 => u16::from_be_bytes(self.take()?).checked_add(269).ok_or(Malformed),
            _ => Err(Malformed),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Reads an option value of format uint (RFC 7252 §3.2); `None` beyond four bytes.
pub(crate) fn uint(value: &[u8]) -> Option<u32> {
    (value.len() <= 4).then(|| value.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
}
