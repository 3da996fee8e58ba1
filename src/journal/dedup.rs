//! The bounded index of message identities in front of a stream (pure).
//!
//! Two generations of a fixed size: when the young one is full it becomes the old one, and what was old is
//! forgotten. So at least one generation and at most two are remembered, in constant memory.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use crate::model::Offset;

/// Identities of one generation: at least this many are remembered.
pub const GENERATION_MAX: usize = 1 << 20;

/// Which messages are already in the stream, by identity.
#[derive(Default)]
pub struct Duplicates {
    young: HashMap<u64, Offset, FxBuildHasher>,
    old: HashMap<u64, Offset, FxBuildHasher>,
}

impl Duplicates {
    /// Where the message with this identity stands.
    pub fn find(&self, identity: u64) -> Option<Offset> {
        self.young.get(&identity).or_else(|| self.old.get(&identity)).copied()
    }

    /// Remembers that the message with this identity stands at `offset`.
    pub fn insert(&mut self, identity: u64, offset: Offset) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(identity, offset);
    }

    /// Forgets an identity whose message did not reach the disk.
    pub fn remove(&mut self, identity: u64) {
        self.young.remove(&identity);
        self.old.remove(&identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_at_least_one_generation() {
        let mut duplicates = Duplicates::default();
        let last = 2 * GENERATION_MAX as u64 + 5;
        (0..last).for_each(|identity| duplicates.insert(identity, Offset(identity)));
        assert_eq!(duplicates.find(0), None);
        assert_eq!(duplicates.find(last - GENERATION_MAX as u64), Some(Offset(last - GENERATION_MAX as u64)));
        duplicates.remove(last - 1);
        assert_eq!(duplicates.find(last - 1), None);
    }
}
