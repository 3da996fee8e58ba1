//! From an arrival time to an offset: a binary search over the segments, then frame by frame inside one.
//!
//! Arrival times follow the wall clock. Where that ran backwards several places fit, and any of them may be found.

use std::io;
use std::sync::Arc;

use super::record::Content;
use super::shared::Shared;
use super::{Chunk, Reader, Stream};
use crate::model::{Offset, Timestamp};

impl Stream {
    /// The first record that arrived at `received` or later; the end of the stream if there is none.
    ///
    /// # Errors
    /// IO errors of the segments.
    pub async fn seek(&self, received: Timestamp) -> io::Result<Offset> {
        seek(&self.shared, received).await
    }
}

async fn seek(shared: &Arc<Shared>, received: Timestamp) -> io::Result<Offset> {
    let sought = shared.clone();
    let find = move || last_frame_before(&sought, received);
    let frame = match shared.folder.disk.blocks() {
        true => tokio::task::spawn_blocking(find).await.map_err(io::Error::other)??,
        false => find()?,
    };
    let Some(frame) = frame else { return Ok(shared.oldest()) };
    // The frame's first record came before, later ones of it perhaps not.
    let chunk = Reader::new(shared.clone(), frame).try_next().await?;
    Ok(chunk.map_or(frame, |chunk| first_at(&chunk, received)))
}

/// The first record of `chunk` that arrived at `received` or later, or the one behind the chunk.
fn first_at(chunk: &Chunk, received: Timestamp) -> Offset {
    let within = match &chunk.content {
        Content::Readings(batch) => batch.readings().position(|row| row.received() >= received),
        Content::DeadLetters(letters) => letters.iter().position(|letter| letter.received >= received),
        Content::Record(_) | Content::Outputs(_) => None,
    };
    within.map_or(chunk.end(), |at| chunk.base.plus(at as u64))
}

/// The first offset of the last frame whose first record arrived before `received`.
fn last_frame_before(shared: &Shared, received: Timestamp) -> io::Result<Option<Offset>> {
    let bases: Vec<_> =
        shared.with_extents(|extents| extents.all().iter().map(|extent| extent.base).collect());
    let durable = shared.durable();
    let (mut low, mut high) = (0, bases.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let first = shared.folder.open(bases[middle])?.next_good(durable)?;
        match first.is_some_and(|header| header.received < received) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    let Some(at) = low.checked_sub(1) else { return Ok(None) };
    let end = bases.get(low).copied().unwrap_or(durable);
    let mut reader = shared.folder.open(bases[at])?;
    let mut last = None;
    while let Some(header) = reader.next_good(end)?.filter(|header| header.received < received) {
        last = Some(header.base);
        reader.step(&header);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Instant;

    use futures_util::FutureExt;

    use super::*;
    use crate::journal::disk::sim::SimDisk;
    use crate::journal::{Cores, Now, Settings, Work};
    use crate::model::batch::NewReading;
    use crate::model::{BatchBuilder, Identity};
    use crate::telemetry::Metrics;

    /// Two readings in a frame, one every ten milliseconds.
    fn pair(number: i64) -> Work {
        let mut builder = BatchBuilder::default();
        for half in 0..2 {
            let received = Timestamp::from_millis(number * 20 + half * 10);
            let (time, fields) = (received, &[]);
            builder.push(NewReading {
                source: "s",
                sensor: "a",
                time,
                received,
                flags: 0,
                fields,
                tags: &[],
            });
            builder.end_message(Identity::None);
        }
        Work::Readings(builder.finish())
    }

    #[test]
    fn an_arrival_time_is_found_in_its_segment_and_frame() {
        let disk = Arc::new(SimDisk::new(1));
        let settings = Settings { segment_bytes: 2_000, disk, ..Settings::new(PathBuf::from("/data")) };
        let mut core = Cores::open(&settings, &Arc::new(Metrics::new())).expect("opens").readings;
        let mut firsts = Vec::new();
        for number in 0..80 {
            let now = Now { wall: Timestamp::from_millis(number * 20), monotonic: Instant::now() };
            firsts.push(core.commit(vec![pair(number)], now)[0].expect("appends").first);
        }
        let shared = core.shared().clone();
        let seek = |ms| {
            let found = seek(&shared, Timestamp::from_millis(ms)).now_or_never().expect("does not wait");
            found.expect("reads")
        };
        let mut openings = 0;
        for (number, first) in firsts.iter().enumerate() {
            let start = number as i64 * 20;
            assert_eq!([seek(start + 1), seek(start + 10)], [first.plus(1); 2], "{start} ms");
            // What a segment opens with arrives with its first group.
            let before = first.0 - seek(start).0;
            assert!(before <= 1, "{start} ms");
            openings += before;
        }
        assert!(openings > 2, "there are several segments");
        assert_eq!([seek(-1), seek(80 * 20)], [Offset(0), shared.durable()]);
    }
}
