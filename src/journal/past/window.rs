//! A file read front to back through one buffer: few calls for many small frames.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a file around the current place.
pub(super) struct Window {
    file: File,
    /// Place of the buffer's first byte.
    start: u64,
    buffer: Vec<u8>,
    /// Bytes read at once, at least.
    ahead_bytes: usize,
}

impl Window {
    /// Opens the file at `path`; each read takes at least `ahead_bytes`.
    pub(super) fn open(path: &Path, ahead_bytes: usize) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, start: 0, buffer: Vec::new(), ahead_bytes })
    }

    /// The `count` bytes at `at`; `None` where the file ends before.
    pub(super) fn bytes(&mut self, at: u64, count: usize) -> io::Result<Option<&[u8]>> {
        Ok(Some(self.upto(at, count)?).filter(|bytes| bytes.len() == count))
    }

    /// The bytes at `at`, `count` of them or as many as the file has.
    pub(super) fn upto(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let is_here = at >= self.start && at + count as u64 <= self.start + self.buffer.len() as u64;
        if !is_here {
            self.fill(at, count.max(self.ahead_bytes))?;
        }
        let from = (at - self.start) as usize;
        let to = (from + count).min(self.buffer.len());
        Ok(&self.buffer[from..to])
    }

    fn fill(&mut self, at: u64, count: usize) -> io::Result<()> {
        self.buffer.resize(count, 0);
        self.start = at;
        let mut read = 0;
        while read < count {
            match self.file.read_at(&mut self.buffer[read..], at + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.clear();
                    return Err(error);
                }
            }
        }
        self.buffer.truncate(read);
        Ok(())
    }
}
