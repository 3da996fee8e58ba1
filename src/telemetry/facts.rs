//! One struct per observable fact: recording it writes the log line and counts, together.
//!
//! What a sender can repeat at will is logged once a second with the number held back; an expression's
//! failure is logged once per place. Counting is never limited. Texts from outside are cut and escaped.
//! Successes on the hot path are no facts: they go through [`super::handles`].

mod disk;
mod retention;
mod sinks;
mod store;

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::{debug, error, info, warn};

pub use disk::{BallastMissing, BallastReleased, BallastRestored, DiskLevelChanged};
pub use retention::{LeftBehind, SegmentRemoved};
pub use sinks::{BreakerClosed, BreakerOpened, ConfigLoaded, ConfigRefused, SinkRejected, SinkRetry};
pub use store::{LanesRestarted, StoreDamaged, StoreDumpFailed, StoreDumped, StoreRestored};

use super::Metrics;
use crate::model::Reason;
use crate::model::inbound::Protocol;
use crate::model::reason::Class;

/// Longest text from outside that goes into a log line, in characters.
const TEXT_MAX: usize = 200;

/// Something that happened and is worth a line and a count.
pub trait Fact {
    /// Logs and counts.
    fn record(&self, metrics: &Metrics);
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(TEXT_MAX).map_or(text, |(end, _)| &text[..end])
}

/// A client has connected.
pub struct ConnectionOpened {
    /// By which protocol.
    pub protocol: Protocol,
    /// From where.
    pub peer: SocketAddr,
}

impl Fact for ConnectionOpened {
    fn record(&self, metrics: &Metrics) {
        let label = [self.protocol.as_str()];
        metrics.connections.with_label_values(&label).inc();
        metrics.listen_connections.with_label_values(&label).inc();
        debug!(protocol = label[0], peer = %self.peer, "connection opened");
    }
}

/// A client has gone; each opened connection is closed once.
pub struct ConnectionClosed<'a> {
    /// By which protocol.
    pub protocol: Protocol,
    /// From where.
    pub peer: SocketAddr,
    /// Why: `client left`, or an error.
    pub why: &'a dyn Display,
}

impl Fact for ConnectionClosed<'_> {
    fn record(&self, metrics: &Metrics) {
        let protocol = self.protocol.as_str();
        metrics.connections.with_label_values(&[protocol]).dec();
        debug!(protocol, peer = %self.peer, why = %self.why, "connection closed");
    }
}

/// A message was refused, and its sender told where the protocol can.
pub struct MessageRefused<'a> {
    /// By which protocol it came.
    pub protocol: Protocol,
    /// The source that took the topic, if one did.
    pub source: Option<&'a str>,
    /// The topic, as sent.
    pub topic: &'a str,
    /// Who sent it.
    pub principal: &'a str,
    /// The word.
    pub reason: Reason,
    /// Pointer or record, and what is wrong there.
    pub detail: &'a str,
}

impl Fact for MessageRefused<'_> {
    fn record(&self, metrics: &Metrics) {
        let (protocol, reason) = (self.protocol.as_str(), self.reason.as_str());
        metrics.listen_refused.with_label_values(&[protocol, reason]).inc();
        metrics.intake_rejected.with_label_values(&[self.source.unwrap_or_default(), reason]).inc();
        match self.reason.class() {
            Class::Content => self.log_kept(metrics),
            Class::Denied => self.log_denied(metrics),
            Class::Later => {
                debug!(protocol, reason, topic = ?cut(self.topic), "message put off, the sender keeps it")
            }
        }
    }
}

impl MessageRefused<'_> {
    fn log_kept(&self, metrics: &Metrics) {
        if let Some(held_back) = metrics.limits.refused.admit() {
            warn!(
                protocol = self.protocol.as_str(),
                reason = self.reason.as_str(),
                source = self.source,
                topic = ?cut(self.topic),
                principal = ?cut(self.principal),
                detail = ?cut(self.detail),
                held_back,
                "message refused, kept as a dead letter"
            );
        }
    }

    fn log_denied(&self, metrics: &Metrics) {
        if let Some(held_back) = metrics.limits.denied.admit() {
            warn!(
                protocol = self.protocol.as_str(),
                reason = self.reason.as_str(),
                topic = ?cut(self.topic),
                principal = ?cut(self.principal),
                held_back,
                "message denied"
            );
        }
    }
}

/// A message without promise (QoS 0, CoAP NON) was dropped.
pub struct MessageDropped {
    /// By which protocol it came.
    pub protocol: Protocol,
    /// The word.
    pub reason: Reason,
}

impl Fact for MessageDropped {
    fn record(&self, metrics: &Metrics) {
        let (protocol, reason) = (self.protocol.as_str(), self.reason.as_str());
        metrics.listen_dropped.with_label_values(&[protocol, reason]).inc();
        debug!(protocol, reason, "message without promise dropped");
    }
}

/// What was sent again was acknowledged like its original and not processed again.
pub struct DuplicatesDropped<'a> {
    /// The source that took the topic.
    pub source: &'a str,
    /// Whole messages.
    pub messages: u64,
    /// Readings of messages that held new ones too.
    pub readings: u64,
}

impl Fact for DuplicatesDropped<'_> {
    fn record(&self, metrics: &Metrics) {
        let &Self { source, messages, readings } = self;
        metrics.intake_duplicates.with_label_values(&[source]).inc_by(messages);
        metrics.intake_repeated.with_label_values(&[source]).inc_by(readings);
        debug!(source, messages, readings, "duplicates acknowledged, not processed again");
    }
}

/// A write or sync failed: the stream takes nothing until it has been opened anew.
pub struct JournalFailed<'a> {
    /// Which stream.
    pub stream: &'a str,
    /// What the operating system said.
    pub error: &'a dyn Display,
}

impl Fact for JournalFailed<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.journal_failed.with_label_values(&[self.stream]).set(1);
        error!(stream = self.stream, error = %self.error, "journal stream failed, senders keep their messages");
    }
}

/// A stream has been opened and takes records.
pub struct JournalRecovered<'a> {
    /// Which stream.
    pub stream: &'a str,
    /// The next record's offset.
    pub next_offset: u64,
    /// How long opening took.
    pub took: Duration,
}

impl Fact for JournalRecovered<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.journal_failed.with_label_values(&[self.stream]).set(0);
        info!(stream = self.stream, next_offset = self.next_offset, took = ?self.took, "journal stream open");
    }
}

/// The end of a segment held an incomplete frame that was never acknowledged.
pub struct TornTail<'a> {
    /// Which stream.
    pub stream: &'a str,
    /// The segment's file.
    pub segment: &'a dyn Display,
    /// How many bytes were cut off.
    pub bytes: u64,
}

impl Fact for TornTail<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.journal_torn_bytes.with_label_values(&[self.stream]).inc_by(self.bytes);
        warn!(stream = self.stream, segment = %self.segment, bytes = self.bytes, "torn tail cut off, nothing acknowledged is lost");
    }
}

/// Records are lost: corruption, or a consumer left behind by retention.
pub struct Gap<'a> {
    /// Which stream.
    pub stream: &'a str,
    /// The first offset lost.
    pub first: u64,
    /// How many.
    pub records: u64,
    /// How it came about.
    pub why: &'a dyn Display,
}

impl Fact for Gap<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.journal_gap_records.with_label_values(&[self.stream]).inc_by(self.records);
        error!(stream = self.stream, first = self.first, records = self.records, why = %self.why, "records lost");
    }
}

/// A sensor's actor panicked; it is rebuilt and the readings that did it are set aside.
pub struct SensorPanicked<'a> {
    /// In which lane.
    pub lane: &'a str,
    /// The sensor's key.
    pub key: &'a str,
}

impl Fact for SensorPanicked<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.lane_panics.with_label_values(&[self.lane]).inc();
        error!(lane = self.lane, key = ?cut(self.key), "sensor panicked, its batch goes to the dead letters");
    }
}

/// Evaluations of an expression failed; the rows count as not matching.
pub struct ExpressionFailed<'a> {
    /// The configuration key: `pipeline.speeding.where`.
    pub place: &'a str,
    /// How many.
    pub count: u64,
    /// The last one's error.
    pub error: &'a dyn Display,
}

impl Fact for ExpressionFailed<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.expression_errors.with_label_values(&[self.place]).inc_by(self.count);
        if metrics.limits.expressions.admit(self.place) {
            warn!(place = self.place, error = %self.error, "expression failed (logged once, counted always)");
        }
    }
}

/// Readings came after all their windows had fired.
pub struct LateReadings<'a> {
    /// Too late for which pipeline.
    pub pipeline: &'a str,
    /// How many.
    pub count: u64,
}

impl Fact for LateReadings<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.pipeline_late.with_label_values(&[self.pipeline]).inc_by(self.count);
        if let Some(held_back) = metrics.limits.late.admit() {
            info!(pipeline = self.pipeline, count = self.count, held_back, "late readings");
        }
    }
}
