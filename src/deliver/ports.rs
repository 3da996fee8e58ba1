//! What a delivery needs of the rest of the house, as traits; the application joins them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::retry::Breaker;
use crate::http_client::HttpClient;
use crate::model::{ResultId, Timestamp};
use crate::outbox::{Cursors, Lag};

/// Everything a delivery needs from outside.
#[derive(Clone)]
pub struct Ports {
    /// Durable state of sinks.
    pub cursors: Arc<dyn Cursors>,
    /// Where rows go that a counterpart refuses for good.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Metrics and status.
    pub observer: Arc<dyn Observer>,
    /// For sinks that speak HTTP.
    pub http: HttpClient,
    /// Wall time: ages of rows.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// The journal's id, hashed: the start of ids of rows that have none of their own.
    pub journal: ResultId,
}

/// The `dead-letters` stream, for rows that a counterpart refuses for good.
pub trait DeadLetters: Send + Sync {
    /// Keeps the row; ready when it is on disk.
    fn bury(&self, row: Undeliverable) -> BoxFuture<'_, Result<(), BuryError>>;
}

/// A row that a counterpart refuses for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undeliverable {
    /// The sink.
    pub sink: Arc<str>,
    /// The row's id.
    pub id: ResultId,
    /// What the counterpart said.
    pub detail: String,
    /// The row's JSON.
    pub row: Vec<u8>,
}

/// Why an undeliverable row could not be kept; it is then tried again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("dead letters do not take the row: {0}")]
pub struct BuryError(pub String);

/// Sees what deliveries do. Calls must not block.
pub trait Observer: Send + Sync {
    /// How far a sink is behind: `forebay_sink_lag_records`, `forebay_sink_lag_seconds`.
    fn lag(&self, sink: &str, lag: Lag);
    /// The state of a sink's breaker: `forebay_sink_breaker_open`.
    fn breaker(&self, sink: &str, breaker: Breaker);
    /// One attempt, `delivered` rows of it taken: `forebay_sink_rows_total`, `forebay_sink_deliver_seconds`.
    fn attempted(&self, sink: &str, delivered: usize, took: Duration);
    /// A failed attempt: `forebay_sink_retries_total`.
    fn failed(&self, sink: &str);
    /// Rows refused for good: `forebay_sink_rejected_total`.
    fn rejected(&self, sink: &str, rows: usize);
    /// Alerts not sent, because they are superseded or too old: `forebay_sink_outdated_total`.
    fn outdated(&self, sink: &str, rows: usize);
    /// Offsets lost to retention or damage before they were delivered: `forebay_sink_lost_records_total`.
    fn lost(&self, sink: &str, records: u64);
}
