//! Intake: the second stage, between a listener and the journal. Bytes in, readings or a refusal out.
//!
//! The topic path picks the source ([`topic`]), the source's format and the media type the decoder ([`media`]);
//! JSON and CBOR become a borrowed [`document`] that the [`schema`] is checked on, SenML a [`pack`]; then
//! [`sensor`], [`time`] and [`fields`] make columns of it in the caller's `BatchBuilder`.
//!
//! Invariants: pure, so that a backtest and the daemon do the same; a message is atomic, one bad record refuses
//! the whole; no payload causes a panic, deep recursion, or memory beyond [`limits`].

use std::sync::Arc;

use crate::config::{self, Priority};
use crate::model::{BatchBuilder, Inbound, Reason};

pub mod base64url;
pub mod cbor;
pub mod dedup;
pub mod document;
pub mod fields;
pub mod json;
pub mod limits;
pub mod media;
pub mod pack;
pub mod rejection;
pub mod schema;
pub mod sensor;
pub mod source;
pub mod time;
pub mod topic;

pub use rejection::Rejection;

use source::{Message, Source};
use time::Arrival;
use topic::Topics;

/// All sources, compiled. Shared by every listener.
pub struct Intake {
    sources: Vec<Source>,
    topics: Topics,
}

/// A source that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("source.{source_name}: {text}")]
pub struct CompileError {
    /// The source's name.
    pub source_name: Arc<str>,
    /// What is wrong.
    pub text: String,
}

/// A message that became readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Index of the source in the configuration.
    pub source: usize,
    /// How many readings it gave, at least one.
    pub readings: usize,
}

impl Intake {
    /// Compiles `sources`, which are in file order.
    ///
    /// # Errors
    /// The first source whose schema or sensor template does not compile.
    pub fn new(sources: &[config::Source]) -> Result<Self, CompileError> {
        let compile = |source: &config::Source| {
            Source::new(source).map_err(|text| CompileError { source_name: source.name.clone(), text })
        };
        let topics = Topics::new(sources.iter().map(|source| source.topic.clone()).collect());
        Ok(Self { sources: sources.iter().map(compile).collect::<Result<_, _>>()?, topics })
    }

    /// The source that takes `topic`, as its index in the configuration; `None` where none does.
    pub fn source_of(&self, topic: &str) -> Option<usize> {
        self.topics.find(topic)
    }

    /// The name of a source.
    pub fn name(&self, source: usize) -> &Arc<str> {
        &self.sources[source].name
    }

    /// The priority of a source: who is refused first when room runs out.
    pub fn priority(&self, source: usize) -> Priority {
        self.sources[source].priority
    }

    /// Whether readings of a source that are known already are left out.
    pub fn has_dedup(&self, source: usize) -> bool {
        self.sources[source].dedup.is_some()
    }

    /// Adds the readings of `inbound` to `out`, as one message.
    ///
    /// # Errors
    /// Why it is refused; `out` then holds no reading or message more than before.
    pub fn admit(&self, inbound: &Inbound, out: &mut BatchBuilder) -> Result<Admitted, Rejection> {
        let source = self.topics.find(&inbound.topic).ok_or_else(|| {
            Rejection::new(Reason::Unmatched, format!("no source takes the topic {:?}", inbound.topic))
        })?;
        self.admit_at(source, inbound, Arrival::At(inbound.received), out)
    }

    /// As [`Self::admit`], for `backtest`: one payload, the `line`th of its input, at the given source. The topic
    /// may be empty. There is no arrival: a reading that would need it for its time is refused as `time`.
    ///
    /// # Errors
    /// As [`Self::admit`]; `unmatched` where there is a topic that the source does not take.
    pub fn admit_as(
        &self,
        source: usize,
        inbound: &Inbound,
        line: u64,
        out: &mut BatchBuilder,
    ) -> Result<Admitted, Rejection> {
        let pattern = &self.sources[source].topic;
        let admitted = if inbound.topic.is_empty() || topic::matches(pattern, &inbound.topic) {
            self.admit_at(source, inbound, Arrival::Unknown(inbound.received), out)
        } else {
            let text = format!("{:?} does not take the topic {:?}", pattern.text, inbound.topic);
            Err(Rejection::new(Reason::Unmatched, text).of_source(self.name(source)))
        };
        admitted.map_err(|refusal| refusal.in_line(line))
    }

    fn admit_at(
        &self,
        source: usize,
        inbound: &Inbound,
        arrival: Arrival,
        out: &mut BatchBuilder,
    ) -> Result<Admitted, Rejection> {
        let (mark, start) = (out.mark(), out.len());
        let message = Message { topic: &inbound.topic, arrival, start };
        let rule = &self.sources[source];
        match rule.admit(&inbound.payload, &inbound.media, message, out) {
            Ok(()) => {
                out.end_message(inbound.identity);
                Ok(Admitted { source, readings: out.len() - start })
            }
            Err(refusal) => {
                out.rollback(mark);
                Err(refusal.of_source(&rule.name))
            }
        }
    }
}

#[cfg(test)]
mod tests;
