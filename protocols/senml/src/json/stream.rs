//! SensML streams in JSON (RFC 8428 §4.8, Content-Format 111): an array that may never end.
//!
//! A record is cut out as soon as its closing brace is there, by a scan that goes over each byte
//! once however the stream is chopped; the scanner for packs then reads it.

use super::{Scanner, record};
use crate::error::{Error, Kind};
use crate::limits::Limits;
use crate::pack::Record;
use crate::stream::Pending;

/// Decodes a stream of records, fed in pieces of any size.
///
/// ```
/// use senml::{Limits, json};
/// let mut stream = json::Stream::new(Limits::default());
/// stream.feed(br#"[{"n":"a","v":1},{"n":"#)?;
/// assert!(stream.next_record()?.is_some());
/// assert!(stream.next_record()?.is_none());
/// stream.feed(br#""b","v":2}"#)?;
/// assert_eq!(stream.next_record()?.and_then(|record| record.name).as_deref(), Some("b"));
/// # Ok::<(), senml::Error>(())
/// ```
#[derive(Debug)]
pub struct Stream {
    limits: Limits,
    pending: Pending,
    state: State,
    records: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Start,
    /// After the opening bracket.
    Opened,
    /// After a comma.
    Comma,
    /// Within a record.
    Within(Frame),
    /// After a record.
    After,
    Ended,
}

/// How far a record was scanned for its end.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    scanned: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Stream {
    /// A stream before its first byte. `limits.bytes` bounds what is held between records.
    pub fn new(limits: Limits) -> Self {
        Stream { limits, pending: Pending::default(), state: State::Start, records: 0 }
    }

    /// Takes the next piece of the stream.
    ///
    /// # Errors
    /// [`Kind::TooManyBytes`] if more bytes than the limit would wait; nothing is taken then.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.pending.push(bytes, self.limits.bytes)
    }

    /// The next record. `None`: more bytes are needed, or the stream has ended.
    ///
    /// # Errors
    /// As [`decode`](super::decode). After an error within a record the stream goes on behind that
    /// record. An error between records comes again in every call.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        let index = self.records;
        let Some(length) = self.next_frame().map_err(|kind| Error::from(kind).in_record(index))? else {
            return Ok(None);
        };
        self.records += 1;
        self.state = State::After;
        let (range, offset) = self.pending.take(length);
        let in_record = |error: Error| error.in_record(index);
        let scanner = Scanner::new(self.pending.get(range), offset, &self.limits);
        record(&mut scanner.map_err(|kind| in_record(kind.into()))?).map(Some).map_err(in_record)
    }

    /// Whether the closing bracket was seen.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Says that no more bytes come. A stream may end without its closing bracket.
    ///
    /// # Errors
    /// [`Kind::Truncated`] if it ends within a record or before the first bracket.
    pub fn finish(self) -> Result<(), Error> {
        let offset = self.pending.offset() + self.pending.rest().len();
        match self.state {
            State::Within(_) => Err(Error::from(Kind::Truncated { offset }).in_record(self.records)),
            State::Start => Err(Kind::Truncated { offset }.into()),
            _ => Ok(()),
        }
    }

    /// Length of the record at the front of what is pending, once all of it is there.
    fn next_frame(&mut self) -> Result<Option<usize>, Kind> {
        loop {
            if let State::Within(mut frame) = self.state {
                let end = frame.advance(self.pending.rest());
                self.state = State::Within(frame);
                return Ok(end);
            }
            let Some(&byte) = self.pending.rest().first() else { return Ok(None) };
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                self.state = self.next_state(byte)?;
            }
            if !matches!(self.state, State::Within(_)) {
                self.pending.consume(1);
            }
        }
    }

    fn next_state(&self, byte: u8) -> Result<State, Kind> {
        let offset = self.pending.offset();
        match (self.state, byte) {
            (State::Start, b'[') => Ok(State::Opened),
            (State::Start, _) => Err(Kind::NotAPack),
            (State::Opened | State::Comma, b'{') => Ok(State::Within(Frame::default())),
            (State::Opened | State::After, b']') => Ok(State::Ended),
            (State::After, b',') => Ok(State::Comma),
            (State::After, _) => Err(Kind::Syntax { offset, expected: "',' or ']'" }),
            (State::Ended, _) => Err(Kind::Trailing { offset }),
            _ => Err(Kind::Syntax { offset, expected: "a record" }),
        }
    }
}

impl Frame {
    /// Scans on; the length of the record if its last brace is there.
    fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        for &byte in &bytes[self.scanned..] {
            self.scanned += 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(self.scanned);
                    }
                }
                _ => {}
            }
        }
        None
    }
}
