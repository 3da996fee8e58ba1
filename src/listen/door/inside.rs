//! What a door goes by: sources, access, and what is counted of them. Never changed, only exchanged as a whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Rules;
use crate::access::{Access, Reach};
use crate::config::{self, Anonymous, OnDenied, Priority, TopicLevel};
use crate::intake::Intake;
use crate::listen::room::{Level, Room};
use crate::listen::verdict::{MayBe, Outcome, Tally};
use crate::model::{BatchBuilder, DeadLetter, Inbound, Protocol, Reason};
use crate::telemetry::Metrics;
use crate::telemetry::facts::{DuplicatesDropped, Fact};
use crate::telemetry::handles::SourceMetrics;

/// The rules of a door, with their counters.
pub(in crate::listen) struct Inside {
    pub(super) intake: Arc<Intake>,
    /// By source, in the order of the configuration.
    sources: Vec<SourceMetrics>,
    pub(super) access: Access,
    pub(in crate::listen) on_denied: OnDenied,
    /// First levels of the sources' topics, where they are texts.
    pub(in crate::listen) roots: BTreeSet<Arc<str>>,
}

impl Inside {
    pub(super) fn new(rules: Rules<'_>, metrics: &Metrics) -> Self {
        let Rules { intake, sources, access } = rules;
        let reach = match access.anonymous {
            Anonymous::Never => Reach::Nowhere,
            Anonymous::Loopback => Reach::Loopback,
            Anonymous::Everywhere => Reach::Everywhere,
        };
        Self {
            sources: sources.iter().map(|source| metrics.source(&source.name)).collect(),
            access: Access::new(reach),
            on_denied: access.on_denied,
            roots: sources.iter().filter_map(root).collect(),
            intake,
        }
    }

    /// Adds a message to the readings or to the letters, if there is room for it.
    pub(super) fn take(
        &self,
        inbound: &Inbound,
        room: &Room,
        batch: &mut BatchBuilder,
        letters: &mut Vec<DeadLetter>,
    ) -> Outcome {
        if let Some(reason) = self.put_off(inbound, room) {
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

    /// Why there is no room for a message. CoAP and HTTP are told where MQTT is slowed.
    fn put_off(&self, inbound: &Inbound, room: &Room) -> Option<Reason> {
        let (disk, is_pressed) = (room.disk(), room.is_pressed());
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
    pub(super) fn priority(&self, inbound: &Inbound) -> Priority {
        let source = self.intake.source_of(&inbound.topic);
        source.map_or(Priority::Normal, |source| self.intake.priority(source))
    }

    /// What it was is told by its identity, or reading by reading by its source's `dedup`.
    pub(super) fn may_be_copy(&self, outcome: &Outcome, inbound: &Inbound) -> MayBe {
        match outcome {
            Outcome::Readings { source, .. } if self.intake.has_dedup(*source) => MayBe::InPart,
            Outcome::Readings { .. } if inbound.identity.is_looked_up() => MayBe::Whole,
            Outcome::Readings { .. } | Outcome::Refused(_) | Outcome::PutOff(_) => MayBe::New,
        }
    }

    /// Counts a source's part of a burst.
    pub(super) fn count(&self, tally: &Tally, metrics: &Metrics) {
        let counters = &self.sources[tally.source];
        counters.accepted.inc_by(tally.accepted);
        counters.readings.inc_by(tally.readings);
        if tally.copies + tally.repeated > 0 {
            let source = self.intake.name(tally.source);
            let (messages, readings) = (tally.copies, tally.repeated);
            DuplicatesDropped { source, messages, readings }.record(metrics);
        }
    }
}

fn root(source: &config::Source) -> Option<Arc<str>> {
    match source.topic.levels.first() {
        Some(TopicLevel::Text(text)) => Some(text.clone()),
        _ => None,
    }
}
