//! A `[source]`, compiled: one payload to the readings of one message.

use std::sync::Arc;

use crate::config::{self, Priority, TimeRule, TopicPattern};
use crate::model::batch::NewReading;
use crate::model::{BatchBuilder, Reason};

use super::document::{Document, Node};
use super::fields::{FieldMap, Fields};
use super::limits::RECORDS_MAX;
use super::media::{self, Decoder};
use super::rejection::Rejection;
use super::schema::Schema;
use super::sensor::Naming;
use super::time::{self, Arrival, EventTime};
use super::{cbor, dedup, json, pack};

/// A compiled source.
pub struct Source {
    pub(super) name: Arc<str>,
    pub(super) priority: Priority,
    pub(super) topic: TopicPattern,
    pub(super) naming: Naming,
    pub(super) time: TimeRule,
    pub(super) fields: FieldMap,
    pub(super) schema: Option<Schema>,
    pub(super) dedup: Option<config::Dedup>,
    format: config::Format,
}

/// What the readings of a message have in common.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The topic path; empty in a backtest without one.
    pub topic: &'a str,
    /// The arrival time and what it may be used for.
    pub arrival: Arrival,
    /// Row index where the message begins.
    pub start: usize,
}

impl Source {
    /// Compiles `source`.
    ///
    /// # Errors
    /// The text of what is wrong with it.
    pub fn new(source: &config::Source) -> Result<Self, String> {
        let naming = Naming::new(source)?;
        Ok(Self {
            name: source.name.clone(),
            priority: source.priority,
            topic: source.topic.clone(),
            fields: FieldMap::new(source, &naming),
            naming,
            time: source.time.clone(),
            schema: source.schema.as_ref().map(Schema::new).transpose()?,
            dedup: source.dedup.clone(),
            format: source.format,
        })
    }

    /// Adds the readings of `payload` to `out`; on an error, some may have been added.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn admit(
        &self,
        payload: &[u8],
        media: &crate::model::Media,
        message: Message<'_>,
        out: &mut BatchBuilder,
    ) -> Result<(), Rejection> {
        match media::decoder(self.format, media, payload)? {
            Decoder::SenmlJson => {
                let pack = pack::from_json(payload)?;
                pack::check_schema(self, &pack, Some(payload))?;
                pack::admit(self, pack, message, out)
            }
            Decoder::SenmlCbor => {
                let pack = pack::from_cbor(payload)?;
                pack::check_schema(self, &pack, None)?;
                pack::admit(self, pack, message, out)
            }
            Decoder::Json => self.document(&json::decode(payload)?, message, out),
            Decoder::Cbor => self.document(&cbor::decode(payload)?, message, out),
            Decoder::Ndjson => self.lines(payload, message, out),
        }
    }

    /// One object, or an array of them.
    fn document(
        &self,
        document: &Document<'_>,
        message: Message<'_>,
        out: &mut BatchBuilder,
    ) -> Result<(), Rejection> {
        let root = document.root();
        let Some(elements) = root.as_array() else { return self.object(root, message, out) };
        if elements.len() == 0 {
            return Err(malformed("the array is empty"));
        }
        for (index, element) in elements.enumerate() {
            self.object(element, message, out).map_err(|refusal| refusal.in_record(index))?;
        }
        Ok(())
    }

    /// One object a line; empty lines are none, a line may end in CR LF.
    fn lines(&self, payload: &[u8], message: Message<'_>, out: &mut BatchBuilder) -> Result<(), Rejection> {
        let is_blank = |line: &&[u8]| line.trim_ascii().is_empty();
        let lines = (1..).zip(payload.split(|byte| *byte == b'\n'));
        let mut has_any = false;
        for (number, line) in lines.filter(|(_, line)| !is_blank(line)) {
            has_any = true;
            let read = json::decode(line).and_then(|document| self.object(document.root(), message, out));
            read.map_err(|refusal| refusal.in_line(number))?;
        }
        if has_any { Ok(()) } else { Err(malformed("the body has no lines")) }
    }

    fn object(&self, root: Node<'_>, message: Message<'_>, out: &mut BatchBuilder) -> Result<(), Rejection> {
        if root.as_object().is_none() {
            return Err(malformed(&format!("{} is no reading: an object is", root.kind())));
        }
        if let Some(schema) = &self.schema {
            schema.check(root)?;
        }
        let when = time::of_document(&self.time, root, message.arrival)?;
        let sensor = self.naming.name(message.topic, Some(root))?;
        let mut row: Fields<'_> = Vec::with_capacity(16);
        let has_field = self.fields.of_document(root, &mut row)?;
        if !has_field && when.flags != 0 {
            return Err(Rejection::new(
                Reason::Field,
                "the payload has neither a time nor a field of the source",
            ));
        }
        self.push(&sensor, when, &row, message, out)?;
        self.identify(Some(root), out);
        Ok(())
    }

    /// Gives the last reading its id, where the source says how to tell copies.
    pub(super) fn identify(&self, root: Option<Node<'_>>, out: &mut BatchBuilder) {
        let Some(rule) = &self.dedup else { return };
        let last = out.len().saturating_sub(1);
        if let Some(id) = dedup::record_id(rule, out.batch().reading(last), root) {
            out.identify(id);
        }
    }

    /// Adds one reading.
    ///
    /// # Errors
    /// [`Reason::Malformed`] where the message has too many.
    pub(super) fn push(
        &self,
        sensor: &str,
        when: EventTime,
        fields: &Fields<'_>,
        message: Message<'_>,
        out: &mut BatchBuilder,
    ) -> Result<(), Rejection> {
        if out.len() - message.start == RECORDS_MAX {
            return Err(malformed(&format!("more than {RECORDS_MAX} readings in one message")));
        }
        out.push(NewReading {
            source: &self.name,
            sensor,
            time: when.time,
            received: message.arrival.received(),
            flags: when.flags,
            fields,
            tags: &[],
        });
        Ok(())
    }
}

fn malformed(text: &str) -> Rejection {
    Rejection::new(Reason::Malformed, text)
}
