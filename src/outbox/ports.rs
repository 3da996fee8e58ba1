//! What an outbox needs of the journal and of the store, as traits; the application joins them.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::model::{Batch, DeadLetter, Offset, Output, StreamName, Timestamp};

/// A cursor over one stream of the journal. Yields only durable records, in the order of their offsets.
pub trait Stream: Send {
    /// The stream.
    fn name(&self) -> StreamName;

    /// The oldest offset kept.
    fn earliest(&self) -> Offset;

    /// One past the newest durable offset.
    fn tail(&self) -> Offset;

    /// Where a reader that is new begins.
    fn begin(&self) -> Offset {
        self.tail()
    }

    /// Makes `next` go on at `to`.
    fn seek(&mut self, to: Offset);

    /// Waits for the next records, those at the position or after; the position is then behind them.
    ///
    /// Cancel safe: a future that is dropped before it is ready has taken nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Records, StreamError>>;
}

/// Successive records of one stream. Offsets that a stream uses for its own book-keeping are in none of them:
/// the next records simply start later.
#[derive(Clone, Debug)]
pub enum Records {
    /// Outputs at `base` and the offsets after it.
    Outputs {
        /// Offset of the first; it may lie before the position, as frames are read whole.
        base: Offset,
        /// One past the last offset of the frame, beyond the outputs where it keeps book behind them.
        end: Offset,
        /// Wall time of their writing.
        written: Timestamp,
        /// The outputs.
        outputs: Arc<[Output]>,
    },
    /// Readings; the batch knows its base.
    Readings(Arc<Batch>),
    /// Dead letters at `base` and the offsets after it.
    DeadLetters {
        /// Offset of the first.
        base: Offset,
        /// The letters.
        letters: Arc<[DeadLetter]>,
    },
    /// No rows from `from` up to, not including, `to`.
    Skip {
        /// The first offset without a row.
        from: Offset,
        /// One past the last.
        to: Offset,
        /// Why.
        why: Skipped,
    },
}

/// Why offsets have no rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// Ticks, controls, cursors: never meant for a sink.
    Bookkeeping,
    /// Lost to retention (`max_lag`), damage or a failed write.
    Lost,
}

/// Why a stream cannot be read now. The reader stays where it is and may be asked again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("stream {}: {reason}", stream.as_str())]
pub struct StreamError {
    /// The stream.
    pub stream: StreamName,
    /// What went wrong.
    pub reason: String,
}

/// The durable state of sinks, by sink name: small (well below 7 kB), opaque to the store.
pub trait Cursors: Send + Sync {
    /// What was saved last; `None` for a new sink.
    ///
    /// # Errors
    /// Where the store cannot be read.
    fn load(&self, sink: &str) -> Result<Option<Vec<u8>>, CursorError>;

    /// Replaces the state; ready when it is on disk. After an error either state may be found later.
    fn save<'a>(&'a self, sink: &'a str, state: Vec<u8>) -> BoxFuture<'a, Result<(), CursorError>>;
}

/// Why a sink's state cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cursor of sink {sink}: {reason}")]
pub struct CursorError {
    /// The sink.
    pub sink: Arc<str>,
    /// What went wrong.
    pub reason: String,
}
