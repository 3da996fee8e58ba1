//! Every frame of one stream, read and checked.

use std::io;
use std::ops::Range;

use serde::Serialize;

use super::file_name;
use crate::cli::Failure;
use crate::cli::data_dir::{DataDir, Gateway};
use crate::journal::past::{Frame, Hole, Past, Piece, Why};
use crate::journal::{Content, Record};
use crate::model::{Offset, StreamName};

/// Problems kept with their places; the rest is counted.
const PROBLEMS_MAX: usize = 10_000;

/// What was found in a stream.
#[derive(Debug, Serialize)]
pub struct Scan {
    /// The stream.
    pub stream: StreamName,
    /// Segment files.
    pub segments: usize,
    /// Frames that are right.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes behind the end in the last segment: being written, or torn.
    pub rest_bytes: u64,
    /// What is wrong.
    #[serde(skip)]
    pub problems: Vec<Problem>,
    /// Problems beyond the number that is kept.
    pub problems_more: u64,
    /// Offsets that the gateway itself has recorded as lost, and why.
    #[serde(skip)]
    pub recorded: Vec<(Range<Offset>, String)>,
}

/// Something that is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The stream.
    pub stream: StreamName,
    /// The segment's file.
    pub file: String,
    /// Place in it.
    pub at_bytes: u64,
    /// Bytes that are no frame.
    pub bytes: u64,
    /// First offset missing.
    pub from: Offset,
    /// One past the last one; `from` where none is.
    pub to: Offset,
    /// What it is.
    pub why: Why,
}

impl Scan {
    /// Reads the stream called `stream`. `None` where the data directory has none.
    ///
    /// # Errors
    /// Where it cannot be read; data of a newer format has an exit code of its own.
    pub fn of(data: &DataDir, stream: StreamName) -> Result<Option<Self>, Failure> {
        if !data.stream_dir(stream).exists() {
            return Ok(None);
        }
        let past = data.stream(stream)?;
        let mut scan = Self {
            stream,
            segments: past.segments().len(),
            frames: 0,
            records: 0,
            bytes: 0,
            rest_bytes: past.rest().bytes,
            problems: Vec::new(),
            problems_more: 0,
            recorded: Vec::new(),
        };
        scan.read(&past).map_err(|error| Failure::unreadable(&data.stream_dir(stream), &error))?;
        scan.forgive_recorded();
        if data.gateway == Gateway::Running {
            // Retention is at work meanwhile.
            scan.problems.retain(|problem| problem.why != Why::Trimmed);
        }
        Ok(Some(scan))
    }

    fn read(&mut self, past: &Past) -> io::Result<()> {
        let mut pieces = past.pieces(past.oldest());
        while let Some(piece) = pieces.read()? {
            match piece {
                Piece::Frame(frame) => self.frame(&frame),
                Piece::Hole(hole) => self.problem(hole),
                Piece::Head(_) => {}
            }
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame) {
        let (header, bytes) = (&frame.header, frame.header.frame_bytes());
        let wrong = |why| Hole {
            segment: frame.segment,
            at_bytes: frame.at_bytes,
            bytes,
            from: header.base,
            to: header.end(),
            why,
        };
        // A frame cannot know that it is on disk itself.
        if header.durable > header.base {
            self.problem(Hole { to: header.base, ..wrong(Why::Disorder) });
        }
        match frame.content().filter(|content| belongs(self.stream, content)) {
            None => self.problem(wrong(Why::Damaged)),
            Some(content) => {
                self.frames += 1;
                self.records += u64::from(header.count);
                self.bytes += bytes;
                if let Content::Record(record) = content
                    && let Record::Gap { from, to, why } = &*record
                {
                    self.recorded.push((*from..*to, why.to_string()));
                }
            }
        }
    }

    fn problem(&mut self, hole: Hole) {
        if self.problems.len() >= PROBLEMS_MAX {
            self.problems_more += 1;
            return;
        }
        let Hole { segment, at_bytes, bytes, from, to, why } = hole;
        let (stream, file) = (self.stream, file_name(segment));
        self.problems.push(Problem { stream, file, at_bytes, bytes, from, to, why });
    }

    /// A hole that the gateway has recorded is known, and no damage.
    fn forgive_recorded(&mut self) {
        let recorded = &self.recorded;
        self.problems.retain(|problem| {
            let covers = |range: &Range<Offset>| range.start <= problem.from && problem.to <= range.end;
            !(problem.why == Why::Missing && recorded.iter().any(|(range, _)| covers(range)))
        });
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.problems_more == 0
    }
}

/// Whether a stream may hold such records.
fn belongs(stream: StreamName, content: &Content) -> bool {
    if let Content::Record(record) = content
        && let Record::Opened { .. } = **record
    {
        return true;
    }
    match stream {
        StreamName::Readings => matches!(content, Content::Readings(_) | Content::Record(_)),
        StreamName::Results => matches!(content, Content::Outputs(_)),
        StreamName::DeadLetters => matches!(content, Content::DeadLetters(_)),
    }
}
