//! Where lanes and sinks stand in the journal, by the names of their cursors (`lane/main`, `sink/log`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Offset, StreamName};

/// The next offset that a reader needs, by stream.
pub type Mark = BTreeMap<StreamName, Offset>;

/// The marks of many readers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Marks(BTreeMap<String, Mark>);

impl Marks {
    /// The mark of `name`; `None` if it is not known.
    pub fn get(&self, name: &str) -> Option<&Mark> {
        self.0.get(name)
    }

    /// Notes where `name` stands.
    pub fn set(&mut self, name: &str, mark: Mark) {
        self.0.insert(name.to_owned(), mark);
    }

    /// Takes `name` out.
    pub fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Names and marks.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Mark)> {
        self.0.iter().map(|(name, mark)| (name.as_str(), mark))
    }

    /// The least next offset of `stream`: no reader stands beyond it.
    pub fn floor(&self, stream: StreamName) -> Offset {
        self.0.values().filter_map(|mark| mark.get(&stream)).max().copied().unwrap_or_default()
    }
}
