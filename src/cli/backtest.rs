//! `forebay backtest`: recorded payloads through intake, windows and alerts, without sockets, journal or clock.
//!
//! The way of a line: [`lines`] cuts it out of the input, [`crate::intake`] makes readings of it or a dead
//! letter, [`lanes`] runs the steps of the daemon's lanes on a batch of them, [`rows`] writes what comes out, and
//! [`summary`] says at the end what there was. Memory holds the sensors' states and one batch.
//!
//! The same input and configuration give the same bytes: offsets count from 0, the journal's id is fixed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

pub mod lanes;
pub mod lines;
pub mod rows;
pub mod summary;

use super::arguments::BacktestOptions;
use super::{Failure, OK, Style};
use crate::config::{self, Config};
use crate::intake::{Intake, Rejection};
use crate::model::dead_letter::KEPT_BYTES_MAX;
use crate::model::{BatchBuilder, Identity, Inbound, Media, Offset, Protocol, Reason, Timestamp};
use crate::telemetry::clock;
use lanes::Lanes;
use lines::{LINE_BYTES_MAX, Line, Lines};
use rows::Rows;
use summary::Summary;

/// Stands in for the journal's id in the ids of results.
pub const JOURNAL_ID: &str = "backtest";

/// Lines, and readings, after which a batch goes to the lanes: what a busy daemon's group commit holds.
const BATCH_LINES_MAX: usize = 4096;

/// Runs the input through the configuration at `config`; the summary goes to stderr in `style`.
///
/// # Errors
/// Where the configuration is bad, the source is not in it, or input or output fail.
pub fn run(config: &Path, options: &BacktestOptions, style: Style) -> Result<u8, Failure> {
    let (config, _warnings) = config::load(config)?;
    let config = Arc::new(config);
    let source = source_index(&config, &options.source)?;
    let intake = Intake::new(&config.sources).map_err(|error| Failure::Failed(error.to_string()))?;
    let input = open_input(&options.input)?;
    let mut backtest = Backtest {
        intake: &intake,
        source,
        inbound: inbound(options.topic.as_deref().unwrap_or_default()),
        builder: BatchBuilder::default(),
        lines: 0,
        next: Offset(0),
        lanes: Lanes::new(&config),
        rows: Rows::new(open_output(options.output.as_deref())?),
        summary: Summary::default(),
    };
    let begun = clock::monotonic();
    backtest.play(Lines::new(input), &options.input)?;
    let mut summary = backtest.summary;
    summary.took = begun.elapsed();
    summary.no_effect = summary::without_effect(&config, source);
    // Whoever closed stderr does not want to know.
    let _ = summary.write(&config, style, &mut io::stderr().lock());
    Ok(OK)
}

fn source_index(config: &Config, name: &str) -> Result<usize, Failure> {
    config.sources.iter().position(|source| *source.name == *name).ok_or_else(|| {
        let known: Vec<&str> = config.sources.iter().map(|source| &*source.name).collect();
        Failure::Usage(format!("unknown source {name:?} (known: {})", known.join(", ")))
    })
}

fn open_input(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let is_gzip = path.extension().is_some_and(|extension| extension == "gz");
    Ok(if is_gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot read {}: {error}", path.display()))
}

fn open_output(path: Option<&Path>) -> Result<Box<dyn Write>, Failure> {
    let Some(path) = path else { return Ok(Box::new(io::stdout().lock())) };
    let file = File::create(path);
    let file = file.map_err(|error| Failure::Failed(format!("cannot create {}: {error}", path.display())));
    Ok(Box::new(file?))
}

fn inbound(topic: &str) -> Inbound {
    Inbound {
        protocol: Protocol::Backtest,
        principal: Protocol::Backtest.as_str().into(),
        topic: topic.into(),
        media: Media::Unsaid,
        payload: Bytes::new(),
        // Nothing arrives: intake refuses what would need it.
        received: Timestamp::default(),
        identity: Identity::None,
    }
}

/// A run under way.
struct Backtest<'a, W: Write> {
    intake: &'a Intake,
    source: usize,
    /// The message of the line being read.
    inbound: Inbound,
    builder: BatchBuilder,
    /// Lines in `builder`, refused ones included: their names take memory in it too.
    lines: usize,
    /// Offset of the next batch.
    next: Offset,
    lanes: Lanes,
    rows: Rows<W>,
    summary: Summary,
}

impl<W: Write> Backtest<'_, W> {
    fn play(&mut self, mut lines: Lines<Box<dyn Read>>, path: &Path) -> Result<(), Failure> {
        while let Some(line) = lines.read().map_err(|error| unreadable(path, &error))? {
            self.line(line).map_err(Failure::Output)?;
        }
        self.end_batch().map_err(Failure::Output)?;
        let effects = self.lanes.finish(self.next);
        self.rows.effects(&effects).and_then(|()| self.rows.flush()).map_err(Failure::Output)?;
        self.summary.add(effects);
        Ok(())
    }

    fn line(&mut self, line: Line) -> io::Result<()> {
        self.summary.lines += 1;
        self.inbound.payload = line.payload;
        let admitted = if line.length_bytes > LINE_BYTES_MAX as u64 {
            Err(self.too_large(line.length_bytes, line.number))
        } else {
            self.intake.admit_as(self.source, &self.inbound, line.number, &mut self.builder)
        };
        match admitted {
            Ok(admitted) => self.summary.readings += admitted.readings as u64,
            Err(refusal) => self.refuse(refusal, line.length_bytes)?,
        }
        self.lines += 1;
        if self.lines >= BATCH_LINES_MAX || self.builder.len() >= BATCH_LINES_MAX {
            self.end_batch()
        } else {
            Ok(())
        }
    }

    fn too_large(&self, length_bytes: u64, number: u64) -> Rejection {
        let text = format!("the line of {length_bytes} bytes exceeds {LINE_BYTES_MAX}");
        let source = Some(self.intake.name(self.source).clone());
        Rejection { source, line: Some(number), ..Rejection::new(Reason::TooLarge, text) }
    }

    fn refuse(&mut self, refusal: Rejection, length_bytes: u64) -> io::Result<()> {
        *self.summary.refused.entry(refusal.reason).or_default() += 1;
        let mut letter = refusal.dead_letter(&self.inbound);
        letter.length_bytes = length_bytes;
        if letter.reason == Reason::TooLarge {
            letter.payload.truncate(KEPT_BYTES_MAX);
        }
        self.rows.dead_letter(&letter)
    }

    fn end_batch(&mut self) -> io::Result<()> {
        self.lines = 0;
        let mut batch = std::mem::take(&mut self.builder).finish();
        if batch.is_empty() {
            return Ok(());
        }
        batch.base = self.next;
        self.next = batch.end();
        let effects = self.lanes.on_batch(&batch);
        self.rows.effects(&effects)?;
        self.summary.add(effects);
        Ok(())
    }
}
