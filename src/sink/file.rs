//! `kind = "file"`: NDJSON rows appended to a file that is rotated by size. Exactly once over kill -9 and power cut.
//!
//! The sink keeps its cursor itself, beside what it knows of the file, in one state that is replaced as a whole;
//! `file/writer.rs` has the order of steps. A full disk is waited out like any dead counterpart. Only files
//! that the sink has committed to are ever cut: whoever moves the file away (logrotate) gets it as it is, and
//! the sink starts a new one.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::{CursorKeeper, Guarantee, OpenError, Profile, Sink, SinkError, WaitedAlerts};
use crate::config;
use crate::outbox::{CursorError, Cursors, Delivery, LeaseLimits, Positions};

mod disk;
mod writer;

use disk::RealDisk;
use writer::{Rotation, State, StateStore, Writer};

/// Rows of one write.
const ROWS_MAX: usize = 5_000;
/// Bytes of one write, roughly: so much may be written twice after a failure.
const BYTES_MAX: usize = 1024 * 1024;

/// Appends rows to a file.
pub struct FileSink {
    /// Shared with the blocking task of a write, which ends even if nobody waits for it any more.
    writer: Arc<Mutex<Writer>>,
    positions: Option<Positions>,
}

impl FileSink {
    /// A sink that writes to `settings.path` and goes on where the state in `cursors` says.
    ///
    /// # Errors
    /// Where the state cannot be read. The file itself is looked at by the first write.
    pub fn open(
        name: Arc<str>,
        settings: &config::FileSink,
        cursors: Arc<dyn Cursors>,
    ) -> Result<Self, OpenError> {
        let state = cursors.load(&name)?.map(|bytes| State::decode(&name, &bytes)).transpose()?;
        let positions = state.as_ref().map(|state| state.positions);
        let rotation = Rotation { bytes: settings.rotate_bytes, keep: settings.keep };
        let store = Box::new(CursorStore { name, cursors });
        let state = state.unwrap_or_default();
        let writer = Writer::new(settings.path.clone(), rotation, state, Box::new(RealDisk), store);
        Ok(Self { writer: Arc::new(Mutex::new(writer)), positions })
    }
}

impl Sink for FileSink {
    fn profile(&self) -> Profile {
        Profile {
            guarantee: Guarantee::ExactlyOnce,
            cursor: CursorKeeper::Sink,
            waited_alerts: WaitedAlerts::All,
            limits: LeaseLimits { rows_max: ROWS_MAX, bytes_max: BYTES_MAX },
        }
    }

    fn positions(&self) -> Option<Positions> {
        self.positions
    }

    fn deliver<'a>(
        &'a mut self,
        rows: &'a [Delivery],
        after: &'a Positions,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        async move {
            let mut lines = Vec::new();
            for row in rows {
                serde_json::to_writer(&mut lines, &row.json())
                    .expect("rows have text keys and serialise to memory");
                lines.push(b'\n');
            }
            let (writer, after) = (Arc::clone(&self.writer), *after);
            let write = spawn_blocking(move || {
                // A write that panicked left a state that the next one repairs from the committed one.
                writer.lock().unwrap_or_else(PoisonError::into_inner).write(&lines, &after)
            });
            let outcome = write.await.map_err(|error| SinkError::retry_all(error.to_string()))?;
            outcome.map_err(|error| SinkError::retry_all(error.to_string()))
        }
        .boxed()
    }

    fn idle(&mut self) -> BoxFuture<'_, ()> {
        let writer = Arc::clone(&self.writer);
        // A write holds the lock until its end.
        let wait = spawn_blocking(move || drop(writer.lock().unwrap_or_else(PoisonError::into_inner)));
        wait.map(|_| ()).boxed()
    }
}

/// The sink's state in the store, written from a blocking thread.
struct CursorStore {
    name: Arc<str>,
    cursors: Arc<dyn Cursors>,
}

impl StateStore for CursorStore {
    fn save(&self, state: Vec<u8>) -> Result<(), CursorError> {
        Handle::current().block_on(self.cursors.save(&self.name, state))
    }
}
