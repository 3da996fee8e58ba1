//! A row as a point in InfluxDB's line protocol (1.x reference, "Line protocol"; pure).
//!
//! | row | measurement | tags | fields | time |
//! |---|---|---|---|---|
//! | result | pipeline | `key`, tags | values, `revision`, `sequence`, `partial` | `start` or `end` |
//! | late | `late` | `pipeline`, `key` | values | `time` |
//! | alert | `alert` | `alert`, `key`, `state`, `severity`, tags | values, `summary`, `episode`, `reason` | `time` |
//! | reading | source | `sensor`, tags | fields | `time` |
//! | dead letter | `dead_letter` | `source`, `reason` | `topic`, `detail` | `received` |
//!
//! An alert's state is a tag, so that a firing and its end at the same time are two points. Numbers are floats
//! everywhere: a field that is 1 today and 1.5 tomorrow must not conflict with itself. `time` cannot be a name
//! in InfluxDB; it becomes `time_`.

use std::fmt::Write;

use crate::config::PointTime;
use crate::model::output::Values;
use crate::model::{AlertRow, Cell, DeadLetter, Late, Output, Reading, ResultRow, RowView, Timestamp, Value};

/// The row's line, without its end; `None` where it has no value to store.
pub(super) fn encode(row: RowView<'_>, time: PointTime) -> Option<String> {
    match row {
        RowView::Output(Output::Result(row)) => result(row, time),
        RowView::Output(Output::Late(row)) => late(row),
        RowView::Output(Output::Alert(row)) => alert(row),
        RowView::Reading(reading) => self::reading(reading),
        RowView::DeadLetter(letter) => dead_letter(letter),
    }
}

fn result(row: &ResultRow, time: PointTime) -> Option<String> {
    let mut line = Line::new(&row.pipeline);
    line.tag("key", Cell::Text(&row.key));
    line.tags(&row.tags, &["key"]);
    line.fields(&row.values);
    line.field("revision", Cell::Number(row.revision.into()));
    if let Some(sequence) = row.sequence {
        line.field("sequence", Cell::Number(sequence as f64));
    }
    if row.partial {
        line.field("partial", Cell::Bool(true));
    }
    line.at(match time {
        PointTime::Start => row.start,
        PointTime::End => row.end,
    })
}

fn late(row: &Late) -> Option<String> {
    let mut line = Line::new("late");
    line.tag("pipeline", Cell::Text(&row.pipeline));
    line.tag("key", Cell::Text(&row.key));
    line.fields(&row.values);
    line.at(row.time)
}

fn alert(row: &AlertRow) -> Option<String> {
    let mut line = Line::new("alert");
    line.tag("alert", Cell::Text(&row.alert));
    line.tag("key", Cell::Text(&row.key));
    line.tag("state", Cell::Text(row.state.as_str()));
    line.tag("severity", Cell::Text(row.severity.as_str()));
    line.tags(&row.tags, &["alert", "key", "state", "severity"]);
    line.fields(&row.values);
    line.field("summary", Cell::Text(&row.summary));
    line.field("episode", Cell::Text(&row.episode.to_string()));
    if let Some(reason) = &row.reason {
        line.field("reason", Cell::Text(reason));
    }
    line.at(row.time)
}

fn reading(reading: Reading<'_>) -> Option<String> {
    let mut line = Line::new(reading.source());
    line.tag("sensor", Cell::Text(reading.sensor()));
    for (name, value) in reading.tags().filter(|(name, _)| *name != "sensor") {
        line.tag(name, value);
    }
    for (name, value) in reading.fields() {
        line.field(name, value);
    }
    line.at(reading.time())
}

fn dead_letter(letter: &DeadLetter) -> Option<String> {
    let mut line = Line::new("dead_letter");
    line.tag("source", Cell::Text(&letter.source));
    line.tag("reason", Cell::Text(letter.reason.as_str()));
    line.field("topic", Cell::Text(&letter.topic));
    line.field("detail", Cell::Text(&letter.detail));
    line.at(letter.received)
}

/// A line as it is put together.
struct Line {
    head: String,
    fields: String,
}

impl Line {
    fn new(measurement: &str) -> Self {
        let mut head = String::with_capacity(128);
        if measurement.starts_with('#') {
            // InfluxDB would take the line for a comment and say that all is well.
            head.push('\\');
        }
        push_name(&mut head, measurement, &[',', ' ']);
        Self { head, fields: String::new() }
    }

    /// Adds a tag; one without a value is none.
    fn tag(&mut self, name: &str, value: Cell<'_>) {
        let value = match value {
            Cell::Null | Cell::Text("") => return,
            Cell::Bool(value) => value.to_string(),
            Cell::Number(value) => value.to_string(),
            Cell::Text(value) => value.to_owned(),
        };
        self.head.push(',');
        push_name(&mut self.head, stored_name(name), &[',', '=', ' ']);
        self.head.push('=');
        push_name(&mut self.head, &value, &[',', '=', ' ']);
    }

    /// Adds tags, those with a `reserved` name left out: the row's own tags have that name.
    fn tags(&mut self, tags: &Values, reserved: &[&str]) {
        let free = tags.iter().filter(|(name, _)| !reserved.contains(&&***name));
        free.for_each(|(name, value)| self.tag(name, value.cell()));
    }

    fn fields(&mut self, fields: &Values) {
        fields.iter().for_each(|(name, value): (_, &Value)| self.field(name, value.cell()));
    }

    /// Adds a field; null is none.
    fn field(&mut self, name: &str, value: Cell<'_>) {
        if matches!(value, Cell::Null) || matches!(value, Cell::Number(number) if !number.is_finite()) {
            return;
        }
        if !self.fields.is_empty() {
            self.fields.push(',');
        }
        push_name(&mut self.fields, stored_name(name), &[',', '=', ' ']);
        self.fields.push('=');
        match value {
            Cell::Null => {}
            Cell::Bool(value) => self.fields.push_str(if value { "true" } else { "false" }),
            Cell::Number(value) => write!(self.fields, "{value:?}").expect("a string takes everything"),
            Cell::Text(value) => push_text(&mut self.fields, value),
        }
    }

    fn at(self, time: Timestamp) -> Option<String> {
        let Self { head, fields } = self;
        (!fields.is_empty()).then(|| format!("{head} {fields} {}", time.nanos()))
    }
}

fn stored_name(name: &str) -> &str {
    if name == "time" { "time_" } else { name }
}

/// Appends a measurement, a name or a tag's value. A line end would end the point and a backslash at the end
/// would escape what follows; the protocol has no way to write either, so they become a blank and nothing.
fn push_name(line: &mut String, name: &str, escaped: &[char]) {
    for letter in name.trim_end_matches('\\').chars() {
        if escaped.contains(&letter) {
            line.push('\\');
        }
        match letter {
            '\n' | '\r' => line.push_str("\\ "),
            _ => line.push(letter),
        }
    }
}

/// Appends a text in quotes; line ends may stand in it.
fn push_text(line: &mut String, text: &str) {
    line.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            line.push('\\');
        }
        line.push(letter);
    }
    line.push('"');
}

#[cfg(test)]
mod tests;
