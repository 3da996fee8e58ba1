//! The windows of one pipeline for one key (pure): assign, aggregate, fire.
//!
//! Rules (`oracle` cases in `tests/data/oracle` decide where words are unclear), in milliseconds:
//! a window is `[start, end)` with `start = floor((t − offset) / size) · size + offset`; it fires once
//! `end − 1 ≤ W`; a reading is late if `end − 1 + lateness ≤ W` for all its windows, judged with W before it. A reading accepted
//! after its window fired fires it again at once, with `revision` + 1. Empty windows are not emitted.
//! Source: Akidau et al., "The Dataflow Model", VLDB 2015; Apache Flink's event-time windows.

use std::collections::VecDeque;

use crate::config::{Pipeline, Window};
use crate::expr::{Failure, Scope};
use crate::model::bytes::{Input, Truncated, put_varint, put_zigzag};
use crate::model::{Cell, Offset, Value};

pub mod aggregate;
pub mod values;

use aggregate::Accumulator;

/// A watermark before any reading: nothing is late, nothing fires.
pub const BEFORE_ALL: i64 = i64::MIN;
/// A watermark at the end of input: everything fires.
pub const AFTER_ALL: i64 = i64::MAX;

/// Open windows of one pipeline for one key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Windows {
    /// By start, ascending.
    open: VecDeque<Open>,
}

#[derive(Clone, Debug, PartialEq)]
struct Open {
    start_ms: i64,
    /// Times fired so far.
    firings: u32,
    offsets: [Offset; 2],
    columns: Vec<Accumulator>,
    tags: Vec<Value>,
}

/// A firing of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// Start of the window, inclusive.
    pub start_ms: i64,
    /// End of the window, exclusive.
    pub end_ms: i64,
    /// 0 for the first firing.
    pub revision: u32,
    /// First and last reading in it.
    pub offsets: [Offset; 2],
    /// The columns of `select`.
    pub columns: Vec<Value>,
    /// The pipeline's tags.
    pub tags: Vec<Value>,
}

/// What became of a reading.
#[derive(Clone, Debug, PartialEq)]
pub enum Placed {
    /// It counts.
    Accepted,
    /// It counts, and its window, which had fired, fires again.
    Refired(Firing),
    /// All its windows had fired.
    Late,
}

/// A reading on its way into the windows.
pub struct Arrival<'a> {
    /// Event time in ms, rounded down.
    pub time_ms: i64,
    /// Its offset.
    pub offset: Offset,
    /// Its fields and tags, by the slots of the pipeline's inputs.
    pub scope: &'a dyn Scope,
}

impl Windows {
    /// Adds a reading, judged with the watermark before it. Evaluations that fail go to `failures` with the
    /// column's index; the reading then does not count in that column.
    pub fn add(
        &mut self,
        pipeline: &Pipeline,
        watermark_ms: i64,
        arrival: &Arrival<'_>,
        failures: &mut Vec<(usize, Failure)>,
    ) -> Placed {
        let (start_ms, end_ms) = assign(&pipeline.window, arrival.time_ms);
        if end_ms.saturating_sub(1).saturating_add(pipeline.watermark.lateness_ms) <= watermark_ms {
            return Placed::Late;
        }
        let open = self.open_at(pipeline, start_ms, arrival.offset);
        open.offsets[1] = arrival.offset;
        for (at, (column, accumulator)) in pipeline.select.iter().zip(&mut open.columns).enumerate() {
            if let Err(failure) = accumulator.add(&column.aggregate, arrival.scope) {
                failures.push((at, failure));
            }
        }
        for ((_, slot), tag) in pipeline.tags.iter().zip(&mut open.tags) {
            let value = arrival.scope.get(*slot);
            if value != Cell::Null && value != tag.cell() {
                *tag = value.to_value();
            }
        }
        if end_ms - 1 <= watermark_ms {
            Placed::Refired(open.fire(pipeline, end_ms))
        } else {
            Placed::Accepted
        }
    }

    /// The earliest end of a window that has not fired.
    pub fn next_end_ms(&self, window: &Window) -> Option<i64> {
        self.open.iter().find(|open| open.firings == 0).map(|open| open.start_ms + size_ms(window))
    }

    /// Fires the earliest window that is due at `watermark_ms` and has not fired.
    pub fn fire_next(&mut self, pipeline: &Pipeline, watermark_ms: i64) -> Option<Firing> {
        let open = self.open.iter_mut().find(|open| open.firings == 0)?;
        let end_ms = open.start_ms + size_ms(&pipeline.window);
        (end_ms - 1 <= watermark_ms).then(|| open.fire(pipeline, end_ms))
    }

    /// Forgets windows that no reading can reach any more.
    pub fn purge(&mut self, pipeline: &Pipeline, watermark_ms: i64) {
        let reach = size_ms(&pipeline.window) - 1 + pipeline.watermark.lateness_ms;
        while let Some(open) = self.open.front() {
            if open.firings == 0 || open.start_ms.saturating_add(reach) > watermark_ms {
                return;
            }
            self.open.pop_front();
        }
    }

    /// Whether no window is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Almost every reading belongs to the newest window, so the search goes from the back.
    fn open_at(&mut self, pipeline: &Pipeline, start_ms: i64, first: Offset) -> &mut Open {
        let behind = self.open.iter().rev().take_while(|open| open.start_ms > start_ms).count();
        let at = self.open.len() - behind;
        if at > 0 && self.open[at - 1].start_ms == start_ms {
            return &mut self.open[at - 1];
        }
        let columns = pipeline.select.iter().map(|column| Accumulator::new(&column.aggregate)).collect();
        let tags = vec![Value::Null; pipeline.tags.len()];
        self.open.insert(at, Open { start_ms, firings: 0, offsets: [first; 2], columns, tags });
        &mut self.open[at]
    }

    /// Appends the state to `out`.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.open.len() as u64);
        for open in &self.open {
            put_zigzag(out, open.start_ms);
            put_varint(out, u64::from(open.firings));
            open.offsets.iter().for_each(|offset| put_varint(out, offset.0));
            open.columns.iter().for_each(|column| column.put(out));
            open.tags.iter().for_each(|tag| values::put(out, tag));
        }
    }

    /// Reads the state of [`Self::put`].
    ///
    /// # Errors
    /// [`Truncated`] if the bytes are no state of this pipeline.
    pub fn take(pipeline: &Pipeline, input: &mut Input<'_>) -> Result<Self, Truncated> {
        let count = input.count(input.0.len())?;
        let open = |input: &mut Input<'_>| {
            Ok(Open {
                start_ms: input.zigzag()?,
                firings: input.varint()? as u32,
                offsets: [Offset(input.varint()?), Offset(input.varint()?)],
                columns: pipeline
                    .select
                    .iter()
                    .map(|column| Accumulator::take(&column.aggregate, input))
                    .collect::<Result<_, _>>()?,
                tags: pipeline.tags.iter().map(|_| values::take(input)).collect::<Result<_, _>>()?,
            })
        };
        Ok(Self { open: (0..count).map(|_| open(input)).collect::<Result<_, _>>()? })
    }
}

impl Open {
    fn fire(&mut self, pipeline: &Pipeline, end_ms: i64) -> Firing {
        let revision = self.firings;
        self.firings += 1;
        let columns = pipeline.select.iter().zip(&self.columns);
        let columns = columns.map(|(column, state)| state.finish(&column.aggregate)).collect();
        Firing {
            start_ms: self.start_ms,
            end_ms,
            revision,
            offsets: self.offsets,
            columns,
            tags: self.tags.clone(),
        }
    }
}

fn size_ms(window: &Window) -> i64 {
    let Window::Tumbling { size_ms, .. } = window;
    *size_ms
}

/// Start and end of the window that `time_ms` belongs to.
fn assign(window: &Window, time_ms: i64) -> (i64, i64) {
    let Window::Tumbling { size_ms, offset_ms } = window;
    let start = time_ms.saturating_sub(*offset_ms).div_euclid(*size_ms) * size_ms + offset_ms;
    (start, start.saturating_add(*size_ms))
}

#[cfg(test)]
mod tests;
