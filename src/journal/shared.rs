//! What a stream's writer and readers share: the tail in memory, the list of segments, the durable mark.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Sizes;
use super::ballast::Ballast;
use super::emitted::Emitted;
use super::extents::Extents;
use super::last_clock::LastClock;
use super::pins::Pins;
use super::record::Chunk;
use super::segment::Folder;
use super::tail::Tail;
use crate::model::{Offset, StreamName, Timestamp};
use crate::telemetry::Metrics;
use crate::telemetry::handles::StreamMetrics;

/// What all streams of a journal share.
#[derive(Clone)]
pub struct Common {
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Arc<LastClock>,
    pub(super) emitted: Arc<Emitted>,
    pub(super) pins: Arc<Pins>,
    pub(super) ballast: Arc<Ballast>,
}

/// What a stream has on disk.
pub struct OnDisk {
    pub(super) folder: Folder,
    pub(super) extents: Extents,
    pub(super) next: Offset,
}

/// A stream's shared state.
pub struct Shared {
    pub(super) kind: StreamName,
    pub(super) folder: Folder,
    pub(super) metrics: StreamMetrics,
    pub(super) common: Common,
    memory: Mutex<Memory>,
    durable: watch::Sender<Offset>,
}

struct Memory {
    tail: Tail,
    extents: Extents,
    newest: Option<Timestamp>,
}

/// Where a reader finds a position.
pub enum Found {
    /// In memory.
    Chunk(Chunk),
    /// In the segment that begins at `base`; it ends where the next one begins.
    Segment {
        /// First offset of the segment.
        base: Offset,
        /// First offset of the next segment, if there is one.
        end: Option<Offset>,
    },
    /// Before the first segment: trimmed. The oldest offset kept.
    Trimmed(Offset),
}

impl Shared {
    pub(super) fn new(kind: StreamName, on_disk: OnDisk, common: &Common) -> Self {
        let OnDisk { folder, extents, next } = on_disk;
        let memory = Memory { tail: Tail::new(kind.tail_bytes_max()), extents, newest: None };
        let metrics = common.metrics.stream(kind.as_str());
        metrics.durable_offset.set(next.0 as i64);
        let (durable, _) = watch::channel(next);
        let shared =
            Self { kind, folder, metrics, common: common.clone(), memory: Mutex::new(memory), durable };
        shared.show_size();
        shared
    }

    /// Everything below is on disk.
    pub fn durable(&self) -> Offset {
        *self.durable.borrow()
    }

    /// Sees every advance of the durable mark.
    pub fn watch(&self) -> watch::Receiver<Offset> {
        self.durable.subscribe()
    }

    /// Arrival of the newest record since the start of the program.
    pub fn newest(&self) -> Option<Timestamp> {
        self.memory().newest
    }

    /// The oldest offset kept.
    pub fn oldest(&self) -> Offset {
        self.memory().extents.oldest()
    }

    /// Bytes on disk of the records from `position` on.
    pub fn bytes_from(&self, position: Offset) -> u64 {
        let next = self.durable();
        self.memory().extents.bytes_from(position, next)
    }

    /// Looks at the segments, or changes them; only the writer does. Readers wait meanwhile.
    pub(super) fn with_extents<T>(&self, look: impl FnOnce(&mut Extents) -> T) -> T {
        look(&mut self.memory().extents)
    }

    /// The writer goes on in a segment that begins at `base`.
    pub(super) fn opened(&self, base: Offset) {
        let at = Duration::from_nanos(self.common.clock.get().service_ns);
        self.memory().extents.open(base, at);
        self.show_size();
    }

    /// Shows number and size of the segments.
    pub(super) fn show_size(&self) {
        let (segments, bytes) = self.with_extents(|extents| (extents.all().len(), extents.bytes()));
        self.metrics.segments.set(segments as i64);
        self.metrics.size_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Lets readers see `chunks`, which are durable up to `next`.
    pub(super) fn publish(&self, chunks: Vec<Chunk>, next: Offset, bytes: u64) {
        if chunks.is_empty() {
            return;
        }
        let records: u64 = chunks.iter().map(|chunk| u64::from(chunk.count)).sum();
        self.metrics.records.inc_by(records);
        self.metrics.group_records.observe(records as f64);
        self.metrics.frames.inc_by(chunks.len() as u64);
        self.metrics.bytes.inc_by(bytes);
        self.metrics.durable_offset.set(next.0 as i64);
        let mut memory = self.memory();
        memory.extents.grow(bytes);
        self.metrics.size_bytes.add(bytes as i64);
        memory.newest = chunks.last().map(|chunk| chunk.received).max(memory.newest);
        chunks.into_iter().for_each(|chunk| memory.tail.push(chunk));
        drop(memory);
        self.durable.send_replace(next);
    }

    pub(super) fn find(&self, position: Offset) -> Found {
        let memory = self.memory();
        if let Some(chunk) = memory.tail.find(position) {
            return Found::Chunk(chunk);
        }
        match memory.extents.find(position) {
            Some((base, end)) => Found::Segment { base, end },
            None => Found::Trimmed(memory.extents.oldest()),
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
