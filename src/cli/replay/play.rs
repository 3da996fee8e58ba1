//! The way of a replayed record: one thread reads and decodes ahead, another runs the lanes.
//!
//! Memory holds the states of the sensors and [`DECODED_AHEAD_MAX`] frames, whatever the journal's size.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::machine::Machine;
use super::range::Range;
use crate::cli::Failure;
use crate::engine::emission::Effects;
use crate::journal::past::{Hole, Past, Piece, Why};
use crate::journal::{Chunk, Content};
use crate::model::{Offset, Timestamp};

/// Decoded frames that wait for the lanes.
const DECODED_AHEAD_MAX: usize = 8;

/// What becomes of windows that are open at the end of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenWindows {
    /// Nothing: the gateway had not fired them either.
    Stay,
    /// They fire, as if no reading would ever come.
    Fire,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Readings in the range.
    pub readings: u64,
    /// Readings before it, for the windows open at its beginning.
    pub warm_readings: u64,
    /// Arrival of the first and the last record of the range.
    pub arrivals: Option<[Timestamp; 2]>,
    /// Places that cannot be read.
    pub holes: Vec<Hole>,
    /// Records missing there.
    pub lost: u64,
}

/// Holes kept with their places; the records of all are counted.
const HOLES_SHOWN_MAX: usize = 16;

enum Ahead {
    Chunk(Chunk),
    Hole(Hole),
}

/// Runs `range` of `past` through `machines`. `out` gets what each of them, by its number, puts out in the range.
///
/// # Errors
/// Where the journal cannot be read, or `out` fails.
pub fn play(
    past: &Past,
    range: &Range,
    machines: &mut [Machine],
    mut out: impl FnMut(usize, Effects) -> Result<(), Failure>,
) -> Result<Played, Failure> {
    let mut played = Played::default();
    thread::scope(|scope| {
        let (sender, ahead) = sync_channel(DECODED_AHEAD_MAX);
        scope.spawn(|| read(past, range, sender));
        run(ahead, range, &mut played, |chunk, is_counted| {
            for (number, machine) in machines.iter_mut().enumerate() {
                let mut effects = machine.on_chunk(chunk);
                if is_counted {
                    narrow(&mut effects, range, chunk.received);
                    out(number, effects)?;
                }
            }
            Ok(())
        })
    })?;
    Ok(played)
}

/// Fires what is open at the end of the range.
///
/// # Errors
/// Where `out` fails.
pub fn finish(
    range: &Range,
    machines: &mut [Machine],
    arrival: Timestamp,
    mut out: impl FnMut(usize, Effects) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for (number, machine) in machines.iter_mut().enumerate() {
        let mut effects = machine.finish(range.to);
        mark(&mut effects, range, arrival);
        out(number, effects)?;
    }
    Ok(())
}

fn read(past: &Past, range: &Range, sender: SyncSender<io::Result<Ahead>>) {
    let mut pieces = past.pieces(range.warm);
    loop {
        let next = match pieces.read() {
            Ok(Some(piece)) => decoded(piece, range.to).map(Ok),
            Ok(None) => return,
            Err(error) => Some(Err(error)),
        };
        let Some(next) = next else { return };
        let is_last = next.is_err();
        // Whoever took them does not want more.
        if sender.send(next).is_err() || is_last {
            return;
        }
    }
}

/// `None` behind the range.
fn decoded(piece: Piece, to: Offset) -> Option<Ahead> {
    match piece {
        Piece::Frame(frame) if frame.header.base >= to => None,
        Piece::Frame(frame) => Some(match frame.chunk(to) {
            Some(chunk) => Ahead::Chunk(chunk),
            None => Ahead::Hole(Hole {
                segment: frame.segment,
                at_bytes: frame.at_bytes,
                bytes: frame.header.frame_bytes(),
                from: frame.header.base,
                to: frame.header.end(),
                why: Why::Damaged,
            }),
        }),
        Piece::Hole(hole) if hole.from >= to => None,
        Piece::Hole(hole) => Some(Ahead::Hole(Hole { to: hole.to.min(to), ..hole })),
        Piece::Head(_) => unreachable!("payloads are wanted"),
    }
}

fn run(
    ahead: Receiver<io::Result<Ahead>>,
    range: &Range,
    played: &mut Played,
    mut step: impl FnMut(&Chunk, bool) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for next in ahead {
        match next.map_err(|error| Failure::Failed(format!("cannot read the journal: {error}")))? {
            Ahead::Chunk(chunk) => {
                let is_counted = chunk.end() > range.from;
                played.count(&chunk, range);
                step(&chunk, is_counted)?;
            }
            Ahead::Hole(hole) => played.miss(hole),
        }
    }
    Ok(())
}

/// Leaves outputs of the range only.
fn narrow(effects: &mut Effects, range: &Range, arrival: Timestamp) {
    effects.emissions.retain(|emission| range.has(emission.cause));
    mark(effects, range, arrival);
}

fn mark(effects: &mut Effects, range: &Range, arrival: Timestamp) {
    if let Some(cut) = &range.cut {
        effects.emissions.iter_mut().for_each(|emission| cut.mark(&mut emission.output, arrival));
    }
}

impl Played {
    fn count(&mut self, chunk: &Chunk, range: &Range) {
        if chunk.end() > range.from {
            let first = self.arrivals.map_or(chunk.received, |[first, _]| first);
            self.arrivals = Some([first, chunk.received]);
        }
        if let Content::Readings(batch) = &chunk.content {
            let all = batch.len() as u64;
            let warm = range.from.0.saturating_sub(chunk.base.0).min(all);
            self.warm_readings += warm;
            self.readings += all - warm;
        }
    }

    fn miss(&mut self, hole: Hole) {
        self.lost += hole.to.0 - hole.from.0;
        if self.holes.len() < HOLES_SHOWN_MAX {
            self.holes.push(hole);
        }
    }
}
