//! The walk over a stream's frames, segment by segment; damage is stepped over and reported.
//!
//! A segment ends where the next one begins, whatever it still holds. A writer that is at work may cut the last
//! segment and go on in a new one: where frames end too early, the directory is looked at once more.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use memchr::memmem;

use super::{Frame, Hole, Past, Piece, Why, list};
use crate::journal::disk::{Disk, RealDisk};
use crate::journal::frame::{self, FrameError, HEADER_BYTES, Header, Kind};
use crate::journal::segment;
use crate::journal::window::Window;
use crate::model::Offset;

/// Bytes read at once where payloads are wanted.
const AHEAD_BYTES: usize = 1 << 20;
/// Bytes read at once where only heads are.
const HEAD_AHEAD_BYTES: usize = HEADER_BYTES;
/// Bytes searched at once for the next frame behind damage.
const SEARCH_BYTES: usize = 1 << 20;

/// The end of a walk that goes as far as there are frames.
pub(super) const UNLIMITED: Offset = Offset(u64::MAX);

/// Whose payloads are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payloads {
    All,
    Records,
    None,
}

impl Payloads {
    fn has(self, header: &Header) -> bool {
        match self {
            Self::All => true,
            Self::Records => header.kind == Kind::Record,
            Self::None => false,
        }
    }

    fn ahead_bytes(self) -> usize {
        if self == Self::All { AHEAD_BYTES } else { HEAD_AHEAD_BYTES }
    }
}

/// A walk under way.
pub struct Pieces {
    dir: PathBuf,
    bases: Vec<Offset>,
    /// Nothing from here on is read.
    end: Offset,
    payloads: Payloads,
    /// The next offset.
    expected: Offset,
    current: Option<Open>,
    /// Found and not handed out yet.
    ready: VecDeque<Piece>,
}

/// The segment being read.
struct Open {
    base: Offset,
    window: Window,
    at: u64,
    /// End of the last frame seen in it.
    seen: Offset,
}

impl Pieces {
    pub(super) fn new(past: &Past, from: Offset, payloads: Payloads) -> Self {
        Self {
            dir: past.dir.clone(),
            bases: past.bases.clone(),
            end: past.end,
            payloads,
            expected: from.max(past.oldest()),
            current: None,
            ready: VecDeque::new(),
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// IO errors, and a frame of a newer format as [`io::ErrorKind::Unsupported`].
    pub fn read(&mut self) -> io::Result<Option<Piece>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if self.expected >= self.end {
                return Ok(None);
            }
            if !self.open()? {
                continue;
            }
            if self.step()? {
                return Ok(None);
            }
        }
    }

    /// Place behind the last byte of the current segment that is not zero.
    pub(super) fn used_bytes(&mut self) -> io::Result<u64> {
        self.current.as_mut().map_or(Ok(0), |open| used_bytes(&mut open.window, open.at))
    }

    /// The first offset of the segment behind `base`; the end where there is none.
    fn limit(&self, base: Offset) -> Offset {
        let next = self.bases.partition_point(|known| *known <= base);
        self.bases.get(next).map_or(self.end, |next| (*next).min(self.end))
    }

    /// Makes the segment of the next offset the current one; `false` if it went away meanwhile.
    fn open(&mut self) -> io::Result<bool> {
        let at = self.bases.partition_point(|base| *base <= self.expected) - 1;
        let base = self.bases[at];
        if self.current.as_ref().is_some_and(|open| open.base == base) {
            return Ok(true);
        }
        match RealDisk.open(&segment::path(&self.dir, base)) {
            Ok(file) => {
                let window = Window::new(file, self.payloads.ahead_bytes());
                self.current = Some(Open { base, window, at: 0, seen: base });
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.hole(base, (0, 0), self.limit(base), Why::Trimmed);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at one place of the current segment. `true`: the walk ends here.
    fn step(&mut self) -> io::Result<bool> {
        let Some(open) = &mut self.current else { return Ok(true) };
        let (base, place, seen) = (open.base, open.at, open.seen);
        let Some(raw) = open.window.bytes(place, HEADER_BYTES)? else { return self.ended(base, place) };
        let raw: [u8; HEADER_BYTES] = raw.try_into().expect("as many as were asked for");
        let header = match frame::decode_header(&raw) {
            Ok(header) => header,
            // Nothing was written here, or zeros took the place of a frame.
            Err(FrameError::Empty | FrameError::Damaged) => return self.damaged(base, place),
            Err(newer @ FrameError::Newer(_)) => {
                // A wrong bit is no format.
                return match payload(&mut open.window, &raw, place)? {
                    Some(_) => Err(io::Error::new(io::ErrorKind::Unsupported, newer)),
                    None => self.damaged(base, place),
                };
            }
        };
        if header.base >= self.limit(base) {
            return self.ended(base, place);
        }
        if header.base < seen {
            self.skip(&header);
            self.hole(base, (place, header.frame_bytes()), self.expected, Why::Disorder);
            return Ok(false);
        }
        self.take(&raw, header, place)
    }

    fn skip(&mut self, header: &Header) {
        if let Some(open) = &mut self.current {
            open.at += header.frame_bytes();
        }
    }

    /// Takes the frame at `place`, or steps over it if it lies before what is asked for.
    fn take(&mut self, raw: &[u8; HEADER_BYTES], header: Header, place: u64) -> io::Result<bool> {
        let Some(open) = &mut self.current else { return Ok(true) };
        let base = open.base;
        let is_before = header.end() <= self.expected;
        let mut packed = None;
        if self.payloads.has(&header) && !is_before {
            let good = payload(&mut open.window, raw, place)?;
            let Some(good) = good else { return self.damaged(base, place) };
            packed = Some(good.to_vec());
        }
        open.at += header.frame_bytes();
        open.seen = header.end();
        if is_before {
            return Ok(false);
        }
        if header.base > self.expected {
            self.hole(base, (place, 0), header.base, Why::Missing);
        }
        self.expected = header.end();
        self.ready.push_back(match packed {
            Some(packed) => Piece::Frame(Frame { segment: base, at_bytes: place, header, packed }),
            None => Piece::Head(header),
        });
        Ok(false)
    }

    /// The frames of the segment end at `place`. `true`: so does the walk.
    fn ended(&mut self, base: Offset, place: u64) -> io::Result<bool> {
        let limit = self.limit(base);
        if limit == UNLIMITED {
            return Ok(true);
        }
        if self.expected < limit && !self.look_again(base)? {
            self.hole(base, (place, 0), limit, Why::Missing);
        }
        Ok(false)
    }

    /// Whether a segment has come that holds the next offset: the writer started anew.
    fn look_again(&mut self, base: Offset) -> io::Result<bool> {
        let came = list(&self.dir)?.into_iter().filter(|new| *new > base && *new <= self.expected).max();
        let Some(came) = came.filter(|came| !self.bases.contains(came)) else { return Ok(false) };
        let place = self.bases.partition_point(|known| *known < came);
        self.bases.insert(place, came);
        Ok(true)
    }

    /// Steps over bytes that are no frame, to the next good one or to the segment's end.
    fn damaged(&mut self, base: Offset, place: u64) -> io::Result<bool> {
        let (expected, limit) = (self.expected, self.limit(base));
        let Some(open) = &mut self.current else { return Ok(true) };
        if let Some((found, header)) = find_frame(&mut open.window, place + 1, expected, limit)? {
            open.at = found;
            self.hole(base, (place, found - place), header.base, Why::Damaged);
            return Ok(false);
        }
        let bytes = used_bytes(&mut open.window, place)?.saturating_sub(place);
        if bytes == 0 {
            return self.ended(base, place);
        }
        self.hole(base, (place, bytes), limit, Why::Damaged);
        Ok(false)
    }

    fn hole(&mut self, segment: Offset, (at_bytes, bytes): (u64, u64), to: Offset, why: Why) {
        let from = self.expected;
        self.ready.push_back(Piece::Hole(Hole { segment, at_bytes, bytes, from, to, why }));
        self.expected = to;
    }
}

/// Preallocated room is looked through often: comparing is faster than searching.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

/// Place behind the last byte from `at` on that is not zero; `at` if there is none.
fn used_bytes(window: &mut Window, mut at: u64) -> io::Result<u64> {
    let mut used = at;
    loop {
        let bytes = window.upto(at, SEARCH_BYTES)?;
        if !is_zero(bytes) {
            let last = bytes.iter().rposition(|byte| *byte != 0);
            used = last.map_or(used, |last| at + last as u64 + 1);
        }
        if bytes.len() < SEARCH_BYTES {
            return Ok(used);
        }
        at += SEARCH_BYTES as u64;
    }
}

/// The first good frame from `at` on that begins within `least..limit`.
fn find_frame(
    window: &mut Window,
    mut at: u64,
    least: Offset,
    limit: Offset,
) -> io::Result<Option<(u64, Header)>> {
    loop {
        let bytes = window.upto(at, SEARCH_BYTES)?;
        let found = if is_zero(bytes) { None } else { memmem::find(bytes, &frame::MAGIC) };
        let count = bytes.len();
        let Some(found) = found else {
            if count < SEARCH_BYTES {
                return Ok(None);
            }
            // The magic may stand across the border.
            at += (SEARCH_BYTES - 3) as u64;
            continue;
        };
        at += found as u64;
        if let Some(header) = good_frame(window, at)?
            && (least..limit).contains(&header.base)
        {
            return Ok(Some((at, header)));
        }
        at += 1;
    }
}

/// The header of the frame at `at`, if its checksum is right.
fn good_frame(window: &mut Window, at: u64) -> io::Result<Option<Header>> {
    let Some(raw) = window.bytes(at, HEADER_BYTES)? else { return Ok(None) };
    let raw: [u8; HEADER_BYTES] = raw.try_into().expect("as many as were asked for");
    let Ok(header) = frame::decode_header(&raw) else { return Ok(None) };
    Ok(payload(window, &raw, at)?.is_some().then_some(header))
}

/// The payload of the frame at `at` that begins with `raw`; `None` if its checksum is wrong.
fn payload<'a>(window: &'a mut Window, raw: &[u8; HEADER_BYTES], at: u64) -> io::Result<Option<&'a [u8]>> {
    let seal = frame::seal(raw);
    let packed = window.bytes(at + HEADER_BYTES as u64, seal.packed_bytes as usize)?;
    Ok(packed.filter(|packed| seal.is_right(raw, packed)))
}
