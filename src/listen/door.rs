//! The door every listener shares: a burst of messages in, one verdict for each out, durably.
//!
//! Bytes → [`Inbound`] (listener) → [`Door::admit`]: intake of the whole burst into one batch, at most one
//! append a stream, both awaited together → verdicts → the protocol's answers (listener).
//!
//! What the door goes by, [`inside`], is exchanged as a whole while the gateway runs.
//!
//! Invariants: a verdict other than [`Verdict::Later`] means that the message is on disk, as readings or as a
//! dead letter; appends are begun in the order of the calls' first polls; every message is counted once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future;
use tokio::sync::RwLock as Gate;

use crate::access::{Origin, Principal, Unauthenticated};
use crate::config::{self, Priority};
use crate::intake::Intake;
use crate::journal::{Stream, Work};
use crate::model::dead_letter::KEPT_BYTES_MAX;
use crate::model::{BatchBuilder, DeadLetter, Inbound, Protocol, Reason};
use crate::telemetry::facts::{Fact, MessageRefused};
use crate::telemetry::handles::ListenMetrics;
use crate::telemetry::{Metrics, clock};

use super::room::Room;
use super::verdict::{self, Appended, Verdict};
use inside::Inside;

mod inside;

/// The least a sender is asked to wait when it is put off, in seconds.
const RETRY_AFTER_S: u32 = 5;
/// How many bits of a second count are added, so that those put off together do not come back together.
const RETRY_SPREAD_BITS: u32 = 5;

/// What a [`Door`] goes by.
pub struct Rules<'a> {
    /// The compiled sources …
    pub intake: Arc<Intake>,
    /// … and what they were compiled from, in the same order.
    pub sources: &'a [config::Source],
    /// `[access]`.
    pub access: &'a config::Access,
}

/// What a [`Door`] is made of.
pub struct Setup<'a> {
    /// What it goes by at first.
    pub rules: Rules<'a>,
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
    /// Held shared by each burst until its appends are done, alone by an exchange of the rules.
    gate: Gate<()>,
    inside: RwLock<Arc<Inside>>,
    readings: Stream,
    dead_letters: Stream,
    room: Arc<Room>,
    pub(super) metrics: Arc<Metrics>,
    mqtt: ListenMetrics,
    coap: ListenMetrics,
    http: ListenMetrics,
    /// Senders put off so far; spreads their return.
    put_off: AtomicU32,
}

impl Door {
    /// Opens the door; every metric of its sources is shown at zero from now on.
    pub fn new(setup: Setup<'_>) -> Self {
        let Setup { rules, readings, dead_letters, room, metrics } = setup;
        Self {
            gate: Gate::new(()),
            inside: RwLock::new(Arc::new(Inside::new(rules, &metrics))),
            mqtt: metrics.listen(Protocol::Mqtt),
            coap: metrics.listen(Protocol::Coap),
            http: metrics.listen(Protocol::Http),
            put_off: AtomicU32::new(0),
            readings,
            dead_letters,
            room,
            metrics,
        }
    }

    /// Goes by `rules` from the moment that `journalled` has written them down.
    ///
    /// A burst is admitted wholly by the rules before or wholly by these. No burst is under way while `journalled`
    /// runs, so in the journal every reading before its record was taken by the rules before and every one behind it
    /// by these; senders wait for the two syncs that takes. Sessions that are open stay open.
    ///
    /// # Errors
    /// What `journalled` yields; then the rules before hold on.
    pub async fn exchange<T, E>(
        &self,
        rules: Rules<'_>,
        journalled: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let _nobody_else = self.gate.write().await;
        let done = journalled.await?;
        *self.inside.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Inside::new(rules, &self.metrics));
        Ok(done)
    }

    pub(super) fn inside(&self) -> Arc<Inside> {
        self.inside.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a burst of one protocol and returns a verdict for each message, in the same order.
    pub async fn admit(&self, burst: Vec<Inbound>) -> Vec<Verdict> {
        let Some(protocol) = burst.first().map(|inbound| inbound.protocol) else { return Vec::new() };
        let received = clock::monotonic();
        if protocol == Protocol::Mqtt && self.is_slowed(&burst) {
            self.room.relieved().await;
        }
        let _open = self.gate.read().await;
        let inside = self.inside();
        let handles = self.handles(protocol);
        handles.messages.inc_by(burst.len() as u64);
        handles.bytes.inc_by(burst.iter().map(|inbound| inbound.payload.len() as u64).sum());
        let mut batch = BatchBuilder::default();
        let mut letters = Vec::new();
        let outcomes: Vec<_> =
            burst.iter().map(|inbound| inside.take(inbound, &self.room, &mut batch, &mut letters)).collect();
        let work = (!batch.is_empty()).then(|| Work::Readings(batch.finish()));
        let readings = append(&self.readings, work);
        let letters = append(&self.dead_letters, (!letters.is_empty()).then_some(Work::DeadLetters(letters)));
        let (readings, letters) = future::join(readings, letters).await;
        if let Some(Ok(receipt)) = readings {
            let messages = outcomes.iter().zip(&burst);
            let messages = messages.map(|(outcome, inbound)| (outcome, inside.may_be_copy(outcome, inbound)));
            verdict::tally(messages, &receipt).iter().for_each(|tally| inside.count(tally, &self.metrics));
        }
        let verdicts = verdict::settle(outcomes, readings, letters);
        burst.iter().zip(&verdicts).for_each(|(inbound, verdict)| self.record(&inside, inbound, verdict));
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

    /// Who a sender at `origin` is.
    ///
    /// # Errors
    /// [`Unauthenticated`] where anonymous is not allowed from there.
    pub(super) fn principal(&self, origin: Origin) -> Result<Principal, Unauthenticated> {
        self.inside().access.principal(origin)
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

    /// Whether a burst waits because processing is behind: an MQTT publisher is slowed by not being read.
    fn is_slowed(&self, burst: &[Inbound]) -> bool {
        let is_bulk =
            |inside: &Inside| burst.iter().any(|inbound| inside.priority(inbound) == Priority::Bulk);
        self.room.is_pressed() && is_bulk(&self.inside())
    }

    fn record(&self, inside: &Inside, inbound: &Inbound, verdict: &Verdict) {
        let (source, reason, detail) = match verdict {
            Verdict::Accepted { .. } => return,
            Verdict::Refused(rejection) => {
                (rejection.source.as_deref(), rejection.reason, rejection.to_string())
            }
            Verdict::Later(reason) => {
                let source = inside.intake.source_of(&inbound.topic);
                (source.map(|source| &**inside.intake.name(source)), *reason, String::new())
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
