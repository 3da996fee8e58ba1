//! `forebay journal info`: what the streams hold, from the heads of their frames and the control records.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use super::bytes;
use crate::cli::data_dir::DataDir;
use crate::cli::time::rfc3339;
use crate::cli::{Failure, OK, Style};
use crate::journal::frame::{Header, Kind};
use crate::journal::past::{Past, Piece};
use crate::journal::{Content, Record};
use crate::model::{Offset, StreamName, Timestamp};

/// One stream.
#[derive(Debug, Serialize)]
struct Info {
    stream: StreamName,
    segments: usize,
    bytes: u64,
    first: Offset,
    /// One past the last.
    end: Offset,
    /// Arrival of the first and the last record.
    arrivals: Option<[Timestamp; 2]>,
    /// Records by kind.
    records: BTreeMap<&'static str, u64>,
    bytes_per_reading: Option<f64>,
    /// Short hash of the last configuration.
    last_config: Option<String>,
    /// Wall time of the last start.
    last_start: Option<Timestamp>,
    #[serde(skip)]
    reading_bytes: u64,
}

/// Writes what the streams in `data` hold. Yields the exit code.
///
/// # Errors
/// Where the journal cannot be read, or the answer not be written.
pub fn run(data: &DataDir, style: Style, out: &mut dyn Write) -> Result<u8, Failure> {
    let mut infos = Vec::new();
    for stream in StreamName::ALL {
        let dir = data.stream_dir(stream);
        if dir.exists() {
            let info = Info::of(stream, &data.stream(stream)?);
            infos.push(info.map_err(|error| Failure::unreadable(&dir, &error))?);
        }
    }
    let written = match style {
        Style::Json => {
            let (id, gateway) = (&data.journal_id, data.gateway);
            writeln!(out, "{}", json!({"journal": id, "gateway": gateway, "streams": infos}))
        }
        Style::Text => writeln!(out, "journal {}", data.journal_id)
            .and_then(|()| infos.iter().try_for_each(|info| info.write(out))),
    };
    written.map_err(Failure::Output)?;
    Ok(OK)
}

impl Info {
    fn of(stream: StreamName, past: &Past) -> io::Result<Self> {
        let mut info = Self {
            stream,
            segments: past.segments().len(),
            bytes: 0,
            first: past.oldest(),
            end: past.end(),
            arrivals: None,
            records: BTreeMap::new(),
            bytes_per_reading: None,
            last_config: None,
            last_start: None,
            reading_bytes: 0,
        };
        let mut records = past.records(past.oldest());
        while let Some(piece) = records.read()? {
            match piece {
                Piece::Head(header) => info.head(&header),
                Piece::Frame(frame) => {
                    info.count(&frame.header);
                    if let Some(Content::Record(record)) = frame.content() {
                        info.record(&record);
                    }
                }
                Piece::Hole(_) => {}
            }
        }
        let readings = info.records.get("reading").copied().unwrap_or_default();
        info.bytes_per_reading = (readings > 0).then(|| info.reading_bytes as f64 / readings as f64);
        Ok(info)
    }

    fn head(&mut self, header: &Header) {
        self.count(header);
        let (name, count) = match header.kind {
            Kind::Readings => ("reading", header.count),
            // The last record of such a frame says how far the lanes are.
            Kind::Outputs => ("output", header.count - 1),
            Kind::DeadLetters => ("dead-letter", header.count),
            Kind::Record => return,
        };
        *self.records.entry(name).or_default() += u64::from(count);
        if header.kind == Kind::Readings {
            self.reading_bytes += header.frame_bytes();
        }
    }

    fn count(&mut self, header: &Header) {
        self.bytes += header.frame_bytes();
        let first = self.arrivals.map_or(header.received, |[first, _]| first);
        self.arrivals = Some([first, header.received]);
    }

    fn record(&mut self, record: &Record) {
        let name = match record {
            Record::Tick(_) => "tick",
            Record::Start { wall } => {
                self.last_start = Some(*wall);
                "start"
            }
            Record::Engine { .. } => "engine",
            Record::Config { hash, .. } => {
                self.last_config = Some(hash.to_string());
                "config"
            }
            Record::Quarantine { .. } => "quarantine",
            Record::Opened { .. } => "opened",
            Record::Gap { .. } => "gap",
        };
        *self.records.entry(name).or_default() += 1;
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let (stream, size) = (self.stream.as_str(), bytes(self.bytes));
        writeln!(
            out,
            "{stream}: {} segments, {size}, offsets {} to {}",
            self.segments, self.first, self.end
        )?;
        if let Some([first, last]) = self.arrivals {
            writeln!(out, "  arrived    {} to {}", rfc3339(first), rfc3339(last))?;
        }
        let kinds: Vec<String> = self.records.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        if !kinds.is_empty() {
            writeln!(out, "  records    {}", kinds.join(", "))?;
        }
        if let Some(each) = self.bytes_per_reading {
            writeln!(out, "  a reading  {each:.1} bytes")?;
        }
        if let Some(hash) = &self.last_config {
            writeln!(out, "  last configuration {hash}")?;
        }
        if let Some(wall) = self.last_start {
            writeln!(out, "  last start {}", rfc3339(wall))?;
        }
        Ok(())
    }
}
