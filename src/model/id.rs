//! Identities: positions in a stream and deterministic ids of outputs.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A position in a journal stream: dense, from 0, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset `count` records further on.
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of an output: the same input, configuration and journal give the same id, always.
///
/// 128-bit FNV-1a (draft-eastlake-fnv) over the parts, each closed by a byte that UTF-8 does not hold, so
/// that `("ab", "c")` and `("a", "bc")` differ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultId(u128);

const FNV_OFFSET_BASIS: u128 = 0x6c62272e07bb014262b821756295c58d;
const FNV_PRIME: u128 = 0x0000000001000000000000000000013b;
const PART_END: u8 = 0xff;

impl ResultId {
    /// The id before any part.
    pub const EMPTY: Self = Self(FNV_OFFSET_BASIS);

    /// This id with one more part.
    pub fn with(self, part: &[u8]) -> Self {
        let step = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(FNV_PRIME);
        Self(step(part.iter().fold(self.0, |hash, byte| step(hash, *byte)), PART_END))
    }

    /// This id with one more text part.
    pub fn with_text(self, part: &str) -> Self {
        self.with(part.as_bytes())
    }

    /// This id with one more number, in eight bytes.
    pub fn with_number(self, part: u64) -> Self {
        self.with(&part.to_be_bytes())
    }

    /// The upper 64 bits: a short hash for generations and indexes.
    pub const fn short(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

impl fmt::Display for ResultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ResultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResultId({self})")
    }
}

impl Serialize for ResultId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResultId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let id = |parts: &[&str]| parts.iter().fold(ResultId::EMPTY, |id, part| id.with_text(part));
        assert_ne!(id(&["ab", "c"]), id(&["a", "bc"]));
        assert_ne!(id(&["a", ""]), id(&["a"]));
    }

    #[test]
    fn is_stable_over_releases() {
        // Computed apart from this code; the plain FNV-1a of "a" is d228cb696f1a8caf78912b704e4a8964.
        assert_eq!(
            ResultId::EMPTY.with_text("a").with_number(7).to_string(),
            "426f87b9ab2d0afdbac2b0d748bcc9e9"
        );
    }
}
