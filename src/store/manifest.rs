//! The manifest: what must be in the store, written down outside of it.
//!
//! Replaced after every checkpoint, when the store is durable: the accounts of its trees, where lanes and sinks
//! stand (so the journal can open before the store), the rows of sinks' cursors (so that a restored store
//! repeats as little as can be), and where readers that have no cursor yet begin. A crash between the store's
//! flush and this leaves a manifest that is older than the store, which is fine; a store older than its manifest has
//! lost something.
//!
//! Two lines of text: JSON, and its crc32c. A damaged manifest is no damage of the store: it is left out of the
//! comparison and written anew.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ledger::Accounts;
use super::marks::{Mark, Marks};
use super::outside::{self, Entry};
use super::{FORMAT, StoreError, files, home};
use crate::model::{Offset, StreamName};

/// What is known of the store, from outside of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    format: u64,
    /// Rises whenever it is replaced.
    #[serde(default)]
    serial: u64,
    /// What was durable.
    pub(super) accounts: Accounts,
    /// Where lanes and sinks stood.
    pub(super) marks: Marks,
    /// The cursors of sinks as texts.
    #[serde(default)]
    pub(super) sinks: BTreeMap<String, String>,
    /// Where readers begin that may have no cursor yet.
    #[serde(default)]
    pub(super) begins: BTreeMap<String, Mark>,
}

/// Who reads the journal: a lane or a sink, by the name of its cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// `lane/main`, `sink/log`.
    pub name: String,
    /// What the journal says of it.
    pub past: Past,
}

/// What the journal says of a reader that the manifest may not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// It has run: without a cursor it begins at the oldest record.
    HasRun,
    /// Nothing: without a cursor it is new.
    Unknown,
}

/// Just enough to know whether the rest can be read.
#[derive(Deserialize)]
struct Format {
    format: u64,
}

impl Manifest {
    /// The manifest of the store in `dir`; `None` if there is none, or none that can be believed.
    ///
    /// # Errors
    /// [`StoreError::Newer`], or the disk's.
    pub fn read(dir: &Path) -> Result<Option<Self>, StoreError> {
        Self::load(&home::manifest(dir))
    }

    /// The least next offset of `stream`: no cursor in the store lies beyond it.
    pub fn floor(&self, stream: StreamName) -> Offset {
        self.marks.floor(stream)
    }

    /// Sees to it that each of `readers` that has no cursor and has not run yet keeps its beginning: `mark`, unless
    /// it got one before. Beginnings of others are forgotten. Durable when this returns.
    ///
    /// # Errors
    /// The disk's.
    pub fn begin_at(&mut self, dir: &Path, readers: &[Reader], mark: &Mark) -> Result<(), StoreError> {
        let before = self.begins.clone();
        self.begins.retain(|name, _| readers.iter().any(|reader| reader.name == *name));
        for Reader { name, past } in readers {
            if *past == Past::Unknown && self.marks.get(name).is_none() && !self.begins.contains_key(name) {
                self.begins.insert(name.clone(), mark.clone());
            }
        }
        if self.begins == before { Ok(()) } else { self.save(&home::manifest(dir)) }
    }

    /// Where the reader called `name` begins in `stream` if it has no cursor.
    pub fn begin(&self, name: &str, stream: StreamName) -> Option<Offset> {
        self.begins.get(name)?.get(&stream).copied()
    }

    /// The manifest at `path` with what sinks have committed since; `None` if there is none that can be believed.
    ///
    /// # Errors
    /// [`StoreError::Newer`], or the disk's.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, StoreError> {
        let mut found = Self::load_alone(path)?;
        let commits = outside::commits(path, found.as_ref().map(|found| found.serial))?;
        if !commits.is_empty() {
            let manifest = found.get_or_insert_default();
            commits.into_iter().for_each(|entry| manifest.take_over(entry));
        }
        Ok(found)
    }

    /// Forgets a reader: should it come back, it is a new one.
    pub(super) fn forget(&mut self, name: &str) {
        self.marks.forget(name);
        self.sinks.remove(name);
        self.begins.remove(name);
    }

    /// Which manifest it is.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Takes note of a sink's commit.
    pub(super) fn take_over(&mut self, Entry { name, mark, text }: Entry) {
        self.marks.set(&name, mark);
        self.begins.remove(&name);
        self.sinks.insert(name, text);
    }

    /// The store was filled from a dump with `marks`: what lanes did since is undone, what sinks did is not.
    pub(super) fn restored(&mut self, mut marks: Marks) {
        for name in self.sinks.keys() {
            if let Some(mark) = self.marks.get(name) {
                marks.set(name, mark.clone());
            }
        }
        self.marks = marks;
    }

    fn load_alone(path: &Path) -> Result<Option<Self>, StoreError> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let found = Self::decode(&bytes)?;
        if found.is_none() {
            tracing::warn!(path = %path.display(), "damaged manifest, the store is not compared with it");
        }
        Ok(found)
    }

    fn decode(bytes: &[u8]) -> Result<Option<Self>, StoreError> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let (json, rest) = bytes.split_at(end);
        if rest != trailer(json).as_bytes() {
            return Ok(None);
        }
        if let Ok(Format { format }) = serde_json::from_slice(json)
            && format > FORMAT
        {
            return Err(StoreError::Newer { what: "manifest".into(), format, reads: FORMAT });
        }
        Ok(serde_json::from_slice(json).ok())
    }

    /// Puts the manifest at `path`, durably.
    pub(super) fn save(&mut self, path: &Path) -> Result<(), StoreError> {
        self.format = FORMAT;
        self.serial += 1;
        let mut bytes = serde_json::to_vec(self).expect("texts and numbers serialise");
        let trailer = trailer(&bytes);
        bytes.extend_from_slice(trailer.as_bytes());
        Ok(files::replace(path, &bytes)?)
    }
}

fn trailer(json: &[u8]) -> String {
    format!("\n{:08x}\n", crc32c::crc32c(json))
}
