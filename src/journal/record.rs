//! What a stream holds: readings, control records, outputs, dead letters; and their way to bytes and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::{Header, Kind};
use super::{columns, letters};
use crate::model::{Batch, DeadLetter, Offset, Output, Timestamp};

/// A record of the `readings` stream that is no reading: everything else that changes later processing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The clock, once a second: the only way wall time enters processing.
    Tick(Clock),
    /// The daemon started.
    Start {
        /// Wall time.
        wall: Timestamp,
    },
    /// The program's version, so that replay knows whose results it repeats.
    Engine {
        /// As in `forebay --version`.
        version: Arc<str>,
    },
    /// The configuration from here on.
    Config {
        /// Its short hash.
        hash: Arc<str>,
        /// The text of all files.
        text: Arc<str>,
    },
    /// Readings that made a sensor panic: skipped by processing and by replay.
    Quarantine {
        /// The lane.
        lane: Arc<str>,
        /// The grouping, as the store names it: lanes may group by several keys.
        grouping: u64,
        /// The key whose readings are skipped; other keys' readings in the range count.
        key: Arc<str>,
        /// First offset skipped.
        from: Offset,
        /// One past the last offset skipped.
        to: Offset,
    },
    /// A segment begins: everything in the segments before it is older than this clock.
    Opened {
        /// The last clock that was journalled.
        clock: Clock,
        /// In `results`: per lane, every output caused by readings below this offset stands before this record.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        emitted: BTreeMap<Arc<str>, Offset>,
    },
    /// Offsets that hold nothing: lost, trimmed or skipped, never silently.
    Gap {
        /// First offset missing.
        from: Offset,
        /// One past the last offset missing.
        to: Offset,
        /// Why.
        why: Arc<str>,
    },
}

/// Wall time and service time together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Wall time.
    pub wall: Timestamp,
    /// Nanoseconds during which listeners were open, over all restarts. Never runs backwards.
    pub service_ns: u64,
}

/// A lane's outputs of one or more rounds, in order, with how far its input is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputFrame {
    /// Per lane: every output caused by readings below this offset is in this frame or an earlier one.
    pub emitted: BTreeMap<Arc<str>, Offset>,
    /// Causes of the outputs, in the same order.
    pub causes: Vec<Offset>,
    /// The outputs.
    pub outputs: Vec<Output>,
}

/// The records of one frame, decoded; shared by all readers.
#[derive(Clone, Debug)]
pub enum Content {
    /// Readings.
    Readings(Arc<Batch>),
    /// One control record.
    Record(Arc<Record>),
    /// Outputs; the frame's last record is its `emitted`.
    Outputs(Arc<OutputFrame>),
    /// Refused messages.
    DeadLetters(Arc<[DeadLetter]>),
}

/// A frame as readers get it.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Offset of the first record.
    pub base: Offset,
    /// Number of records.
    pub count: u32,
    /// Arrival of the first record.
    pub received: Timestamp,
    /// The records.
    pub content: Content,
}

impl Chunk {
    /// One past the offset of the last record.
    pub fn end(&self) -> Offset {
        self.base.plus(u64::from(self.count))
    }

    /// Bytes in memory, roughly.
    pub fn bytes(&self) -> usize {
        match &self.content {
            Content::Readings(batch) => batch.bytes(),
            Content::Record(_) => 128,
            Content::Outputs(frame) => 128 + 400 * frame.outputs.len(),
            Content::DeadLetters(letters) => letters.iter().map(|letter| 300 + letter.payload.len()).sum(),
        }
    }
}

impl Content {
    /// Number of records.
    pub fn count(&self) -> u32 {
        match self {
            Self::Readings(batch) => batch.len() as u32,
            Self::Record(_) => 1,
            Self::Outputs(frame) => frame.outputs.len() as u32 + 1,
            Self::DeadLetters(letters) => letters.len() as u32,
        }
    }

    /// The frame's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Readings(_) => Kind::Readings,
            Self::Record(_) => Kind::Record,
            Self::Outputs(_) => Kind::Outputs,
            Self::DeadLetters(_) => Kind::DeadLetters,
        }
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Readings(batch) => columns::encode(batch, out),
            Self::Record(record) => put_json(out, &**record),
            Self::Outputs(frame) => put_json(out, &**frame),
            Self::DeadLetters(letters) => letters::encode(letters, out),
        }
    }

    /// The records in `payload`, or `None` if it is not what `header` says.
    pub fn decode(header: &Header, payload: Vec<u8>) -> Option<Self> {
        let content = match header.kind {
            Kind::Readings => Self::Readings(Arc::new(columns::decode(&payload, header.base).ok()?)),
            Kind::Record => Self::Record(Arc::new(serde_json::from_slice(&payload).ok()?)),
            Kind::Outputs => Self::Outputs(Arc::new(serde_json::from_slice(&payload).ok()?)),
            Kind::DeadLetters => Self::DeadLetters(letters::decode(&Bytes::from(payload)).ok()?.into()),
        };
        (content.count() == header.count).then_some(content)
    }
}

fn put_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("records have text keys and writing to memory cannot fail");
}
