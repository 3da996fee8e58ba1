//! The order of steps that makes the file sink exact. Blocking; every step may be the last before a crash.
//!
//! | step | a crash after it leaves | and the next start |
//! |---|---|---|
//! | commit {new file, its length} | an empty committed file | goes on |
//! | append, sync | rows beyond the committed length | cuts them, they are leased again |
//! | commit {positions, length} | nothing to do | goes on |
//! | commit {rotating} | the file, or some numbers shifted | finishes the shift, renames |
//! | rename to `.1` | no file, or another one | sees that its file is gone, starts a new one |
//!
//! Numbers shift into the first gap, so a shift that was cut short goes on where it stopped. After a commit
//! that failed it is unknown which state is on disk, so nothing is done before the same state is saved again.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{Disk, FileId, Found};
use crate::outbox::{CursorError, Positions};

/// Everything the sink must remember, replaced as a whole. The version and the positions are where an outbox has
/// them too, so a sink that becomes a file, or is one no more, goes on where it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    /// Rows before these are in the file.
    pub(super) positions: Positions,
    /// The file, and how much of it is committed; `None` before the first row and after a rotation.
    #[serde(default)]
    file: Option<Committed>,
    /// The file is to be renamed before anything else happens.
    #[serde(default)]
    is_rotating: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Committed {
    id: FileId,
    length: u64,
}

const STATE_VERSION: u32 = 1;

impl Default for State {
    fn default() -> Self {
        Self { version: STATE_VERSION, positions: Positions::default(), file: None, is_rotating: false }
    }
}

impl State {
    pub(super) fn decode(sink: &str, bytes: &[u8]) -> Result<Self, CursorError> {
        let bad = |reason: String| CursorError { sink: sink.into(), reason };
        let state: Self = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        if state.version != STATE_VERSION {
            return Err(bad(format!("version {} is not {STATE_VERSION}", state.version)));
        }
        Ok(state)
    }
}

/// Where the state is kept.
pub(super) trait StateStore: Send {
    /// Replaces the state; it is on disk when this returns. After an error either state may be found later.
    fn save(&self, state: Vec<u8>) -> Result<(), CursorError>;
}

/// When files are rotated, and how many are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    pub bytes: u64,
    pub keep: usize,
}

/// Why rows are not in the file yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("{}: {error}", path.display())]
    Disk { path: PathBuf, error: io::Error },
    #[error(transparent)]
    State(#[from] CursorError),
}

/// Writes the file.
pub(super) struct Writer {
    path: PathBuf,
    rotation: Rotation,
    state: State,
    /// A state whose saving failed: it may be on disk or not.
    unsettled: Option<State>,
    disk: Box<dyn Disk>,
    store: Box<dyn StateStore>,
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        rotation: Rotation,
        state: State,
        disk: Box<dyn Disk>,
        store: Box<dyn StateStore>,
    ) -> Self {
        Self { path, rotation, state, unsettled: None, disk, store }
    }

    /// Writes `lines` and commits that the cursors stand at `after`. After an error the same call is repeated.
    pub(super) fn write(&mut self, lines: &[u8], after: &Positions) -> Result<(), WriteError> {
        if let Some(state) = self.unsettled.take() {
            self.commit(state)?;
        }
        if self.state.positions == *after {
            // The commit of these very lines failed only in appearance.
            return Ok(());
        }
        let mut file = self.state.file;
        if !lines.is_empty() {
            let open = self.open(lines.len() as u64)?;
            self.disk.append(&self.path, lines).map_err(at(&self.path))?;
            self.disk.sync(&self.path).map_err(at(&self.path))?;
            file = Some(Committed { length: open.length + lines.len() as u64, ..open });
        }
        self.commit(State { positions: *after, file, ..self.state.clone() })
    }

    /// Sees to it that the file is there, committed, as long as committed, and has room for `room` bytes.
    fn open(&mut self, room: u64) -> Result<Committed, WriteError> {
        if self.state.is_rotating {
            self.rotate()?;
        }
        let file = self.reconcile()?;
        if file.length == 0 || file.length + room <= self.rotation.bytes {
            return Ok(file);
        }
        self.commit(State { is_rotating: true, ..self.state.clone() })?;
        self.rotate()?;
        self.reconcile()
    }

    /// Makes the file what the state says, or the state what the file is where somebody else changed it.
    fn reconcile(&mut self) -> Result<Committed, WriteError> {
        let found = self.disk.find(&self.path).map_err(at(&self.path))?;
        match (found, self.state.file) {
            (Some(found), Some(ours)) if found.id == ours.id && found.length >= ours.length => {
                if found.length > ours.length {
                    self.disk.truncate(&self.path, ours.length).map_err(at(&self.path))?;
                }
                Ok(ours)
            }
            // Not ours, or cut by somebody: it is not cut further.
            (Some(_), _) => self.adopt(),
            (None, _) => {
                self.disk.create(&self.path).map_err(at(&self.path))?;
                self.adopt()
            }
        }
    }

    /// Commits to the file at the path as it is, its last line ended.
    fn adopt(&mut self) -> Result<Committed, WriteError> {
        if !self.disk.ends_with_line(&self.path).map_err(at(&self.path))? {
            self.disk.append(&self.path, b"\n").map_err(at(&self.path))?;
            self.disk.sync(&self.path).map_err(at(&self.path))?;
        }
        let gone = || at(&self.path)(io::ErrorKind::NotFound.into());
        let Found { id, length } = self.disk.find(&self.path).map_err(at(&self.path))?.ok_or_else(gone)?;
        let file = Committed { id, length };
        self.commit(State { file: Some(file), ..self.state.clone() })?;
        Ok(file)
    }

    /// Renames the file as the committed state demands, unless that is done or the file is gone.
    fn rotate(&mut self) -> Result<(), WriteError> {
        let found = self.disk.find(&self.path).map_err(at(&self.path))?;
        let is_ours = |found: &Found| self.state.file.is_some_and(|ours| ours.id == found.id);
        if found.as_ref().is_some_and(is_ours) {
            self.shift()?;
            if self.rotation.keep == 0 {
                self.disk.remove(&self.path).map_err(at(&self.path))?;
            } else {
                self.disk.rename(&self.path, &self.numbered(1)).map_err(at(&self.path))?;
            }
        }
        self.commit(State { is_rotating: false, file: None, ..self.state.clone() })
    }

    /// Makes room for `.1`: moves the numbers before the first gap up by one; without a gap the last goes.
    fn shift(&mut self) -> Result<(), WriteError> {
        let mut gap = 1;
        while gap < self.rotation.keep {
            let path = self.numbered(gap);
            if self.disk.find(&path).map_err(at(&path))?.is_none() {
                break;
            }
            gap += 1;
        }
        for number in (2..=gap).rev() {
            let (from, to) = (self.numbered(number - 1), self.numbered(number));
            self.disk.rename(&from, &to).map_err(at(&from))?;
        }
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }

    fn commit(&mut self, state: State) -> Result<(), WriteError> {
        let bytes = serde_json::to_vec(&state).expect("numbers serialise");
        if let Err(error) = self.store.save(bytes) {
            self.unsettled = Some(state);
            return Err(error.into());
        }
        self.state = state;
        Ok(())
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> WriteError {
    let path = path.to_owned();
    move |error| WriteError::Disk { path: path.clone(), error }
}

#[cfg(test)]
mod tests;
