//! Bytes of a stream that no record was made of yet. Shared by the two stream decoders.

use crate::error::{Error, Kind};
use std::ops::Range;

/// A buffer that grows at its end and is consumed from its front.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    /// Bytes at the front that are done with.
    consumed: usize,
    /// Bytes of the stream that were dropped from the front before.
    dropped: usize,
}

impl Pending {
    /// Appends bytes, unless more than `bytes_max` would be held.
    pub(crate) fn push(&mut self, bytes: &[u8], bytes_max: usize) -> Result<(), Error> {
        self.bytes.drain(..self.consumed);
        self.dropped += self.consumed;
        self.consumed = 0;
        if self.bytes.len() + bytes.len() > bytes_max {
            return Err(Kind::TooManyBytes { limit: bytes_max }.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.consumed..]
    }

    /// Position of the rest in the stream.
    pub(crate) fn offset(&self) -> usize {
        self.dropped + self.consumed
    }

    pub(crate) fn consume(&mut self, length: usize) {
        self.consumed += length;
    }

    /// Consumes a part of the rest and gives the range of it for [`Pending::get`], with its position.
    pub(crate) fn take(&mut self, length: usize) -> (Range<usize>, usize) {
        let (start, offset) = (self.consumed, self.offset());
        self.consumed += length;
        (start..self.consumed, offset)
    }

    pub(crate) fn get(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
}
