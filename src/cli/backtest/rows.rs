//! The rows a backtest writes: NDJSON in the shape that every sink has.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::JOURNAL_ID;
use crate::engine::emission::Effects;
use crate::model::row::RowJson;
use crate::model::{DeadLetter, Offset, ResultId, RowView};

/// Bytes written at once.
const WRITE_BYTES: usize = 64 << 10;

/// Writes rows.
pub struct Rows<W: Write> {
    out: BufWriter<W>,
    /// Place of the next dead letter in a stream of them.
    next_letter: Offset,
}

impl<W: Write> Rows<W> {
    /// Writes to `out`, which need not buffer.
    pub fn new(out: W) -> Self {
        Self { out: BufWriter::with_capacity(WRITE_BYTES, out), next_letter: Offset(0) }
    }

    /// Writes the outputs among `effects`.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn effects(&mut self, effects: &Effects) -> io::Result<()> {
        effects.emissions.iter().try_for_each(|emission| self.row(&emission.output))
    }

    /// Writes a dead letter.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn dead_letter(&mut self, letter: &DeadLetter) -> io::Result<()> {
        let row = RowView::DeadLetter(letter);
        let id = row.id(ResultId::EMPTY.with_text(JOURNAL_ID), self.next_letter);
        self.next_letter = self.next_letter.plus(1);
        self.row(&RowJson { id, row })
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn row(&mut self, row: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, row)?;
        self.out.write_all(b"\n")
    }
}
