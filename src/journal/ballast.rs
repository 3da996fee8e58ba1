//! Room kept back for a full disk: a file that is removed where the disk has no room, so that closing down works.
//!
//! On the data's path it stands beside the writers. While it is released they take no message from outside
//! ([`super::Core::commit`]), so what it gave back is there for results of what is acknowledged, for states, and for
//! the end of the program. Segments begun meanwhile get no room beforehand: they would take all of it. It comes back,
//! durably, before messages do, once there is room for it and for a segment.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::core::RETRY_AFTER;
use super::disk::{Disk, DiskFile};
use crate::telemetry::Metrics;
use crate::telemetry::facts::{BallastMissing, BallastReleased, BallastRestored, Fact};

/// Enough for the states of 100,000 sensors, a dump of them and the last results; a sixtieth of the smallest disk
/// that a gateway is put on (4 GB).
pub const BALLAST_BYTES: u64 = 64 << 20;

/// The file's name beside the streams' directories.
const NAME: &str = "ballast";
/// Written at once where the file system does not give room beforehand.
const FILL_BYTES: u64 = 1 << 20;

/// Whether the room is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// It is there.
    Kept,
    /// There was none at the start.
    Missing,
    /// The disk was found full; nothing is taken until it is back.
    Released,
}

/// How much room is kept.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The ballast's own bytes; 0: there is none, and none is missed.
    pub ballast_bytes: u64,
    /// What must be free beside it when it comes back: a segment, the first thing that a stream needs.
    pub reserve_bytes: u64,
}

/// The ballast of a data directory.
pub struct Ballast {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    sizes: Sizes,
    state: AtomicU8,
    /// When it was last tried to make it; held while its file is worked on.
    tried_at: Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
}

impl Ballast {
    /// The ballast in `dir` as the last run left it; nothing is touched before [`Self::settle`].
    pub(super) fn find(disk: &Arc<dyn Disk>, dir: &Path, sizes: Sizes, metrics: &Arc<Metrics>) -> Self {
        let path = dir.join(NAME);
        let is_kept = sizes.ballast_bytes == 0 || disk.exists(&path).unwrap_or_default();
        let state = if is_kept { State::Kept } else { State::Missing };
        Self {
            disk: disk.clone(),
            path,
            sizes,
            state: AtomicU8::new(state as u8),
            tried_at: Mutex::default(),
            metrics: metrics.clone(),
        }
    }

    /// Makes sure that the room is really there. Where it is not, nothing is taken until it is.
    pub(super) fn settle(&self) {
        let made = match self.state() {
            State::Kept => self.complete(),
            State::Missing => self.make(),
            State::Released => return,
        };
        match made {
            Ok(()) => self.set(State::Kept),
            Err(error) => {
                self.set(State::Missing);
                let needed_bytes = self.needed_bytes();
                BallastMissing { needed_bytes, error: &error }.record(&self.metrics);
            }
        }
    }

    /// Whether messages from outside may be taken.
    pub fn is_kept(&self) -> bool {
        self.state() == State::Kept
    }

    /// Whether what it gave back is in use.
    pub(super) fn is_released(&self) -> bool {
        self.state() == State::Released
    }

    /// Bytes that must be free before messages are taken again.
    pub fn needed_bytes(&self) -> u64 {
        self.sizes.ballast_bytes + self.sizes.reserve_bytes
    }

    /// Gives the room back if `error`, which `by` met, says that the disk is full. Whether it was there to be given.
    pub fn release(&self, by: &str, error: &io::Error) -> bool {
        if !is_full(error) || self.sizes.ballast_bytes == 0 || self.is_released() {
            return false;
        }
        let _working = self.lock();
        let before = self.state();
        // Before the room is there: nobody from outside may take it.
        self.set(State::Released);
        let (path, needed_bytes) = (self.path.display(), self.needed_bytes());
        if before != State::Kept {
            BallastMissing { needed_bytes, error }.record(&self.metrics);
            return false;
        }
        match self.remove() {
            Ok(()) => BallastReleased { by, error, needed_bytes }.record(&self.metrics),
            Err(error) => tracing::error!(%path, %error, "cannot give back the room kept for a full disk"),
        }
        true
    }

    /// Makes it anew where that is due and there is room again.
    pub(super) fn restore(&self, now: Instant) {
        if self.is_kept() {
            return;
        }
        let mut tried_at = self.lock();
        if tried_at.is_some_and(|at| now.saturating_duration_since(at) < RETRY_AFTER) {
            return;
        }
        *tried_at = Some(now);
        let free_bytes = self.disk.free_bytes(self.dir()).unwrap_or_default();
        if free_bytes < self.needed_bytes() {
            return;
        }
        match self.make() {
            Ok(()) => {
                self.set(State::Kept);
                BallastRestored { bytes: self.sizes.ballast_bytes }.record(&self.metrics);
            }
            Err(error) => tracing::debug!(%error, "no room yet for the ballast"),
        }
    }

    /// A new file; none if that fails.
    fn make(&self) -> io::Result<()> {
        let made = self.try_make();
        if made.is_err() {
            // What is left of it is replaced by the next try.
            let _ = self.disk.remove(&self.path);
        }
        made
    }

    fn try_make(&self) -> io::Result<()> {
        let bytes = self.sizes.ballast_bytes;
        let file = self.disk.create(&self.path, bytes)?;
        fill(&*file, bytes)?;
        file.sync_all()?;
        self.disk.sync_dir(self.dir())
    }

    /// The file that is there has all of its room: a copy of a data directory may hold nothing but its length.
    fn complete(&self) -> io::Result<()> {
        let bytes = self.sizes.ballast_bytes;
        if bytes == 0 {
            return Ok(());
        }
        let file = self.disk.open(&self.path)?;
        let completed =
            file.allocate(bytes).and_then(|()| fill(&*file, bytes)).and_then(|()| file.sync_all());
        if completed.is_err() {
            // It is made anew once there is room.
            let _ = self.disk.remove(&self.path);
        }
        completed
    }

    fn remove(&self) -> io::Result<()> {
        self.disk.remove(&self.path)?;
        self.disk.sync_dir(self.dir())
    }

    fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Kept,
            1 => State::Missing,
            _ => State::Released,
        }
    }

    fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
        let shown = if state == State::Kept { self.sizes.ballast_bytes } else { 0 };
        self.metrics.disk_ballast_bytes.set(i64::try_from(shown).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.tried_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Ballast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ballast").field("path", &self.path).field("is_kept", &self.is_kept()).finish()
    }
}

/// Whether there is no room on the disk, or for this user.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes up to `bytes` what the file system has not given beforehand.
fn fill(file: &dyn DiskFile, bytes: u64) -> io::Result<()> {
    let mut at = file.bytes()?;
    while at < bytes {
        let piece = FILL_BYTES.min(bytes - at);
        file.write_all_at(&vec![0; piece as usize], at)?;
        at += piece;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
