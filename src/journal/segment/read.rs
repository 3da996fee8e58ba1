//! Reads a segment from front to back, over damage.
//!
//! A reader steps over frames that it does not want by what their headers say, unchecked. Where that leads to
//! no frame, or past what it looks for, a length was wrong: it goes back to the last place it had checked and
//! looks at every byte from there. So a wrong bit costs its own frame and no other.
//!
//! Small frames are read ahead together. What was read ahead may be older than what the writer has written since,
//! so where it holds no good frame, the file is asked again.

use std::io;

use memchr::memmem;

use crate::journal::disk::DiskFile;
use crate::journal::frame::{self, FrameError, HEADER_BYTES, Header};
use crate::journal::record::Content;
use crate::journal::window::Window;
use crate::model::Offset;

/// Bytes looked at in one go when a frame is searched.
const SEARCH_BYTES: usize = 256 << 10;
/// Bytes read in one go where frames are small.
const AHEAD_BYTES: usize = 64 << 10;
/// Payloads above this are checked against the file's length before room is made for them.
const TRUSTED_BYTES_MAX: u32 = 1 << 20;

/// A place in a segment, and the way on from it.
#[derive(Debug)]
pub struct SegmentReader {
    window: Window,
    base: Offset,
    at: u64,
    /// Behind the last frame whose checksum was right.
    checked: u64,
    /// One past that frame's last offset: frames further on begin at or behind it.
    least: Offset,
    /// One past the last byte that was found not to be zero when looking for a frame.
    data_end: u64,
}

impl SegmentReader {
    /// Begins at the front of `file`, whose first offset is `base`.
    pub fn new(file: Box<dyn DiskFile>, base: Offset) -> Self {
        let window = Window::new(file, AHEAD_BYTES);
        Self { window, base, at: 0, checked: 0, least: base, data_end: 0 }
    }

    /// First offset of the segment.
    pub fn base(&self) -> Offset {
        self.base
    }

    /// Place of the next frame in the file.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// One past the last byte that [`Self::resync`] found not to be zero.
    pub fn data_end(&self) -> u64 {
        self.data_end
    }

    /// Whether frames were stepped over unchecked since the last that was checked.
    pub fn is_guessing(&self) -> bool {
        self.checked < self.at
    }

    /// The header at the current place, not checked against its payload; `None` if there is none.
    pub fn peek(&mut self) -> io::Result<Option<Header>> {
        self.again(|reader| {
            let Some(raw) = reader.raw_header()? else { return Ok(None) };
            Ok(frame::decode_header(&raw).ok())
        })
    }

    /// Steps over the frame that `header` (from [`Self::peek`]) begins, unchecked.
    pub fn skip(&mut self, header: &Header) {
        self.at += header.frame_bytes();
    }

    /// The header at the current place if the whole frame is good: its payload is then at hand for
    /// [`Self::content`]. `None` where the bytes are no frame, damaged or never written.
    ///
    /// # Errors
    /// IO errors, and a frame of a newer format as [`io::ErrorKind::Unsupported`].
    pub fn check(&mut self) -> io::Result<Option<Header>> {
        self.again(Self::check_read)
    }

    /// What `look` finds in what was read ahead; where that is nothing, in what the file holds now.
    fn again(
        &mut self,
        look: impl Fn(&mut Self) -> io::Result<Option<Header>>,
    ) -> io::Result<Option<Header>> {
        let may_be_old = self.window.held(self.at, 1).is_some();
        match look(self) {
            Ok(None) | Err(_) if may_be_old => {
                self.window.forget();
                look(self)
            }
            found => found,
        }
    }

    fn check_read(&mut self) -> io::Result<Option<Header>> {
        let Some(raw) = self.raw_header()? else { return Ok(None) };
        let decoded = frame::decode_header(&raw);
        if matches!(decoded, Err(FrameError::Empty | FrameError::Damaged)) {
            return Ok(None);
        }
        let seal = frame::seal(&raw);
        let payload = self.payload(seal.packed_bytes)?;
        if !payload.is_some_and(|payload| seal.is_right(&raw, payload)) {
            return Ok(None);
        }
        match decoded {
            Ok(header) => Ok((header.base >= self.least).then_some(header)),
            Err(newer) => Err(io::Error::new(io::ErrorKind::Unsupported, newer)),
        }
    }

    /// The records of the frame that [`Self::check`] found good; `None` if the payload is not what it says.
    pub fn content(&self, header: &Header) -> Option<Content> {
        let payload = self.window.held(self.at + HEADER_BYTES as u64, header.packed_bytes as usize)?;
        Content::decode(header, frame::unpack(header, payload).ok()?)
    }

    /// Steps over the frame that [`Self::check`] found good.
    pub fn step(&mut self, header: &Header) {
        self.at += header.frame_bytes();
        self.checked = self.at;
        self.least = header.end();
    }

    /// Steps from a bad place to the next good frame that ends behind `position`; `false`, and no step, if there
    /// is none.
    pub fn resync(&mut self, position: Offset) -> io::Result<bool> {
        let bad = self.at;
        let mut from = if self.is_guessing() { self.checked } else { self.at + 1 };
        let mut search = Search::default();
        while let Some(place) = search.find(self.window.file(), from)? {
            self.at = place;
            from = match self.check()? {
                Some(header) if header.end() > position => {
                    self.checked = place;
                    return Ok(true);
                }
                Some(header) => place + header.frame_bytes(),
                None => place + 1,
            };
        }
        self.data_end = self.data_end.max(search.data_end);
        self.at = bad;
        Ok(false)
    }

    /// The next good frame that begins before `limit`, damaged ones passed over; [`Self::step`] goes on.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn next_good(&mut self, limit: Offset) -> io::Result<Option<Header>> {
        loop {
            if self.least >= limit {
                return Ok(None);
            }
            if let Some(header) = self.check()? {
                return Ok((header.base < limit).then_some(header));
            }
            if !self.resync(self.least)? {
                return Ok(None);
            }
        }
    }

    /// The bytes from place `from` to place `to`.
    pub fn bytes(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; (to - from) as usize];
        self.window.file().read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    }

    fn raw_header(&mut self) -> io::Result<Option<[u8; HEADER_BYTES]>> {
        let raw = self.window.bytes(self.at, HEADER_BYTES)?;
        Ok(raw.map(|raw| raw.try_into().expect("as many as were asked for")))
    }

    fn payload(&mut self, bytes: u32) -> io::Result<Option<&[u8]>> {
        let place = self.at + HEADER_BYTES as u64;
        if bytes > TRUSTED_BYTES_MAX && place + u64::from(bytes) > self.window.file().bytes()? {
            return Ok(None);
        }
        self.window.bytes(place, bytes as usize)
    }
}

/// A part of a file in which frames are searched.
#[derive(Default)]
struct Search {
    start: u64,
    bytes: Vec<u8>,
    data_end: u64,
}

impl Search {
    /// The first place at or behind `from` where a frame may begin.
    fn find(&mut self, file: &dyn DiskFile, mut from: u64) -> io::Result<Option<u64>> {
        loop {
            let known = from.checked_sub(self.start).and_then(|at| self.bytes.get(at as usize..));
            if let Some(found) = known.and_then(|known| memmem::find(known, &frame::MAGIC)) {
                return Ok(Some(from + found as u64));
            }
            // The magic may lie across two windows.
            let overlap = frame::MAGIC.len() as u64 - 1;
            from = from.max((self.start + self.bytes.len() as u64).saturating_sub(overlap));
            if !self.load(file, from)? {
                return Ok(None);
            }
            from = self.start;
        }
    }

    /// Reads on at the first place behind `from` that holds data; `false` if no frame has room there.
    fn load(&mut self, file: &dyn DiskFile, mut from: u64) -> io::Result<bool> {
        static ZEROS: [u8; SEARCH_BYTES] = [0; SEARCH_BYTES];
        let end = file.bytes()?;
        while let Some(start) = file.data_from(from)?.filter(|start| start + (HEADER_BYTES as u64) <= end) {
            self.start = start;
            self.bytes.resize(SEARCH_BYTES.min((end - start) as usize), 0);
            file.read_exact_at(&mut self.bytes, start)?;
            if self.bytes != ZEROS[..self.bytes.len()] {
                let last = self.bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default();
                self.data_end = start + last as u64 + 1;
                return Ok(true);
            }
            from = start + self.bytes.len() as u64;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::journal::disk::Disk;
    use crate::journal::disk::sim::SimDisk;
    use crate::journal::frame::{Kind, Meta};
    use crate::model::Timestamp;

    fn frame(base: u64) -> Vec<u8> {
        let [base, durable] = [base; 2].map(Offset);
        let times = [Timestamp::default(); 2];
        let meta = Meta { kind: Kind::Record, base, count: 1, times, received: times[0], durable };
        let mut bytes = Vec::new();
        frame::encode(&meta, b"small", &mut bytes);
        bytes
    }

    #[test]
    fn what_is_written_after_it_was_read_ahead_is_found() {
        let (disk, path) = (SimDisk::new(1), Path::new("/a.seg"));
        let file = disk.create(path, 4 * AHEAD_BYTES as u64).unwrap();
        let mut reader = SegmentReader::new(disk.open(path).unwrap(), Offset(0));
        let mut place = 0;
        for base in 0..3 * AHEAD_BYTES as u64 / frame(0).len() as u64 {
            assert_eq!(reader.check().unwrap(), None);
            file.write_all_at(&frame(base), place).unwrap();
            place += frame(base).len() as u64;
            assert_eq!(reader.peek().unwrap().map(|header| header.base), Some(Offset(base)));
            let header = reader.check().unwrap().unwrap();
            reader.step(&header);
            assert_eq!(reader.at(), place);
        }
    }
}
