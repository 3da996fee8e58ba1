//! A file read through one buffer: few calls for many small frames.

use std::io;

use super::disk::DiskFile;

/// Bytes of a file around the current place.
#[derive(Debug)]
pub(super) struct Window {
    file: Box<dyn DiskFile>,
    /// Place of the buffer's first byte.
    start: u64,
    buffer: Vec<u8>,
    /// Bytes read at once, at least.
    ahead_bytes: usize,
}

impl Window {
    /// Looks at `file`; each read takes at least `ahead_bytes`, or what the file has.
    pub(super) fn new(file: Box<dyn DiskFile>, ahead_bytes: usize) -> Self {
        Self { file, start: 0, buffer: Vec::new(), ahead_bytes }
    }

    /// The file.
    pub(super) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// The `count` bytes at `at`; `None` where the file ends before.
    pub(super) fn bytes(&mut self, at: u64, count: usize) -> io::Result<Option<&[u8]>> {
        Ok(Some(self.upto(at, count)?).filter(|bytes| bytes.len() == count))
    }

    /// The bytes at `at`, `count` of them or as many as the file has.
    pub(super) fn upto(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        if self.held(at, count).is_none() {
            self.fill(at, count.max(self.ahead_bytes))?;
        }
        let from = (at - self.start) as usize;
        let to = (from + count).min(self.buffer.len());
        Ok(&self.buffer[from..to])
    }

    /// The `count` bytes at `at` if they were read already; the file may hold others by now.
    pub(super) fn held(&self, at: u64, count: usize) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.buffer.get(from..from.checked_add(count)?)
    }

    /// Reads anew what is asked for next.
    pub(super) fn forget(&mut self) {
        self.buffer.clear();
    }

    fn fill(&mut self, at: u64, count: usize) -> io::Result<()> {
        self.buffer.resize(count, 0);
        self.start = at;
        let read = self.file.read_at(&mut self.buffer, at);
        self.buffer.truncate(*read.as_ref().unwrap_or(&0));
        read.map(drop)
    }
}
