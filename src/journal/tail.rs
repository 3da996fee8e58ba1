//! The latest chunks of a stream in memory, so that readers that keep up never touch the disk.

use std::collections::VecDeque;

use super::record::Chunk;
use crate::model::Offset;

/// Chunks in order, the oldest dropped beyond a number of bytes.
pub struct Tail {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// An empty tail of at most `bytes_max` bytes (and always the last chunk).
    pub fn new(bytes_max: usize) -> Self {
        Self { chunks: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Appends `chunk`, whose records are durable.
    pub fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.bytes();
        self.chunks.push_back(chunk);
        while self.bytes > self.bytes_max && self.chunks.len() > 1 {
            self.bytes -= self.chunks.pop_front().map_or(0, |chunk| chunk.bytes());
        }
    }

    /// The chunk that holds `position`, or the first behind it if `position` is a hole inside the tail.
    pub fn find(&self, position: Offset) -> Option<Chunk> {
        let first = self.chunks.front()?;
        if position < first.base {
            return None;
        }
        let at = self.chunks.partition_point(|chunk| chunk.end() <= position);
        self.chunks.get(at).cloned()
    }
}
