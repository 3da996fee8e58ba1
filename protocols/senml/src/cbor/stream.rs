//! SensML streams in CBOR (RFC 8428 §4.8, Content-Format 113): an array, as a rule of indefinite
//! length, whose records arrive one by one.

use super::walk::{Progress, Walk};
use super::{Reader, record};
use crate::error::{Error, Kind};
use crate::limits::Limits;
use crate::pack::Record;
use crate::stream::Pending;

/// Levels that a record is in: the pack.
const LEVELS_AROUND_RECORD: usize = 1;
const BREAK: u8 = 0xff;

/// Decodes a stream of records, fed in pieces of any size. Used like
/// [`json::Stream`](crate::json::Stream).
#[derive(Debug)]
pub struct Stream {
    limits: Limits,
    pending: Pending,
    state: State,
    records: usize,
}

#[derive(Debug, Clone)]
enum State {
    Start,
    /// Between records; so many are left, `None` if a break will tell.
    Between(Option<u64>),
    /// Within a record.
    Within(Option<u64>, Walk),
    Ended,
    /// Nothing behind what failed can be found.
    Failed(Kind),
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
    /// As [`decode`](super::decode). After an error about a member or a whole record the stream goes on
    /// behind that record. An error that hides where the record ends (not well-formed, nested too
    /// deep) comes again in every call.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        let index = self.records;
        let frame = self.next_frame().map_err(|kind| {
            self.state = State::Failed(kind.clone());
            Error::from(kind).in_record(index)
        });
        let Some(length) = frame? else { return Ok(None) };
        self.records += 1;
        let (range, offset) = self.pending.take(length);
        let mut reader = Reader::new(self.pending.get(range), offset, &self.limits);
        record(&mut reader).map(Some).map_err(|error| error.in_record(index))
    }

    /// Whether the end of the array was seen.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended | State::Between(Some(0)))
    }

    /// Says that no more bytes come. A stream of indefinite length may end without its break.
    ///
    /// # Errors
    /// [`Kind::Truncated`] if it ends within a record, before the array, or with records left.
    pub fn finish(self) -> Result<(), Error> {
        let offset = self.pending.offset() + self.pending.rest().len();
        match self.state {
            State::Between(None | Some(0)) | State::Ended => Ok(()),
            State::Start => Err(Kind::Truncated { offset }.into()),
            _ => Err(Error::from(Kind::Truncated { offset }).in_record(self.records)),
        }
    }

    /// Length of the record at the front of what is pending, once all of it is there.
    fn next_frame(&mut self) -> Result<Option<usize>, Kind> {
        loop {
            let offset = self.pending.offset();
            let Some(&byte) = self.pending.rest().first() else { return Ok(None) };
            match &mut self.state {
                State::Start => match self.open()? {
                    Some(left) => self.state = State::Between(left),
                    None => return Ok(None),
                },
                State::Between(None) if byte == BREAK => {
                    self.pending.consume(1);
                    self.state = State::Ended;
                }
                State::Failed(kind) => return Err(kind.clone()),
                State::Between(Some(0)) | State::Ended => return Err(Kind::Trailing { offset }),
                State::Between(left) => {
                    let walk = Walk::new(self.limits.depth, LEVELS_AROUND_RECORD);
                    self.state = State::Within(left.map(|left| left - 1), walk);
                }
                State::Within(left, walk) => {
                    let Progress::Done(length) = walk.advance(self.pending.rest(), offset)? else {
                        return Ok(None);
                    };
                    self.state = State::Between(*left);
                    return Ok(Some(length));
                }
            }
        }
    }

    /// Reads the head of the array. `None`: it is not all there yet.
    fn open(&mut self) -> Result<Option<Option<u64>>, Kind> {
        let rest = self.pending.rest();
        let mut decoder = minicbor::Decoder::new(rest);
        match decoder.array() {
            Ok(left) => {
                let length = decoder.position();
                self.pending.consume(length);
                Ok(Some(left))
            }
            Err(error) if error.is_end_of_input() => Ok(None),
            Err(_) => Err(Kind::NotAPack),
        }
    }
}
