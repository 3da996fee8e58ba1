//! Joins modules that do not see each other: the journal and the store to the sinks, the metrics to deliveries.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::deliver::retry::Breaker;
use crate::deliver::{BuryError, DeadLetters, Observer, Undeliverable};
use crate::journal::{self, Content, Reader, Record, Work};
use crate::model::{DeadLetter, Identity, Offset, Reason, StreamName};
use crate::outbox::{CursorError, Cursors, Lag, Positions, Records, Skipped, Stream, StreamError};
use crate::store::{Store, StoreError};
use crate::telemetry::{Metrics, clock};

/// One stream of the journal as an outbox reads it.
pub struct JournalStream {
    name: StreamName,
    stream: journal::Stream,
    reader: Reader,
    begin: Option<Offset>,
}

impl JournalStream {
    /// The stream called `name`, from its oldest record on until it is told where to go. A new reader begins at
    /// `begin`, or at the end.
    pub fn new(name: StreamName, stream: journal::Stream, begin: Option<Offset>) -> Self {
        let reader = stream.reader(stream.oldest());
        Self { name, stream, reader, begin }
    }
}

impl Stream for JournalStream {
    fn name(&self) -> StreamName {
        self.name
    }

    fn earliest(&self) -> Offset {
        self.stream.oldest()
    }

    fn tail(&self) -> Offset {
        self.stream.durable()
    }

    fn begin(&self) -> Offset {
        self.begin.map_or(self.tail(), |begin| begin.max(self.earliest()))
    }

    fn seek(&mut self, to: Offset) {
        self.reader.seek(to);
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Records, StreamError>> {
        let stream = self.name;
        let next = async move {
            let chunk = self.reader.next().await;
            let chunk = chunk.map_err(|error| StreamError { stream, reason: error.to_string() })?;
            let (base, to) = (chunk.base, chunk.end());
            Ok(match chunk.content {
                Content::Readings(batch) => Records::Readings(batch),
                Content::DeadLetters(letters) => Records::DeadLetters { base, letters },
                Content::Outputs(frame) if frame.outputs.is_empty() => {
                    Records::Skip { from: base, to, why: Skipped::Bookkeeping }
                }
                Content::Outputs(frame) => Records::Outputs {
                    base,
                    end: to,
                    written: chunk.received,
                    outputs: frame.outputs.as_slice().into(),
                },
                Content::Record(record) => {
                    let lost = matches!(*record, Record::Gap { .. });
                    let why = if lost { Skipped::Lost } else { Skipped::Bookkeeping };
                    Records::Skip { from: base, to, why }
                }
            })
        };
        next.boxed()
    }
}

/// Sinks' cursors in the store.
pub struct StoreCursors(pub Arc<Store>);

/// Removes a sink's cursor: should the sink come back, it is a new one.
///
/// # Errors
/// Where the store cannot be written.
pub fn forget_cursor(store: &Store, sink: &str) -> Result<(), crate::store::StoreError> {
    store.remove_sink(&cursor_name(sink))
}

/// The name of a sink's cursor in the store.
pub fn cursor_name(sink: &str) -> String {
    format!("sink/{sink}")
}

/// What every state of a sink holds, whatever else is in it.
#[derive(Deserialize)]
struct Standing {
    positions: Positions,
}

/// Saves a sink's state, with where it stands where it says so.
fn put(store: &Store, name: &str, state: &[u8]) -> Result<(), StoreError> {
    let standing = serde_json::from_slice::<Standing>(state).ok();
    let (Some(Standing { positions }), Ok(text)) = (standing, std::str::from_utf8(state)) else {
        return store.put_cursor(name, state);
    };
    let mark = StreamName::ALL.into_iter().filter_map(|name| Some((name, positions.get(name)?)));
    store.put_sink(name, text, mark.collect())
}

impl Cursors for StoreCursors {
    fn load(&self, sink: &str) -> Result<Option<Vec<u8>>, CursorError> {
        let failed = |error: StoreError| CursorError { sink: sink.into(), reason: error.to_string() };
        self.0.cursor(&cursor_name(sink)).map_err(failed)
    }

    fn save<'a>(&'a self, sink: &'a str, state: Vec<u8>) -> BoxFuture<'a, Result<(), CursorError>> {
        let (store, name) = (self.0.clone(), cursor_name(sink));
        let save = tokio::task::spawn_blocking(move || put(&store, &name, &state));
        let failed = move |reason: String| CursorError { sink: sink.into(), reason };
        async move {
            let saved = save.await.map_err(|error| failed(error.to_string()))?;
            saved.map_err(|error| failed(error.to_string()))
        }
        .boxed()
    }
}

/// The `dead-letters` stream, for rows that a counterpart refuses for good.
pub struct Graveyard(pub journal::Stream);

impl DeadLetters for Graveyard {
    fn bury(&self, row: Undeliverable) -> BoxFuture<'_, Result<(), BuryError>> {
        let letter = undelivered(row);
        async move {
            let kept = self.0.append(Work::DeadLetters(vec![letter])).await;
            kept.map(|_| ()).map_err(|refused| BuryError(refused.to_string()))
        }
        .boxed()
    }
}

/// The dead letter of a row that a counterpart refuses for good.
pub fn undelivered(row: Undeliverable) -> DeadLetter {
    DeadLetter {
        source: format!("sink/{}", row.sink).into(),
        reason: Reason::Field,
        detail: row.detail,
        topic: row.id.to_string().into(),
        principal: "gateway".into(),
        received: clock::now(),
        line: None,
        length_bytes: row.row.len() as u64,
        payload: Bytes::from(row.row),
        identity: Identity::None,
    }
}

/// Deliveries in the metrics.
pub struct DeliveryMetrics(pub Arc<Metrics>);

impl Observer for DeliveryMetrics {
    fn lag(&self, sink: &str, lag: Lag) {
        let figures = self.0.sink(sink);
        figures.lag_records.set(lag.records as i64);
        figures.lag_seconds.set(lag.age.as_secs_f64());
    }

    fn breaker(&self, sink: &str, breaker: Breaker) {
        self.0.sink(sink).breaker_open.set(i64::from(breaker != Breaker::Closed));
    }

    fn attempted(&self, sink: &str, delivered: usize, took: Duration) {
        let figures = self.0.sink(sink);
        figures.rows.inc_by(delivered as u64);
        figures.deliver_seconds.observe(took.as_secs_f64());
    }

    fn failed(&self, sink: &str) {
        self.0.sink_retries.with_label_values(&[sink]).inc();
    }

    fn rejected(&self, sink: &str, rows: usize) {
        self.0.sink_rejected.with_label_values(&[sink]).inc_by(rows as u64);
    }

    fn outdated(&self, sink: &str, rows: usize) {
        self.0.sink_outdated.with_label_values(&[sink]).inc_by(rows as u64);
    }

    fn lost(&self, sink: &str, records: u64) {
        self.0.sink_lost_records.with_label_values(&[sink]).inc_by(records);
    }
}
