//! A frame: the unit that is written, checked and read. Little endian throughout.
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | magic `FBJ1` |
//! | 4–7 | length of the payload on disk |
//! | 8–11 | crc32c of everything after this field |
//! | 12 | format version |
//! | 13 | kind |
//! | 14–15 | zero |
//! | 16–23 | offset of the first record |
//! | 24–27 | number of records |
//! | 28–31 | length of the payload before lz4 |
//! | 32–47 | earliest and latest event time, ns |
//! | 48–55 | arrival of the first record, ns |
//! | 56–63 | durable mark: every record below it was on disk when this was written |
//! | 64– | payload, an lz4 block |

use crate::model::{Offset, Timestamp};

/// Bytes of a frame before its payload.
pub const HEADER_BYTES: usize = 64;
/// The first bytes of every frame.
pub const MAGIC: [u8; 4] = *b"FBJ1";
const CRC_FROM: usize = 12;
/// The format this program writes. It reads this one only; a newer one is refused, nothing touched.
pub const VERSION: u8 = 1;
/// Largest payload, packed or not: what reading allocates is bounded by it.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A batch of readings in columns.
    Readings = 1,
    /// One control record, JSON.
    Record = 2,
    /// Outputs of a lane, JSON.
    Outputs = 3,
    /// Refused messages.
    DeadLetters = 4,
}

impl Kind {
    fn parse(byte: u8) -> Option<Self> {
        [Self::Readings, Self::Record, Self::Outputs, Self::DeadLetters]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is.
    pub kind: Kind,
    /// Offset of the first record.
    pub base: Offset,
    /// Number of records, at least 1.
    pub count: u32,
    /// Earliest event time.
    pub time_min: Timestamp,
    /// Latest event time.
    pub time_max: Timestamp,
    /// Arrival of the first record.
    pub received: Timestamp,
    /// Every record below it was on disk when this frame was written.
    pub durable: Offset,
    /// Payload on disk.
    pub packed_bytes: u32,
    /// Payload before lz4.
    pub plain_bytes: u32,
}

impl Header {
    /// One past the offset of the last record.
    pub fn end(&self) -> Offset {
        self.base.plus(u64::from(self.count))
    }

    /// Bytes of the whole frame.
    pub fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.packed_bytes)
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Zeros: nothing was written here.
    #[error("nothing written")]
    Empty,
    /// The bytes are no frame or were damaged.
    #[error("damaged frame")]
    Damaged,
    /// A newer program wrote it.
    #[error("frame format {0}, this program reads {VERSION}")]
    Newer(u8),
}

/// What [`encode`] needs besides the payload.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// What the payload is.
    pub kind: Kind,
    /// Offset of the first record.
    pub base: Offset,
    /// Number of records, at least 1.
    pub count: u32,
    /// Earliest and latest event time.
    pub times: [Timestamp; 2],
    /// Arrival of the first record.
    pub received: Timestamp,
    /// The durable mark.
    pub durable: Offset,
}

/// Appends a frame to `out`; returns its header.
pub fn encode(meta: &Meta, plain: &[u8], out: &mut Vec<u8>) -> Header {
    let start = out.len();
    let room = lz4_flex::block::get_maximum_output_size(plain.len());
    out.resize(start + HEADER_BYTES + room, 0);
    let packed = lz4_flex::block::compress_into(plain, &mut out[start + HEADER_BYTES..])
        .expect("the output has the room that the codec asked for");
    out.truncate(start + HEADER_BYTES + packed);
    let frame = &mut out[start..];
    frame[..4].copy_from_slice(&MAGIC);
    frame[4..8].copy_from_slice(&(packed as u32).to_le_bytes());
    frame[12] = VERSION;
    frame[13] = meta.kind as u8;
    frame[16..24].copy_from_slice(&meta.base.0.to_le_bytes());
    frame[24..28].copy_from_slice(&meta.count.to_le_bytes());
    frame[28..32].copy_from_slice(&(plain.len() as u32).to_le_bytes());
    let numbers =
        [meta.times[0].nanos(), meta.times[1].nanos(), meta.received.nanos(), meta.durable.0 as i64];
    for (place, number) in frame[32..64].chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let crc = crc32c::crc32c(&frame[CRC_FROM..]);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
    Header {
        kind: meta.kind,
        base: meta.base,
        count: meta.count,
        time_min: meta.times[0],
        time_max: meta.times[1],
        received: meta.received,
        durable: meta.durable,
        packed_bytes: packed as u32,
        plain_bytes: plain.len() as u32,
    }
}

/// The header in the first [`HEADER_BYTES`] of `bytes`; its checksum is not checked yet.
///
/// # Errors
/// [`FrameError`] if they cannot be one.
pub fn decode_header(bytes: &[u8; HEADER_BYTES]) -> Result<Header, FrameError> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Err(FrameError::Empty);
    }
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
    let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
    let time_at = |at: usize| Timestamp::from_nanos(u64_at(at) as i64);
    if bytes[..4] != MAGIC {
        return Err(FrameError::Damaged);
    }
    if bytes[12] > VERSION {
        return Err(FrameError::Newer(bytes[12]));
    }
    let header = Header {
        kind: Kind::parse(bytes[13]).ok_or(FrameError::Damaged)?,
        base: Offset(u64_at(16)),
        count: u32_at(24),
        time_min: time_at(32),
        time_max: time_at(40),
        received: time_at(48),
        durable: Offset(u64_at(56)),
        packed_bytes: u32_at(4),
        plain_bytes: u32_at(28),
    };
    let sane = header.count > 0
        && header.packed_bytes as usize <= PAYLOAD_BYTES_MAX
        && header.plain_bytes as usize <= PAYLOAD_BYTES_MAX
        && header.base.0.checked_add(u64::from(header.count)).is_some();
    if sane { Ok(header) } else { Err(FrameError::Damaged) }
}

/// What says whether a frame is whole, whatever format the rest of it has: these places never move.
#[derive(Clone, Copy, Debug)]
pub struct Seal {
    /// Payload on disk.
    pub packed_bytes: u32,
    crc: u32,
}

impl Seal {
    /// Whether the checksum over header and payload is right.
    pub fn is_right(&self, raw_header: &[u8; HEADER_BYTES], packed: &[u8]) -> bool {
        crc32c::crc32c_append(crc32c::crc32c(&raw_header[CRC_FROM..]), packed) == self.crc
    }
}

/// The seal of the frame that begins with `raw_header`.
pub fn seal(raw_header: &[u8; HEADER_BYTES]) -> Seal {
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| raw_header[at + n]));
    // What is too long for any payload is the length of none: the checksum will say so.
    Seal { packed_bytes: u32_at(4).min(PAYLOAD_BYTES_MAX as u32), crc: u32_at(8) }
}

/// The payload of the frame that `header` begins, as it was before lz4.
///
/// # Errors
/// [`FrameError::Damaged`] if it is no lz4 block of that length.
pub fn unpack(header: &Header, packed: &[u8]) -> Result<Vec<u8>, FrameError> {
    lz4_flex::block::decompress(packed, header.plain_bytes as usize).map_err(|_| FrameError::Damaged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(payload: &[u8]) -> Vec<u8> {
        let times = [Timestamp::from_millis(-5), Timestamp::from_millis(9)];
        let received = Timestamp::from_millis(10);
        let meta =
            Meta { kind: Kind::Readings, base: Offset(40), count: 3, times, received, durable: Offset(40) };
        let mut frame = Vec::new();
        encode(&meta, payload, &mut frame);
        frame
    }

    fn read(frame: &[u8]) -> Result<(Header, Vec<u8>), FrameError> {
        let raw = frame.first_chunk().ok_or(FrameError::Damaged)?;
        let header = decode_header(raw)?;
        let packed = frame.get(HEADER_BYTES..header.frame_bytes() as usize).ok_or(FrameError::Damaged)?;
        if !seal(raw).is_right(raw, packed) {
            return Err(FrameError::Damaged);
        }
        Ok((header, unpack(&header, packed)?))
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let (header, back) = read(&sample(&payload)).expect("own frame");
            prop_assert_eq!(back, payload);
            prop_assert_eq!((header.base, header.end(), header.time_min), (Offset(40), Offset(43), Timestamp::from_millis(-5)));
        }

        #[test]
        fn notices_every_flipped_bit(at in 0usize..120, bit in 0u8..8) {
            let mut frame = sample(b"a payload that lz4 cannot do much with: 0123456789");
            let at = at % frame.len();
            frame[at] ^= 1 << bit;
            prop_assert!(read(&frame).is_err());
        }
    }

    #[test]
    fn tells_nothing_written_from_damage_and_from_a_newer_format() {
        assert_eq!(decode_header(&[0; HEADER_BYTES]), Err(FrameError::Empty));
        assert_eq!(decode_header(&[7; HEADER_BYTES]), Err(FrameError::Damaged));
        let mut frame = sample(b"x");
        frame[12] = VERSION + 1;
        assert_eq!(read(&frame), Err(FrameError::Newer(VERSION + 1)));
    }
}
