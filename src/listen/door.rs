//! The door every listener shares: a burst of messages in, one verdict for each out, durably.
//!
//! Bytes → [`Inbound`] (listener) → [`Door::admit`]: intake of the whole burst into one batch, at most one
//! append a stream, both awaited together → verdicts → the protocol's answers (listener).
//!
//! Invariants: a verdict other than [`Verdict::Later`] means that the message is on disk, as readings or as a
//! dead letter; appends are begun in the order of the calls' first polls; every message is counted once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future;

use crate::access::{Access, Reach};
use crate::config::{self, Anonymous, OnDenied, Priority, TopicLevel};
use crate::intake::Intake;
use crate::journal::{Stream, Work};
use crate::model::dead_letter::KEPT_BYTES_MAX;
use crate::model::{BatchBuilder, DeadLetter, Inbound, Protocol, Reason};
use crate::telemetry::facts::{DuplicatesDropped, Fact, MessageRefused};
use crate::telemetry::handles::{ListenMetrics, SourceMetrics};
use crate::telemetry::{Metrics, clock};

use super::room::{Level, Room};
use super::verdict::{self, Appended, MayBe, Outcome, Tally, Verdict};

/// The least a sender is asked to wait when it is put off, in seconds.
const RETRY_AFTER_S: u32 = 5;
/// How many bits of a second count are added, so that those put off together do not come back together.
const RETRY_SPREAD_BITS: u32 = 5;

/// What a [`Door`] is made of.
pub struct Setup<'a> {
    /// The compiled sources …
    pub intake: Arc<Intake>,
    /// … and what they were compiled from, in the same order.
    pub sources: &'a [config::Source],
    /// `[access]`.
    pub access: &'a config::Access,
    /// The journal's `readings`.
    pub readings: Stream,
    /// The journal's `dead-letters`.
    pub dead_letters: Stream,
    /// Whether there is room.
    pub room: Arc<Room>,
    /// Where facts are counted.
    pub metrics: Arc<Metrics>,
}

/// What every listener shares. Put it in an `Arc`.
pub struct Door {
    intake: Arc<Intake>,
    readings: Stream,
    dead_letters: Stream,
    room: Arc<Room>,
    pub(super) metrics: Arc<Metrics>,
    /// By source, in the order of the configuration.
    sources: Vec<SourceMetrics>,
    mqtt: ListenMetrics,
    coap: ListenMetrics,
    http: ListenMetrics,
    pub(super) access: Access,
    pub(super) on_denied: OnDenied,
    /// First levels of the sources' topics, where they are texts.
    pub(super) roots: BTreeSet<Arc<str>>,
    /// Senders put off so far; spreads their return.
    put_off: AtomicU32,
}

impl Door {
    /// Opens the door; every metric of its sources is shown at zero from now on.
    pub fn new(setup: Setup<'_>) -> Self {
        let Setup { intake, sources, access, readings, dead_letters, room, metrics } = setup;
        let reach = match access.anonymous {
            Anonymous::Never => Reach::Nowhere,
            Anonymous::Loopback => Reach::Loopback,
            Anonymous::Everywhere => Reach::Everywhere,
        };
        Self {
            sources: sources.iter().map(|source| metrics.source(&source.name)).collect(),
            mqtt: metrics.listen(Protocol::Mqtt),
            coap: metrics.listen(Protocol::Coap),
            http: metrics.listen(Protocol::Http),
            access: Access::new(reach),
            on_denied: access.on_denied,
            roots: sources.iter().filter_map(root).collect(),
            put_off: AtomicU32::new(0),
            intake,
            readings,
            dead_letters,
            room,
            metrics,
        }
    }

    /// Takes a burst of one protocol and returns a verdict for each message, in the same order.
    pub async fn admit(&self, burst: Vec<Inbound>) -> Vec<Verdict> {
        let Some(protocol) = burst.first().map(|inbound| inbound.protocol) else { return Vec::new() };
        let received = clock::monotonic();
        let handles = self.handles(protocol);
        handles.messages.inc_by(burst.len() as u64);
        handles.bytes.inc_by(burst.iter().map(|inbound| inbound.payload.len() as u64).sum());
        if protocol == Protocol::Mqtt && self.is_slowed(&burst) {
            self.room.relieved().await;
        }
        let mut batch = BatchBuilder::default();
        let mut letters = Vec::new();
        let outcomes: Vec<_> =
            burst.iter().map(|inbound| self.take(inbound, &mut batch, &mut letters)).collect();
        let work = (!batch.is_empty()).then(|| Work::Readings(batch.finish()));
        let readings = append(&self.readings, work);
        let letters = append(&self.dead_letters, (!letters.is_empty()).then_some(Work::DeadLetters(letters)));
        let (readings, letters) = future::join(readings, letters).await;
        if let Some(Ok(receipt)) = readings {
            let messages = outcomes.iter().zip(&burst);
            let messages = messages.map(|(outcome, inbound)| (outcome, self.may_be_copy(outcome, inbound)));
            verdict::tally(messages, &receipt).iter().for_each(|tally| self.count(tally));
        }
        let verdicts = verdict::settle(outcomes, readings, letters);
        burst.iter().zip(&verdicts).for_each(|(inbound, verdict)| self.record(inbound, verdict));
        acknowledged(handles, received.elapsed(), &verdicts);
        verdicts
    }

    /// Keeps a message that never became an [`Inbound`] (too large, no topic name) as a dead letter, which
    /// makes its refusal final. At most [`KEPT_BYTES_MAX`] of its bytes are kept.
    ///
    /// # Errors
    /// [`Reason::Disk`] where it cannot be kept: then the sender is told that instead.
    pub async fn refuse(&self, protocol: Protocol, letter: DeadLetter) -> Result<(), Reason> {
        let payload = Bytes::copy_from_slice(&letter.payload[..letter.payload.len().min(KEPT_BYTES_MAX)]);
        let letter = DeadLetter { payload, ..letter };
        let (topic, principal, detail) =
            (letter.topic.clone(), letter.principal.clone(), letter.detail.clone());
        let reason = letter.reason;
        let kept = append(&self.dead_letters, Some(Work::DeadLetters(vec![letter]))).await;
        let outcome = match kept {
            Some(Ok(_)) => Ok(()),
            _ => Err(Reason::Disk),
        };
        let reason = outcome.err().unwrap_or(reason);
        let (topic, principal, detail) = (&*topic, &*principal, &*detail);
        MessageRefused { protocol, source: None, topic, principal, reason, detail }.record(&self.metrics);
        outcome
    }

    /// Refuses a sender that is not allowed in; there is nothing to keep.
    pub fn deny(&self, protocol: Protocol, topic: &str) {
        let (source, principal, detail) = (None, "", "");
        let reason = Reason::Unauthenticated;
        MessageRefused { protocol, source, topic, principal, reason, detail }.record(&self.metrics);
    }

    /// Whether so much waits for the disk that new messages are put off before they are looked at.
    pub fn is_congested(&self) -> bool {
        self.readings.is_congested()
    }

    /// How long the next sender that is put off should wait: evenly spread, without a random source.
    pub fn retry_after(&self) -> Duration {
        // A Weyl sequence: the upper bits of multiples of 2^32 / golden ratio are spread evenly.
        let turn = self.put_off.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9);
        Duration::from_secs(u64::from(RETRY_AFTER_S + (turn >> (u32::BITS - RETRY_SPREAD_BITS))))
    }

    /// Counts what a protocol dropped before it became a message; `label` is the protocol's word for it.
    pub(super) fn dropped(&self, protocol: Protocol, label: &'static str) {
        self.metrics.listen_dropped.with_label_values(&[protocol.as_str(), label]).inc();
        tracing::debug!(protocol = protocol.as_str(), reason = label, "input dropped");
    }

    fn handles(&self, protocol: Protocol) -> &ListenMetrics {
        match protocol {
            Protocol::Mqtt => &self.mqtt,
            Protocol::Coap => &self.coap,
            Protocol::Http | Protocol::Backtest => &self.http,
        }
    }

    fn take(&self, inbound: &Inbound, batch: &mut BatchBuilder, letters: &mut Vec<DeadLetter>) -> Outcome {
        if let Some(reason) = self.put_off(inbound) {
            return Outcome::PutOff(reason);
        }
        match self.intake.admit(inbound, batch) {
            Ok(admitted) => Outcome::Readings { source: admitted.source, count: admitted.readings as u64 },
            Err(rejection) => {
                let letter = rejection.clone().dead_letter(inbound);
                // The listener's buffer holds a whole burst, and letters outlive it in the stream's tail.
                let payload = Bytes::copy_from_slice(&letter.payload);
                letters.push(DeadLetter { payload, ..letter });
                Outcome::Refused(rejection)
            }
        }
    }

    /// Whether a burst waits because processing is behind: an MQTT publisher is slowed by not being read.
    fn is_slowed(&self, burst: &[Inbound]) -> bool {
        self.room.is_pressed() && burst.iter().any(|inbound| self.priority(inbound) == Priority::Bulk)
    }

    /// Why there is no room for a message. CoAP and HTTP are told where MQTT is slowed.
    fn put_off(&self, inbound: &Inbound) -> Option<Reason> {
        let (disk, is_pressed) = (self.room.disk(), self.room.is_pressed());
        if disk == Level::Ample && !is_pressed {
            return None;
        }
        let priority = self.priority(inbound);
        if !disk.takes(priority) {
            return Some(Reason::Disk);
        }
        let is_told = is_pressed && inbound.protocol != Protocol::Mqtt && priority == Priority::Bulk;
        is_told.then_some(Reason::Overload)
    }

    /// What no source takes leaves a dead letter, which takes room like anything else.
    fn priority(&self, inbound: &Inbound) -> Priority {
        let source = self.intake.source_of(&inbound.topic);
        source.map_or(Priority::Normal, |source| self.intake.priority(source))
    }

    /// What it was is told by its identity, or reading by reading by its source's `dedup`.
    fn may_be_copy(&self, outcome: &Outcome, inbound: &Inbound) -> MayBe {
        match outcome {
            Outcome::Readings { source, .. } if self.intake.has_dedup(*source) => MayBe::InPart,
            Outcome::Readings { .. } if inbound.identity.is_looked_up() => MayBe::Whole,
            Outcome::Readings { .. } | Outcome::Refused(_) | Outcome::PutOff(_) => MayBe::New,
        }
    }

    fn count(&self, tally: &Tally) {
        let counters = &self.sources[tally.source];
        counters.accepted.inc_by(tally.accepted);
        counters.readings.inc_by(tally.readings);
        if tally.copies + tally.repeated > 0 {
            let source = self.intake.name(tally.source);
            let (messages, readings) = (tally.copies, tally.repeated);
            DuplicatesDropped { source, messages, readings }.record(&self.metrics);
        }
    }

    fn record(&self, inbound: &Inbound, verdict: &Verdict) {
        let (source, reason, detail) = match verdict {
            Verdict::Accepted { .. } => return,
            Verdict::Refused(rejection) => {
                (rejection.source.as_deref(), rejection.reason, rejection.to_string())
            }
            Verdict::Later(reason) => {
                let source = self.intake.source_of(&inbound.topic);
                (source.map(|source| &**self.intake.name(source)), *reason, String::new())
            }
        };
        let (topic, principal, detail) = (&*inbound.topic, &*inbound.principal, &*detail);
        let protocol = inbound.protocol;
        MessageRefused { protocol, source, topic, principal, reason, detail }.record(&self.metrics);
    }
}

async fn append(stream: &Stream, work: Option<Work>) -> Appended {
    match work {
        Some(work) => Some(stream.append(work).await),
        None => None,
    }
}

/// Observes one wait for every message of a burst that is answered finally.
fn acknowledged(handles: &ListenMetrics, wait: Duration, verdicts: &[Verdict]) {
    let histogram = handles.ack_seconds.local();
    let is_final = |verdict: &&Verdict| !matches!(verdict, Verdict::Later(_));
    verdicts.iter().filter(is_final).for_each(|_| histogram.observe(wait.as_secs_f64()));
    histogram.flush();
}

fn root(source: &config::Source) -> Option<Arc<str>> {
    match source.topic.levels.first() {
        Some(TopicLevel::Text(text)) => Some(text.clone()),
        _ => None,
    }
}
