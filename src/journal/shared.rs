//! What a stream's writer and readers share: the tail in memory, the list of segments, the durable mark.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Sizes;
use super::record::Chunk;
use super::segment::Folder;
use super::tail::Tail;
use crate::model::{Offset, StreamName, Timestamp};
use crate::telemetry::Metrics;
use crate::telemetry::handles::StreamMetrics;

/// A stream's shared state.
pub struct Shared {
    pub(super) kind: StreamName,
    pub(super) folder: Folder,
    pub(super) metrics: StreamMetrics,
    pub(super) all_metrics: Arc<Metrics>,
    memory: Mutex<Memory>,
    durable: watch::Sender<Offset>,
}

struct Memory {
    tail: Tail,
    bases: Vec<Offset>,
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
    pub(super) fn new(
        kind: StreamName,
        folder: Folder,
        bases: Vec<Offset>,
        next: Offset,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let memory = Memory { tail: Tail::new(kind.tail_bytes_max()), bases, newest: None };
        let stream = metrics.stream(kind.as_str());
        stream.durable_offset.set(next.0 as i64);
        let (durable, _) = watch::channel(next);
        Self {
            kind,
            folder,
            metrics: stream,
            all_metrics: metrics.clone(),
            memory: Mutex::new(memory),
            durable,
        }
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
        self.memory().bases.first().copied().unwrap_or_default()
    }

    pub(super) fn opened(&self, base: Offset) {
        let bases = &mut self.memory().bases;
        bases.retain(|known| *known < base);
        bases.push(base);
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
        let after = memory.bases.partition_point(|base| *base <= position);
        match after.checked_sub(1) {
            Some(at) => Found::Segment { base: memory.bases[at], end: memory.bases.get(after).copied() },
            None => Found::Trimmed(memory.bases.first().copied().unwrap_or_default()),
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
