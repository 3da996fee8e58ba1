//! How far back a birth reads: one span before the `Config` record, by arrival.
//!
//! A window that is open at the change began at most its size ago, as the watermark sees it; the watermark trails
//! by the delay, and late readings count for the lateness. What a kind of window needs stands in one function.

use std::io;
use std::time::Duration;

use crate::config::{Pipeline, Window};
use crate::engine::plan::{LanePlan, PipelinePlan};
use crate::journal::{Chunk, Content, Reader, Record, Stream};
use crate::model::{Offset, Timestamp};
use crate::telemetry::clock;

/// Read before the span, in search of a tick: whoever begins at one knows the time of the first reading.
const TICK_MARGIN: Duration = Duration::from_secs(5);

/// Where a quiet replay begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Its first record.
    pub position: Offset,
    /// Per pipeline of the plan, by its index: rows of windows that begin before this event time are partial.
    pub partial_before_ms: Vec<(usize, i64)>,
}

/// The time by which a reading that counts in an open window can have arrived before now, in milliseconds.
pub fn span_ms(pipeline: &Pipeline) -> i64 {
    let window_ms = match &pipeline.window {
        Window::Tumbling { size_ms, .. } => *size_ms,
    };
    window_ms.saturating_add(pipeline.watermark.delay_ms).saturating_add(pipeline.watermark.lateness_ms)
}

/// Where the pipelines of `plan` begin to read.
///
/// # Errors
/// IO errors of the journal.
pub async fn beginning(plan: &LanePlan, readings: &Stream) -> io::Result<Beginning> {
    let oldest = readings.oldest();
    let first = if oldest == Offset(0) { None } else { Some(arrival(readings, oldest).await?) };
    let (mut wanted, mut partial_before_ms) = (clock::now(), Vec::new());
    let (mut ends, mut first_born) = (oldest, readings.durable());
    for PipelinePlan { index, born_at, .. } in plan.keyings.iter().flat_map(|keying| &keying.pipelines) {
        let span_ns = span_ms(&plan.config.pipelines[*index]).saturating_mul(1_000_000);
        let since = arrival(readings, *born_at).await?.nanos().saturating_sub(span_ns);
        let since = Timestamp::from_nanos(since);
        if let Some(first) = first.filter(|first| since < *first) {
            partial_before_ms.push((*index, first.floor_millis()));
        }
        wanted = wanted.min(since);
        (ends, first_born) = (ends.max(*born_at), first_born.min(*born_at));
    }
    let position = first_record(readings, wanted, ends).await?.min(first_born);
    Ok(Beginning { position, partial_before_ms })
}

/// When the record at `at` arrived; now, if there is none yet.
async fn arrival(readings: &Stream, at: Offset) -> io::Result<Timestamp> {
    let chunk = readings.reader(at).try_next().await?;
    Ok(chunk.map_or_else(clock::now, |chunk| chunk.received))
}

/// A record below `end` that arrived before everything that arrived since `wanted`: a tick, if one came shortly
/// before, else the oldest record of that time.
async fn first_record(readings: &Stream, wanted: Timestamp, end: Offset) -> io::Result<Offset> {
    let margin_ns = TICK_MARGIN.as_nanos() as i64;
    let early = Timestamp::from_nanos(wanted.nanos().saturating_sub(margin_ns));
    let position = seek(readings, early, end).await?;
    if position == Offset(0) {
        return Ok(position);
    }
    let mut reader = readings.reader(position);
    while let Some(chunk) = until(&mut reader, end).await?.filter(|chunk| chunk.received < wanted) {
        if matches!(&chunk.content, Content::Record(record) if matches!(**record, Record::Tick(_))) {
            return Ok(chunk.base);
        }
    }
    Ok(position)
}

/// The first record that arrived at `time` or later, or `end`: by halving, since arrivals ascend.
async fn seek(readings: &Stream, time: Timestamp, end: Offset) -> io::Result<Offset> {
    let (mut low, mut high) = (readings.oldest(), end);
    let mut reader = readings.reader(low);
    while low < high {
        reader.seek(Offset(low.0 + (high.0 - low.0) / 2));
        let Some(chunk) = until(&mut reader, high).await? else { break };
        if chunk.received < time {
            low = chunk.end().min(high);
        } else if chunk.base <= low {
            break;
        } else {
            high = chunk.base;
        }
    }
    Ok(low)
}

/// The next chunk that begins below `end` and holds something.
async fn until(reader: &mut Reader, end: Offset) -> io::Result<Option<Chunk>> {
    while reader.position() < end {
        let Some(chunk) = reader.try_next().await? else { return Ok(None) };
        if !matches!(&chunk.content, Content::Record(record) if matches!(**record, Record::Gap { .. })) {
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}
