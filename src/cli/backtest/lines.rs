//! The lines of an input, cut out of large reads without copying: the first step of a backtest.

use std::io::{self, Read};

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memrchr};

use crate::model::dead_letter::KEPT_BYTES_MAX;

/// Longest line taken: as much as a listener can be told to take in one message.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// Bytes asked for at once.
const READ_BYTES: usize = 256 << 10;

/// One line without its end.
#[derive(Debug, PartialEq)]
pub struct Line {
    /// Its number from 1; blank lines count, but are left out.
    pub number: u64,
    /// The line. At most its beginning where it is longer than [`LINE_BYTES_MAX`].
    pub payload: Bytes,
    /// Its length.
    pub length_bytes: u64,
}

/// Reads lines; the last one need not be ended.
pub struct Lines<R> {
    reader: R,
    /// Whole lines that have been read.
    whole: Bytes,
    /// The beginning of the next line.
    rest: BytesMut,
    /// How much of `rest` is known to hold no line's end.
    searched: usize,
    /// The number of the line before.
    number: u64,
    line_bytes_max: usize,
}

impl<R: Read> Lines<R> {
    /// Reads the lines of `reader`.
    pub fn new(reader: R) -> Self {
        let (whole, rest) = (Bytes::new(), BytesMut::new());
        Self { reader, whole, rest, searched: 0, number: 0, line_bytes_max: LINE_BYTES_MAX }
    }

    /// The next line that is not blank; `None` at the end.
    ///
    /// # Errors
    /// Where the reader fails.
    pub fn read(&mut self) -> io::Result<Option<Line>> {
        loop {
            while let Some(line) = self.cut() {
                if !line.payload.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
            }
            if self.rest.len() > self.line_bytes_max {
                return self.skip().map(Some);
            }
            if self.fill()? == 0 {
                if self.rest.is_empty() {
                    return Ok(None);
                }
                self.whole = self.rest.split().freeze();
                self.searched = 0;
            }
        }
    }

    /// The next of the lines that have been read.
    fn cut(&mut self) -> Option<Line> {
        if self.whole.is_empty() {
            return None;
        }
        let end = memchr(b'\n', &self.whole);
        let mut payload = self.whole.split_to(end.unwrap_or(self.whole.len()));
        if end.is_some() {
            self.whole.advance(1);
        }
        if payload.ends_with(b"\r") {
            payload.truncate(payload.len() - 1);
        }
        self.number += 1;
        Some(Line { number: self.number, length_bytes: payload.len() as u64, payload })
    }

    /// Reads once. Yields how many bytes came, 0 at the end.
    fn fill(&mut self) -> io::Result<usize> {
        let length = self.rest.len();
        self.rest.resize(length + READ_BYTES, 0);
        let read = loop {
            match self.reader.read(&mut self.rest[length..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.rest.truncate(length + read.as_ref().map_or(0, |count| *count));
        if let Some(end) = memrchr(b'\n', &self.rest[self.searched..]) {
            self.whole = self.rest.split_to(self.searched + end + 1).freeze();
        }
        self.searched = self.rest.len();
        read
    }

    /// Reads on to the end of a line that is too long, keeping its beginning only.
    fn skip(&mut self) -> io::Result<Line> {
        let mut payload = self.rest.split();
        let mut length_bytes = payload.len() as u64;
        payload.truncate(KEPT_BYTES_MAX);
        // The rest of a large allocation would stay with it.
        let payload = Bytes::copy_from_slice(&payload);
        self.searched = 0;
        loop {
            let is_end = self.fill()? == 0;
            if let Some(end) = memchr(b'\n', &self.whole) {
                length_bytes += end as u64;
                self.whole.advance(end + 1);
                break;
            }
            length_bytes += self.rest.len() as u64;
            self.rest.clear();
            self.searched = 0;
            if is_end {
                break;
            }
        }
        self.number += 1;
        Ok(Line { number: self.number, payload, length_bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives at most `step` bytes a read.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn lines(text: &[u8], step: usize, line_bytes_max: usize) -> Vec<(u64, String, u64)> {
        let mut lines = Lines { line_bytes_max, ..Lines::new(Slow(text, step)) };
        let mut found = Vec::new();
        while let Some(line) = lines.read().unwrap() {
            found.push((line.number, String::from_utf8_lossy(&line.payload).into(), line.length_bytes));
        }
        found
    }

    #[test]
    fn blank_lines_count_but_are_left_out() {
        let want = [(1, "a".into(), 1), (3, "bc".into(), 2), (5, "d".into(), 1)];
        for step in 1..10 {
            assert_eq!(lines(b"a\r\n\nbc\n \nd", step, 100), want, "{step} bytes a read");
        }
    }

    #[test]
    fn a_line_that_is_too_long_does_not_take_the_next_one_with_it() {
        let long = "x".repeat(10_000);
        let text = format!("a\n{long}\nb\n{long}");
        let found = lines(text.as_bytes(), 100, 5000);
        let kept = "x".repeat(KEPT_BYTES_MAX);
        let want = [(1, "a".into(), 1), (2, kept.clone(), 10_000), (3, "b".into(), 1), (4, kept, 10_000)];
        assert_eq!(found, want);
    }

    proptest! {
        #[test]
        fn reads_of_any_size_give_the_same_lines(text in "[ab\n\r]{0,60}", step in 1_usize..20) {
            let want: Vec<_> = (1_u64..).zip(text.split('\n'))
                .map(|(number, line)| (number, line.strip_suffix('\r').unwrap_or(line)))
                .filter(|(_, line)| !line.trim_ascii().is_empty())
                .map(|(number, line)| (number, line.to_owned(), line.len() as u64))
                .collect();
            prop_assert_eq!(lines(text.as_bytes(), step, 100), want);
        }
    }
}
