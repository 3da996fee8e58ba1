//! The read buffer of a connection: small while idle, as large as a burst under load.
//!
//! Bursts are copied out of it into one allocation of exactly their size: a message that is kept for
//! a while pins its burst, never this buffer, and this buffer is neither shared nor moved.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::settings::BURST_BYTES_MAX;

/// Size of the buffer of an idle connection.
const READ_BYTES_MIN: usize = 1024;

/// A read buffer.
#[derive(Debug)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    /// Bytes at the start of `buffer` that are taken.
    taken: usize,
    /// Size to read with; grows while reads fill the buffer.
    target_bytes: usize,
}

impl Default for Input {
    fn default() -> Self {
        Input { buffer: Vec::new(), taken: 0, target_bytes: READ_BYTES_MIN }
    }
}

impl Input {
    /// What was read and not taken.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Takes the first `count` bytes as a buffer of their own.
    pub fn take(&mut self, count: usize) -> BytesMut {
        let end = self.taken + count;
        let bytes = BytesMut::from(&self.buffer[self.taken..end]);
        self.taken = end;
        if end == self.buffer.len() {
            self.taken = 0;
            self.buffer.clear();
            if self.buffer.capacity() > BURST_BYTES_MAX {
                self.buffer = Vec::new(); // it was one large frame
            }
        }
        bytes
    }

    /// Reads once, at most to the end of a frame of `frame_bytes` or of the buffer. The buffer at most
    /// doubles for a frame that has not arrived: its header alone claims no memory. Cancel safe.
    pub async fn read<S>(&mut self, stream: &mut S, frame_bytes: usize) -> io::Result<usize>
    where
        S: AsyncRead + Unpin,
    {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let held = self.buffer.len();
        let size = self.target_bytes.max(frame_bytes.min(held * 2));
        self.buffer.reserve_exact(size.saturating_sub(held));
        let count = stream.read_buf(&mut self.buffer).await?;
        if self.buffer.len() == self.buffer.capacity() {
            self.target_bytes = (self.target_bytes * 4).min(BURST_BYTES_MAX);
        }
        Ok(count)
    }

    /// Whether it holds more memory than an idle connection should, and could give it back.
    pub fn is_grown(&self) -> bool {
        self.buffer.is_empty() && self.buffer.capacity() > READ_BYTES_MIN
    }

    /// Goes back to the idle size.
    pub fn shrink(&mut self) {
        *self = Input::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn grows_under_load_and_shrinks() {
        let mut input = Input::default();
        let data = vec![7; 1_000_000];
        let mut source = data.as_slice();
        let mut sizes = Vec::new();
        for _ in 0..6 {
            sizes.push(input.read(&mut source, 0).await.unwrap());
            let held = input.bytes().len();
            assert_eq!(input.take(held).len(), held);
        }
        assert_eq!(sizes, [1024, 4096, 16384, 65536, 65536, 65536]);
        assert!(input.is_grown());
        input.shrink();
        assert!(!input.is_grown());
        assert_eq!(input.read(&mut source, 0).await.unwrap(), 1024);
    }

    #[tokio::test]
    async fn a_header_alone_claims_no_memory() {
        let mut input = Input::default();
        let mut source: &[u8] = &[0x30, 0x80, 0x80, 0x40];
        input.read(&mut source, 0).await.unwrap();
        input.read(&mut source, 1 << 20).await.unwrap();
        assert!(input.buffer.capacity() <= 2 * READ_BYTES_MIN);
    }

    #[tokio::test]
    async fn a_large_frame_is_collected_and_its_memory_returned() {
        let mut input = Input::default();
        let data = vec![7; 300_000];
        let mut source = data.as_slice();
        while input.bytes().len() < data.len() {
            assert!(input.read(&mut source, data.len()).await.unwrap() > 0);
        }
        assert_eq!(input.take(data.len()).len(), data.len());
        assert_eq!(input.buffer.capacity(), 0);
    }
}
