//! Where a sink stands in each stream, and what of that retention may rely on.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::model::{Offset, StreamName};

/// The next offset to deliver, for each stream a sink reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Positions {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    readings: Option<Offset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    results: Option<Offset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead_letters: Option<Offset>,
}

impl Positions {
    /// The position in `stream`; `None` where the sink does not read it.
    pub fn get(&self, stream: StreamName) -> Option<Offset> {
        match stream {
            StreamName::Readings => self.readings,
            StreamName::Results => self.results,
            StreamName::DeadLetters => self.dead_letters,
        }
    }

    /// Sets the position in `stream`.
    pub fn set(&mut self, stream: StreamName, to: Offset) {
        let position = match stream {
            StreamName::Readings => &mut self.readings,
            StreamName::Results => &mut self.results,
            StreamName::DeadLetters => &mut self.dead_letters,
        };
        *position = Some(to);
    }
}

/// A sink's durable positions, shared with retention: nothing from them on is freed while the sink holds it.
#[derive(Debug)]
pub struct Progress {
    saved: [AtomicU64; StreamName::ALL.len()],
}

/// Stands for "does not read this stream".
const UNREAD: u64 = u64::MAX;

impl Default for Progress {
    fn default() -> Self {
        Self { saved: [const { AtomicU64::new(UNREAD) }; StreamName::ALL.len()] }
    }
}

impl Progress {
    /// The sink's durable position in `stream`; `None` where it does not read it.
    pub fn saved(&self, stream: StreamName) -> Option<Offset> {
        let offset = self.saved[stream as usize].load(Ordering::Acquire);
        (offset != UNREAD).then_some(Offset(offset))
    }

    pub(super) fn publish(&self, positions: &Positions) {
        for stream in StreamName::ALL {
            let offset = positions.get(stream).map_or(UNREAD, |offset| offset.0);
            self.saved[stream as usize].store(offset, Ordering::Release);
        }
    }
}
