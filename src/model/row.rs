//! One row of a stream as a sink, a live feed or a file sees it, and its JSON: one shape everywhere.
//!
//! A [`Row`] shares the batch it came in, so taking one costs a reference count. Its JSON is the contract's:
//! outputs serialise themselves, readings and dead letters do so here.

use std::sync::Arc;

use data_encoding::BASE64;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::{Batch, Cell, DeadLetter, Offset, Output, Reading, ResultId, Timestamp};

/// The journal's streams that rows are delivered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamName {
    /// Readings as they were acknowledged.
    Readings,
    /// Window results, late readings, alerts.
    Results,
    /// Refused messages.
    DeadLetters,
}

impl StreamName {
    /// Every stream.
    pub const ALL: [Self; 3] = [Self::Readings, Self::Results, Self::DeadLetters];

    /// The word in configuration, logs and directories.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Readings => "readings",
            Self::Results => "results",
            Self::DeadLetters => "dead-letters",
        }
    }
}

/// One row, sharing the memory of what it was read with.
#[derive(Clone, Debug)]
pub enum Row {
    /// The output at this place.
    Output(Arc<[Output]>, usize),
    /// The reading in this row.
    Reading(Arc<Batch>, usize),
    /// The dead letter at this place.
    DeadLetter(Arc<[DeadLetter]>, usize),
}

/// A borrowed row.
#[derive(Clone, Copy)]
pub enum RowView<'a> {
    /// A window result, a late reading or an alert.
    Output(&'a Output),
    /// A reading.
    Reading(Reading<'a>),
    /// A refused message.
    DeadLetter(&'a DeadLetter),
}

impl Row {
    /// The row itself.
    pub fn view(&self) -> RowView<'_> {
        match self {
            Self::Output(outputs, at) => RowView::Output(&outputs[*at]),
            Self::Reading(batch, at) => RowView::Reading(batch.reading(*at)),
            Self::DeadLetter(letters, at) => RowView::DeadLetter(&letters[*at]),
        }
    }
}

/// Bytes of a row's JSON that are not its texts and values, roughly.
const FRAME_BYTES: usize = 192;
/// Bytes of a name with its value, roughly.
const VALUE_BYTES: usize = 24;

impl<'a> RowView<'a> {
    /// The row's id: an output's own; else a hash of the journal's id, the stream and the offset.
    pub fn id(self, journal: ResultId, offset: Offset) -> ResultId {
        match self {
            Self::Output(Output::Result(row)) => row.id,
            Self::Output(Output::Alert(row)) => row.id,
            Self::Output(Output::Late(_)) => stream_id(journal, StreamName::Results, offset),
            Self::Reading(_) => journal.with_number(offset.0),
            Self::DeadLetter(_) => stream_id(journal, StreamName::DeadLetters, offset),
        }
    }

    /// What rows of one subject share: rows with the same key stay in order.
    pub fn key(self) -> &'a str {
        match self {
            Self::Output(Output::Result(row)) => &row.key,
            Self::Output(Output::Alert(row)) => &row.key,
            Self::Output(Output::Late(row)) => &row.key,
            Self::Reading(reading) => reading.sensor(),
            Self::DeadLetter(letter) => &letter.source,
        }
    }

    /// The size of the row's JSON in bytes, roughly: what byte budgets count.
    pub fn bytes(self) -> usize {
        FRAME_BYTES
            + match self {
                Self::Output(Output::Result(row)) => (row.tags.len() + row.values.len()) * VALUE_BYTES,
                Self::Output(Output::Late(row)) => row.values.len() * VALUE_BYTES,
                Self::Output(Output::Alert(row)) => {
                    row.summary.len() + (row.tags.len() + row.values.len()) * VALUE_BYTES
                }
                Self::Reading(reading) => (reading.fields().count() + reading.tags().count()) * VALUE_BYTES,
                Self::DeadLetter(letter) => letter.detail.len() + letter.payload.len() * 4 / 3,
            }
    }
}

fn stream_id(journal: ResultId, stream: StreamName, offset: Offset) -> ResultId {
    journal.with_text(stream.as_str()).with_number(offset.0)
}

/// A row's JSON, as the contract has it.
#[derive(Clone, Copy)]
pub struct RowJson<'a> {
    /// The id shown for readings and dead letters; outputs show their own.
    pub id: ResultId,
    /// The row.
    pub row: RowView<'a>,
}

impl Serialize for RowJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.row {
            RowView::Output(output) => output.serialize(serializer),
            RowView::Reading(reading) => ReadingJson::new(self.id, reading).serialize(serializer),
            RowView::DeadLetter(letter) => DeadLetterJson::new(self.id, letter).serialize(serializer),
        }
    }
}

/// The members in the contract's order.
#[derive(Serialize)]
#[serde(tag = "type", rename = "reading")]
struct ReadingJson<'a> {
    id: ResultId,
    source: &'a str,
    sensor: &'a str,
    time: Timestamp,
    received: Timestamp,
    fields: Members<'a>,
    tags: Members<'a>,
}

impl<'a> ReadingJson<'a> {
    fn new(id: ResultId, reading: Reading<'a>) -> Self {
        Self {
            id,
            source: reading.source(),
            sensor: reading.sensor(),
            time: reading.time(),
            received: reading.received(),
            fields: Members(reading.fields().collect()),
            tags: Members(reading.tags().collect()),
        }
    }
}

/// Names and values as a JSON object.
struct Members<'a>(Vec<(&'a str, Cell<'a>)>);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "dead-letter")]
struct DeadLetterJson<'a> {
    id: ResultId,
    source: &'a str,
    reason: &'a str,
    detail: &'a str,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    payload: String,
}

impl<'a> DeadLetterJson<'a> {
    fn new(id: ResultId, letter: &'a DeadLetter) -> Self {
        Self {
            id,
            source: &letter.source,
            reason: letter.reason.as_str(),
            detail: &letter.detail,
            topic: &letter.topic,
            line: letter.line,
            payload: BASE64.encode(&letter.payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use expect_test::expect;

    use super::*;
    use crate::model::batch::NewReading;
    use crate::model::{BatchBuilder, Identity, Reason};

    fn json(row: &Row) -> String {
        let journal = ResultId::EMPTY.with_text("journal");
        let id = row.view().id(journal, Offset(7));
        serde_json::to_string(&RowJson { id, row: row.view() }).unwrap()
    }

    #[test]
    fn a_reading_has_the_shape_of_the_contract() {
        let mut builder = BatchBuilder::default();
        builder.push(NewReading {
            source: "fleet",
            sensor: "v17",
            time: Timestamp::from_millis(1_767_225_600_000),
            received: Timestamp::from_millis(1_767_225_600_123),
            flags: 0,
            fields: &[("speed", Cell::Number(90.0)), ("ok", Cell::Bool(true)), ("note", Cell::Null)],
            tags: &[("customer", Cell::Text("a\"b"))],
        });
        builder.end_message(Identity::None);
        let row = Row::Reading(Arc::new(builder.finish()), 0);
        expect![[r#"{"type":"reading","id":"8b3b219562572923d693f56205e45dbd","source":"fleet","sensor":"v17","time":1767225600000,"received":1767225600123,"fields":{"speed":90,"ok":true,"note":null},"tags":{"customer":"a\"b"}}"#]]
            .assert_eq(&json(&row));
    }

    #[test]
    fn a_dead_letter_keeps_its_bytes() {
        let letter = DeadLetter {
            source: "fleet".into(),
            reason: Reason::Schema,
            detail: "/speed_kmh: 900 is greater than the maximum of 400".into(),
            topic: "fleet/v17/telemetry".into(),
            principal: "anonymous".into(),
            received: Timestamp::from_millis(5),
            line: Some(17),
            payload: Bytes::from_static(b"{\xff"),
            length_bytes: 2,
            identity: Identity::None,
        };
        let row = Row::DeadLetter([letter].into(), 0);
        expect![[r#"{"type":"dead-letter","id":"cd22fe514f277c4e6df4e75dd577917a","source":"fleet","reason":"schema","detail":"/speed_kmh: 900 is greater than the maximum of 400","topic":"fleet/v17/telemetry","line":17,"payload":"e/8="}"#]].assert_eq(&json(&row));
    }
}
