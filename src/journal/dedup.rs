//! The bounded index of message identities in front of a stream (pure).
//!
//! Two generations of a fixed size: when the young one is full it becomes the old one, and what was old is
//! forgotten. So at least one generation and at most two are remembered, in constant memory.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use crate::model::{Offset, Timestamp};

/// Identities of one generation: at least this many are remembered.
pub const GENERATION_MAX: usize = 1 << 20;

/// A message that is already in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its first record.
    pub offset: Offset,
    /// When it arrived.
    pub received: Timestamp,
}

/// Which messages are already in the stream, by identity.
#[derive(Default)]
pub struct Duplicates {
    young: HashMap<u64, Original, FxBuildHasher>,
    old: HashMap<u64, Original, FxBuildHasher>,
}

impl Duplicates {
    /// Where the message with this identity stands.
    pub fn find(&self, identity: u64) -> Option<Original> {
        self.young.get(&identity).or_else(|| self.old.get(&identity)).copied()
    }

    /// Remembers that the message with this identity is `original`; what was known of it before.
    pub fn insert(&mut self, identity: u64, original: Original) -> Option<Original> {
        let before = self.find(identity);
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(identity, original);
        before
    }

    /// Knows again what was known `before` a message that did not reach the disk.
    pub fn restore(&mut self, identity: u64, before: Option<Original>) {
        self.old.remove(&identity);
        self.young.remove(&identity);
        self.young.extend(before.map(|original| (identity, original)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_at_least_one_generation() {
        let mut duplicates = Duplicates::default();
        let last = 2 * GENERATION_MAX as u64 + 5;
        let original = |identity| Original { offset: Offset(identity), received: Timestamp::default() };
        for identity in 0..last {
            duplicates.insert(identity, original(identity));
        }
        assert_eq!(duplicates.find(0), None);
        assert_eq!(
            duplicates.find(last - GENERATION_MAX as u64),
            Some(original(last - GENERATION_MAX as u64))
        );
        duplicates.restore(last - 1, None);
        assert_eq!(duplicates.find(last - 1), None);
    }

    #[test]
    fn a_message_that_failed_leaves_what_was_known_before() {
        let mut duplicates = Duplicates::default();
        let original = |offset| Original { offset: Offset(offset), received: Timestamp::default() };
        assert_eq!(duplicates.insert(7, original(1)), None);
        let before = duplicates.insert(7, original(2));
        duplicates.restore(7, before);
        assert_eq!(duplicates.find(7), Some(original(1)));
    }
}
