//! The value of a Block1 or Block2 option (RFC 7959 §2.2), and slices of large answers (§2.4).

use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;

use crate::guard::uint;

/// The largest NUM: 20 bits.
const NUMBER_MAX: u32 = (1 << 20) - 1;

/// Which block of a body a message carries, or asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// NUM, in units of the block size.
    pub number: u32,
    /// M: whether blocks follow.
    pub more: bool,
    /// SZX, 0 to 6.
    size_exponent: u8,
}

impl Block {
    /// The largest block, 1,024 bytes.
    pub(crate) const SIZE_EXPONENT_MAX: u8 = 6;

    /// Block `number` in units of the largest size.
    pub(crate) const fn largest(number: u32) -> Self {
        Self { number, more: false, size_exponent: Self::SIZE_EXPONENT_MAX }
    }

    /// Reads an option value; `None` if it is too long or uses the reserved SZX 7.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let bits = uint(value).filter(|_| value.len() <= 3)?;
        let size_exponent = (bits & 0b111) as u8;
        (size_exponent <= Self::SIZE_EXPONENT_MAX).then_some(Self {
            number: bits >> 4,
            more: bits & 0b1000 != 0,
            size_exponent,
        })
    }

    /// The option value, without leading zero bytes.
    pub(crate) fn encode(self) -> Vec<u8> {
        uint_bytes(self.number << 4 | u32::from(self.more) << 3 | u32::from(self.size_exponent))
    }

    /// 16 to 1,024 bytes.
    pub(crate) const fn size_bytes(self) -> usize {
        16 << self.size_exponent
    }

    /// Where the block begins in the body.
    pub(crate) const fn offset_bytes(self) -> usize {
        self.number as usize * self.size_bytes()
    }

    /// The block after this one; `None` after the last number.
    pub(crate) fn next(self) -> Option<Self> {
        (self.number < NUMBER_MAX).then_some(Self { number: self.number + 1, ..self })
    }

    /// The same block, saying whether others follow.
    pub(crate) const fn with_more(self, more: bool) -> Self {
        Self { more, ..self }
    }
}

/// An option value of format uint (RFC 7252 §3.2): big-endian, no leading zero bytes.
pub(crate) fn uint_bytes(number: u32) -> Vec<u8> {
    number.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect()
}

/// One slice of a large answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    pub payload: Bytes,
    pub block: Block,
    /// Tells the client that all slices are of one representation.
    pub etag: [u8; 8],
    /// Size2: the whole.
    pub whole_bytes: u32,
}

/// What a request for a representation gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It fits into one message.
    Whole,
    /// One block of it.
    Slice(Slice),
    /// The block asked for lies beyond its end.
    Beyond,
}

/// Cuts the block asked for out of a representation; without a wish, the first of the largest size.
pub(crate) fn cut(payload: &Bytes, wish: Option<Block>) -> Cut {
    let block = wish.unwrap_or(Block::largest(0));
    let start = block.offset_bytes();
    if start == 0 && payload.len() <= block.size_bytes() {
        return Cut::Whole;
    }
    if start >= payload.len() {
        return Cut::Beyond;
    }
    let end = payload.len().min(start + block.size_bytes());
    let mut hasher = DefaultHasher::new();
    hasher.write(payload);
    Cut::Slice(Slice {
        payload: payload.slice(start..end),
        block: block.with_more(end < payload.len()),
        etag: hasher.finish().to_be_bytes(),
        whole_bytes: payload.len() as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_values_round_trip() {
        for number in [0, 1, 15, 16, 4_095, 4_096, 5_000, NUMBER_MAX] {
            for more in [false, true] {
                for size_exponent in 0..=6 {
                    let block = Block { number, more, size_exponent };
                    assert_eq!(Block::decode(&block.encode()), Some(block));
                }
            }
        }
    }

    #[test]
    fn reserved_size_and_long_values_are_refused() {
        for value in [&[0x07][..], &[0x0f], &[0xff, 0xff, 0xff], &[0, 0, 0, 0]] {
            assert_eq!(Block::decode(value), None, "{value:x?}");
        }
    }

    #[test]
    fn slices_join_to_the_whole() {
        let whole = Bytes::from((0..2_500_u32).map(|n| n as u8).collect::<Vec<_>>());
        for size_exponent in 0..=6 {
            let mut wish = Block { number: 0, more: false, size_exponent };
            let mut joined = Vec::new();
            while let Cut::Slice(slice) = cut(&whole, Some(wish)) {
                joined.extend_from_slice(&slice.payload);
                wish = wish.next().unwrap();
                assert_eq!(slice.block.more, joined.len() < whole.len());
            }
            assert_eq!(joined, whole);
            assert_eq!(cut(&whole, Some(wish)), Cut::Beyond);
        }
        assert_eq!(cut(&whole.slice(..1_024), None), Cut::Whole);
    }
}
