//! Where rows go: what every sink is, and which kinds there are. One file a kind, all of the same shape.
//!
//! On the data's path a sink is the last stage: `deliver` hands it leased rows, it answers what became of them.
//! It keeps no queue and no retry loop of its own; both are `deliver`'s.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::config::{self, SinkKind};
use crate::http_client::{HttpClient, HttpError};
use crate::outbox::{CursorError, Cursors, Delivery, LeaseLimits, Positions};

pub mod file;
pub mod influxdb;
pub mod webhook;

/// A counterpart that takes rows.
pub trait Sink: Send {
    /// What it promises and needs.
    fn profile(&self) -> Profile;

    /// Where it stands, if it keeps the cursor itself and is not new.
    fn positions(&self) -> Option<Positions> {
        None
    }

    /// Delivers `rows`; ready when the counterpart has them. `after` is where the cursors stand once all of
    /// them are delivered: a sink that keeps the cursor commits it with the rows, and does so also for no rows.
    ///
    /// # Errors
    /// [`SinkError`] says what became of the rows that are not delivered; all others are.
    fn deliver<'a>(
        &'a mut self,
        rows: &'a [Delivery],
        after: &'a Positions,
    ) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Ready once nothing works any more of a delivery whose future was dropped.
    fn idle(&mut self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// What a sink promises and needs.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// How often a row may arrive.
    pub guarantee: Guarantee,
    /// Who makes the cursor durable.
    pub cursor: CursorKeeper,
    /// What is sent of alerts that had to wait.
    pub waited_alerts: WaitedAlerts,
    /// How much it takes at once.
    pub limits: LeaseLimits,
}

/// How often a row may arrive after crashes and repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Once.
    ExactlyOnce,
    /// More than once, with the effect of once: same id or point.
    EffectivelyOnce,
    /// At least once; the row's id tells.
    AtLeastOnce,
}

/// Who makes the cursor durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorKeeper {
    /// The outbox, at most a second late.
    Outbox,
    /// The sink, in one step with the rows.
    Sink,
}

/// What is sent of alerts that had to wait out an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitedAlerts {
    /// Every row.
    All,
    /// An episode's current state, and nothing older than `max_age`: nobody is paged for the past.
    Current,
}

/// What became of the rows that are not delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{} rows rejected, {}", rejected.len(), retry.as_ref().map_or("none to retry", |retry| &retry.reason))]
pub struct SinkError {
    /// Refused for good: they would be refused again.
    pub rejected: Vec<Rejected>,
    /// Not taken this time.
    pub retry: Option<Retry>,
}

/// A row that the counterpart refuses for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Index of the row in what was delivered.
    pub row: usize,
    /// What the counterpart said.
    pub reason: String,
}

/// Rows to send again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Which.
    pub rows: RetryRows,
    /// What went wrong.
    pub reason: String,
    /// What the counterpart asked to wait for (`Retry-After`).
    pub after: Option<Duration>,
}

/// Which rows to send again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryRows {
    /// All that are not rejected.
    All,
    /// Those with these indices, in ascending order.
    Only(Vec<usize>),
}

impl SinkError {
    /// How many of `count` rows are not delivered.
    pub fn rows_left(&self, count: usize) -> usize {
        match self.retry.as_ref().map(|retry| &retry.rows) {
            None => self.rejected.len(),
            Some(RetryRows::All) => count,
            Some(RetryRows::Only(rows)) => rows.len() + self.rejected.len(),
        }
    }

    /// Nothing was delivered; to be tried again.
    pub fn retry_all(reason: impl Into<String>) -> Self {
        let retry = Retry { rows: RetryRows::All, reason: reason.into(), after: None };
        Self { rejected: Vec::new(), retry: Some(retry) }
    }
}

/// Why a sink cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its state cannot be read.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// Its URL is none.
    #[error("sink {0}: {1}")]
    Url(Arc<str>, HttpError),
    /// One of its headers is none.
    #[error("sink {sink}: header {header} is not a header")]
    Header {
        /// The sink.
        sink: Arc<str>,
        /// The header's name.
        header: String,
    },
}

/// Opens the sink that `config` describes.
///
/// # Errors
/// [`OpenError`] where it can never work. An unreachable counterpart is none: that is for `deliver` to wait out.
pub fn open(
    config: &config::Sink,
    http: &HttpClient,
    cursors: &Arc<dyn Cursors>,
) -> Result<Box<dyn Sink>, OpenError> {
    let name = Arc::clone(&config.name);
    Ok(match &config.kind {
        SinkKind::File(settings) => Box::new(file::FileSink::open(name, settings, Arc::clone(cursors))?),
        SinkKind::Influxdb(settings) => Box::new(influxdb::InfluxdbSink::open(name, settings, http.clone())?),
        SinkKind::Webhook(settings) => Box::new(webhook::WebhookSink::open(name, settings, http.clone())?),
    })
}
