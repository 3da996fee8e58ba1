//! A sink's outbox: its cursors over the streams, and the rows between them and the tail.
//!
//! On the data's path this stands behind the journal. Nothing is copied into it: [`Outbox::lease`] reads on,
//! keeps the rows the sink's routes want, and names the positions after them; [`Outbox::confirm`] moves the
//! cursors there, [`Outbox::save`] makes that durable. One lease is out at a time.
//!
//! Invariants: a durable position never passes a row that is neither delivered nor given up on purpose;
//! positions also move over rows nobody wants, so an idle sink does not hold retention.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use serde::{Deserialize, Serialize};

use crate::config::Start;
use crate::model::row::RowJson;
use crate::model::{Offset, ResultId, Row, StreamName, Timestamp};
use crate::route::Wants;

mod feed;
pub mod ports;
pub mod positions;

use feed::Feed;
pub use ports::{CursorError, Cursors, Records, Skipped, Stream, StreamError};
pub use positions::{Positions, Progress};

/// One row on its way to a sink.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The row's id: the same after every restart, so a counterpart can recognise a repetition.
    pub id: ResultId,
    /// The stream it stands in.
    pub stream: StreamName,
    /// Its offset there.
    pub offset: Offset,
    /// Wall time of its writing to the stream: how long it has been waiting.
    pub written: Timestamp,
    /// The row.
    pub row: Row,
}

impl Delivery {
    /// The row's JSON, as the contract has it.
    pub fn json(&self) -> RowJson<'_> {
        RowJson { id: self.id, row: self.row.view() }
    }
}

/// How much a lease may hold.
#[derive(Clone, Copy, Debug)]
pub struct LeaseLimits {
    /// Rows.
    pub rows_max: usize,
    /// Bytes of their JSON, roughly; one row may exceed it.
    pub bytes_max: usize,
}

/// Rows to deliver, and where the cursors stand after them.
#[derive(Debug, Default)]
pub struct Lease {
    /// The rows, in the order of their offsets within each stream. May be empty: then only positions moved.
    pub rows: Vec<Delivery>,
    /// The positions to confirm once every row is delivered or given up.
    pub after: Positions,
    /// Offsets lost to retention or damage on the way.
    pub lost: u64,
    bytes: usize,
    examined: usize,
}

/// Rows looked at for one lease, wanted or not: a sink that wants little must not hold its thread.
const EXAMINED_ROWS_MAX: usize = 65_536;

impl Lease {
    fn is_full(&self, limits: LeaseLimits) -> bool {
        self.rows.len() >= limits.rows_max
            || self.bytes >= limits.bytes_max
            || self.examined >= EXAMINED_ROWS_MAX
    }
}

/// How far a sink is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Offsets between the confirmed positions and the tails.
    pub records: u64,
    /// Age of the oldest row that is leased and not confirmed.
    pub age: Duration,
}

/// What an outbox is opened with.
pub struct OutboxSettings {
    /// The sink's name.
    pub sink: Arc<str>,
    /// What it wants.
    pub wants: Wants,
    /// Where it starts in a stream it has not read before.
    pub start: Start,
    /// The journal's id, hashed: the start of ids of rows that have none of their own.
    pub journal: ResultId,
}

/// The state an outbox saves: a version and the positions.
#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    positions: Positions,
}

const SAVED_VERSION: u32 = 1;

/// The cursors of one sink.
pub struct Outbox {
    settings: OutboxSettings,
    feeds: Vec<Feed>,
    confirmed: Positions,
    saved: Positions,
    progress: Arc<Progress>,
}

impl Outbox {
    /// The positions that [`Outbox::save`] kept for `sink`; `None` for a new one.
    ///
    /// # Errors
    /// Where the store cannot be read, or holds what this version does not know.
    pub fn load(sink: &str, cursors: &dyn Cursors) -> Result<Option<Positions>, CursorError> {
        let Some(bytes) = cursors.load(sink)? else { return Ok(None) };
        let bad = |reason: String| CursorError { sink: sink.into(), reason };
        let saved: Saved = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if saved.version != SAVED_VERSION {
            return Err(bad(format!("version {} is not {SAVED_VERSION}", saved.version)));
        }
        Ok(Some(saved.positions))
    }

    /// Opens the outbox at `known` positions, or where new readers start, over one cursor for each stream that
    /// [`Wants::streams`] names. The positions are not durable before the first [`Outbox::save`].
    pub fn open(settings: OutboxSettings, streams: Vec<Box<dyn Stream>>, known: Option<Positions>) -> Self {
        let known = known.unwrap_or_default();
        let mut confirmed = Positions::default();
        let mut feeds = Vec::with_capacity(streams.len());
        for stream in streams {
            let start = match settings.start {
                Start::Now => stream.begin(),
                Start::Earliest => stream.earliest(),
            };
            let position = known.get(stream.name()).unwrap_or(start);
            confirmed.set(stream.name(), position);
            feeds.push(Feed::new(stream, position));
        }
        let progress = Progress::default();
        // A counterpart that is dead from the start confirms nothing, and still its rows are kept.
        progress.publish(&confirmed);
        Self { settings, feeds, confirmed, saved: known, progress: Arc::new(progress) }
    }

    /// The durable positions, for retention; before the first [`Outbox::save`] where it begins.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Waits for records and takes what is there within `limits`. Cancel safe: nothing is taken before it is
    /// ready.
    ///
    /// # Errors
    /// [`StreamError`] where a stream cannot be read; nothing is lost, ask again later.
    pub async fn lease(&mut self, limits: LeaseLimits) -> Result<Lease, StreamError> {
        if self.feeds.iter().all(Feed::is_drained) {
            self.wait().await?;
        }
        let mut lease = Lease { after: self.confirmed, ..Lease::default() };
        self.extend(&mut lease, limits)?;
        Ok(lease)
    }

    /// Adds to `lease` what has come since, without waiting.
    ///
    /// # Errors
    /// [`StreamError`] where a stream cannot be read; `lease` stays valid.
    pub fn extend(&mut self, lease: &mut Lease, limits: LeaseLimits) -> Result<(), StreamError> {
        lease.examined = 0;
        lease.bytes = lease.rows.iter().map(|row| row.row.view().bytes()).sum();
        for feed in &mut self.feeds {
            let taken = feed.take_all(lease, limits, &self.settings);
            lease.after.set(feed.name(), feed.position());
            taken?;
        }
        // Each stream is first in turn: a flood of readings must not keep alerts waiting.
        let step = self.feeds.len().min(1);
        self.feeds.rotate_left(step);
        Ok(())
    }

    /// Moves the cursors behind a lease whose rows are all dealt with.
    pub fn confirm(&mut self, after: &Positions) {
        self.confirmed = *after;
    }

    /// Where the cursors stand.
    pub fn confirmed(&self) -> &Positions {
        &self.confirmed
    }

    /// Whether the cursors have moved since they were last made durable.
    pub fn is_dirty(&self) -> bool {
        self.confirmed != self.saved
    }

    /// Makes the cursors durable through `cursors`.
    ///
    /// # Errors
    /// Where the store cannot be written; the cursors stay dirty.
    pub async fn save(&mut self, cursors: &dyn Cursors) -> Result<(), CursorError> {
        let saved = Saved { version: SAVED_VERSION, positions: self.confirmed };
        let state = serde_json::to_vec(&saved).expect("numbers serialise");
        cursors.save(&self.settings.sink, state).await?;
        self.saved();
        Ok(())
    }

    /// Notes that the sink itself has made the confirmed positions durable.
    pub fn saved(&mut self) {
        self.saved = self.confirmed;
        self.progress.publish(&self.saved);
    }

    /// How far the sink is behind at wall time `now`, with `leased` rows still out.
    pub fn lag(&self, leased: &[Delivery], now: Timestamp) -> Lag {
        let behind = |feed: &Feed| {
            let position = self.confirmed.get(feed.name()).unwrap_or_default();
            feed.tail().0.saturating_sub(position.0)
        };
        let oldest = leased.iter().map(|row| row.written).min();
        let age = oldest.map_or(Duration::ZERO, |oldest| age(oldest, now));
        Lag { records: self.feeds.iter().map(behind).sum(), age }
    }

    async fn wait(&mut self) -> Result<(), StreamError> {
        if self.feeds.is_empty() {
            return std::future::pending().await;
        }
        let (records, at, _) = select_all(self.feeds.iter_mut().map(Feed::next)).await;
        self.feeds[at].hold(records?);
        Ok(())
    }
}

/// The time from `then` to `now`; none where the clock was set back.
pub fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::from_nanos(u64::try_from(now.nanos().saturating_sub(then.nanos())).unwrap_or(0))
}

#[cfg(test)]
pub mod test_stream;
#[cfg(test)]
mod tests;
