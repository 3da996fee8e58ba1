//! Strings of a batch, each once, named by a small number.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

/// A string of a [`Dictionary`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StringId(pub u32);

/// Strings in the order of their first use: one arena, no allocation per string.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    arena: String,
    ends: Vec<u32>,
    index: HashTable<u32>,
}

impl Dictionary {
    /// The number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no string.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all strings together.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// The string named `id`.
    pub fn get(&self, id: StringId) -> &str {
        text(&self.arena, &self.ends, id.0)
    }

    /// The name of `string`, new if it is not here yet.
    pub fn intern(&mut self, string: &str) -> StringId {
        let Self { arena, ends, index } = self;
        let hash = FxBuildHasher.hash_one(string);
        if let Some(id) = index.find(hash, |id| text(arena, ends, *id) == string) {
            return StringId(*id);
        }
        let id = ends.len() as u32;
        arena.push_str(string);
        ends.push(arena.len() as u32);
        index.insert_unique(hash, id, |id| FxBuildHasher.hash_one(text(arena, ends, *id)));
        StringId(id)
    }

    /// The name of `string`, if it is here.
    pub fn find(&self, string: &str) -> Option<StringId> {
        let hash = FxBuildHasher.hash_one(string);
        self.index.find(hash, |id| text(&self.arena, &self.ends, *id) == string).map(|id| StringId(*id))
    }

    /// All strings, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len() as u32).map(|id| text(&self.arena, &self.ends, id))
    }
}

fn text<'a>(arena: &'a str, ends: &[u32], id: u32) -> &'a str {
    let start = if id == 0 { 0 } else { ends[id as usize - 1] as usize };
    &arena[start..ends[id as usize] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_has_one_name() {
        let mut dictionary = Dictionary::default();
        let names: Vec<_> = ["a", "", "b", "a", ""].iter().map(|s| dictionary.intern(s).0).collect();
        assert_eq!(names, [0, 1, 2, 0, 1]);
        assert_eq!(dictionary.iter().collect::<Vec<_>>(), ["a", "", "b"]);
        assert_eq!(dictionary.find("b"), Some(StringId(2)));
        assert_eq!(dictionary.find("c"), None);
    }
}
