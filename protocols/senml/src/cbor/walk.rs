//! Where an item of CBOR ends: goes over it once, without recursion, and can wait for more bytes.
//!
//! Used to pass over members that are ignored, and to cut records out of a stream.
//! Invariant: memory is one entry a level, and levels are limited; a length is never trusted.

use crate::error::Kind;

/// A walk over one item.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    position: usize,
    open: Vec<Open>,
    depth_max: usize,
    levels_around: usize,
}

/// What a walk came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The item is this long.
    Done(usize),
    /// The bytes end before the item does.
    NeedsMore,
}

/// Something that was begun and is not complete.
#[derive(Debug, Clone, Copy)]
enum Open {
    /// So many items are left, at least one.
    Items(u64),
    /// Items until a break.
    Array,
    /// Pairs of items until a break; `value_next` after a key.
    Map { value_next: bool },
    /// Strings of this major type and definite lengths until a break.
    Chunks { major: u8 },
}

/// The first bytes of an item.
struct Head {
    major: u8,
    /// `None`: of indefinite length, or a break.
    argument: Option<u64>,
    length: usize,
}

const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

impl Walk {
    /// A walk over an item that is within so many levels already.
    pub(super) fn new(depth_max: usize, levels_around: usize) -> Self {
        Walk { position: 0, open: vec![Open::Items(1)], depth_max, levels_around }
    }

    /// Goes on as far as the bytes reach. `bytes` begins where the item does, in every call;
    /// `offset` says where that is in the input.
    pub(super) fn advance(&mut self, bytes: &[u8], offset: usize) -> Result<Progress, Kind> {
        while let Some(&open) = self.open.last() {
            let at = offset + self.position;
            let Some(head) = Head::read(&bytes[self.position..], at)? else { return Ok(Progress::NeedsMore) };
            let content = self.content_bytes(&head);
            let left = (bytes.len() - self.position - head.length) as u64;
            if content > left {
                return Ok(Progress::NeedsMore);
            }
            self.position += head.length + content as usize;
            self.enter(open, &head, at)?;
        }
        Ok(Progress::Done(self.position))
    }

    /// Bytes of a string behind its head.
    fn content_bytes(&self, head: &Head) -> u64 {
        if matches!(head.major, BYTES | TEXT) { head.argument.unwrap_or(0) } else { 0 }
    }

    fn enter(&mut self, open: Open, head: &Head, at: usize) -> Result<(), Kind> {
        let syntax = |expected| Err(Kind::Syntax { offset: at, expected });
        if let Open::Chunks { major } = open
            && (head.major, head.argument) != (SIMPLE, None)
        {
            let is_chunk = head.major == major && head.argument.is_some();
            return if is_chunk { Ok(()) } else { syntax("a chunk of a string") };
        }
        match (head.major, head.argument) {
            (SIMPLE, None) => match open {
                Open::Items(_) | Open::Map { value_next: true } => return syntax("an item of CBOR"),
                Open::Array | Open::Chunks { .. } | Open::Map { value_next: false } => {
                    self.open.pop();
                    self.complete();
                }
            },
            (ARRAY | MAP, Some(0)) => self.complete(),
            (ARRAY, Some(items)) => self.push(Open::Items(items))?,
            (MAP, Some(pairs)) => self.push(Open::Items(pairs.saturating_mul(2)))?,
            (ARRAY, None) => self.push(Open::Array)?,
            (MAP, None) => self.push(Open::Map { value_next: false })?,
            (major @ (BYTES | TEXT), None) => self.push(Open::Chunks { major })?,
            (TAG, _) => {}
            _ => self.complete(),
        }
        Ok(())
    }

    fn push(&mut self, open: Open) -> Result<(), Kind> {
        // The first entry is the item itself, no level.
        if self.open.len() + self.levels_around > self.depth_max {
            return Err(Kind::TooDeep { limit: self.depth_max });
        }
        self.open.push(open);
        Ok(())
    }

    /// Counts an item that is complete, and all that are complete with it.
    fn complete(&mut self) {
        while let Some(open) = self.open.last_mut() {
            match open {
                Open::Items(1) => {
                    self.open.pop();
                }
                Open::Items(left) => {
                    *left -= 1;
                    return;
                }
                Open::Map { value_next } => {
                    *value_next = !*value_next;
                    return;
                }
                Open::Array | Open::Chunks { .. } => return,
            }
        }
    }
}

impl Head {
    /// Reads a head. `None`: the bytes end within it.
    fn read(bytes: &[u8], at: usize) -> Result<Option<Head>, Kind> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let (major, info) = (first >> 5, first & 0x1f);
        let width = match info {
            ..24 => return Ok(Some(Head { major, argument: Some(info.into()), length: 1 })),
            24..28 => 1_usize << (info - 24),
            31 if !matches!(major, 0 | 1 | TAG) => {
                return Ok(Some(Head { major, argument: None, length: 1 }));
            }
            _ => return Err(Kind::Syntax { offset: at, expected: "an item of CBOR" }),
        };
        let Some(argument) = rest.get(..width) else { return Ok(None) };
        let argument = argument.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        Ok(Some(Head { major, argument: Some(argument), length: 1 + width }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> Result<Progress, Kind> {
        Walk::new(8, 0).advance(bytes, 0)
    }

    #[test]
    fn finds_the_end() {
        let items: [&[u8]; 16] = [
            &[0x00],
            &[0x3b, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x43, 1, 2, 3],
            &[0x60],
            &[0x80],
            &[0x82, 0x01, 0x81, 0x02],
            &[0x9f, 0xff],
            &[0x9f, 0x01, 0x9f, 0x02, 0xff, 0xff],
            &[0xa1, 0x00, 0x00],
            &[0xbf, 0x00, 0x80, 0xff],
            &[0xc4, 0x82, 0x20, 0x01],
            &[0xc1, 0xc1, 0xf5],
            &[0x5f, 0x41, 0x00, 0x40, 0xff],
            &[0xf9, 0x3c, 0x00],
            &[0xf8, 0xff],
            &[0x82, 0x5f, 0xff, 0x9f, 0xff],
        ];
        for item in items {
            let followed = [item, &[0x00]].concat();
            assert_eq!(walk(&followed), Ok(Progress::Done(item.len())), "{item:02x?}");
            for length in 0..item.len() {
                assert_eq!(walk(&item[..length]), Ok(Progress::NeedsMore), "{item:02x?} cut at {length}");
            }
        }
    }

    #[test]
    fn refuses_what_is_not_well_formed() {
        let syntax = |offset, expected| Err(Kind::Syntax { offset, expected });
        assert_eq!(walk(&[0x1c]), syntax(0, "an item of CBOR"));
        assert_eq!(walk(&[0x1f]), syntax(0, "an item of CBOR"));
        assert_eq!(walk(&[0xdf]), syntax(0, "an item of CBOR"));
        assert_eq!(walk(&[0xff]), syntax(0, "an item of CBOR"));
        assert_eq!(walk(&[0x81, 0xff]), syntax(1, "an item of CBOR"));
        assert_eq!(walk(&[0xbf, 0x00, 0xff]), syntax(2, "an item of CBOR"));
        assert_eq!(walk(&[0x5f, 0x61, 0x61]), syntax(1, "a chunk of a string"));
        assert_eq!(walk(&[0x7f, 0x7f]), syntax(1, "a chunk of a string"));
    }

    #[test]
    fn levels_are_limited_and_lengths_not_trusted() {
        assert_eq!(walk(&[0x81; 8]), Ok(Progress::NeedsMore));
        assert_eq!(walk(&[0x81; 9]), Err(Kind::TooDeep { limit: 8 }));
        assert_eq!(walk(&[0x9f; 9]), Err(Kind::TooDeep { limit: 8 }));
        let huge = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00];
        assert_eq!(walk(&huge), Ok(Progress::NeedsMore));
        let huge = [0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00];
        assert_eq!(walk(&huge), Ok(Progress::NeedsMore));
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_minicbor(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..12)) {
            // minicbor takes a few things that are not well formed, and text that is not UTF-8 not.
            let mut decoder = minicbor::Decoder::new(&bytes);
            if let (Ok(()), Ok(Progress::Done(length))) = (decoder.skip(), walk(&bytes)) {
                proptest::prop_assert_eq!(length, decoder.position());
            }
        }

        #[test]
        fn pieces_are_as_good_as_the_whole(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..12)) {
            let mut piecewise = Walk::new(8, 0);
            let steps = (0..=bytes.len()).map(|length| piecewise.advance(&bytes[..length], 0));
            let end = steps.into_iter().find(|step| *step != Ok(Progress::NeedsMore));
            proptest::prop_assert_eq!(end.unwrap_or(Ok(Progress::NeedsMore)), walk(&bytes));
        }
    }
}
