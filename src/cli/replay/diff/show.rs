//! A difference as one line, for people and for programs, and the count of them.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::row::{Item, Kind};
use crate::cli::Style;
use crate::cli::time::rfc3339;

/// A difference between the two sides.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Only the changed configuration puts it out.
    Appears(&'a Item),
    /// Only the running one does.
    Vanishes(&'a Item),
    /// Both do, and say different things.
    Differs(&'a Item, &'a Item),
}

/// How many rows of which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    appear: u64,
    vanish: u64,
    differ: u64,
    stay: u64,
}

impl Counted {
    /// Counts what stands at one place on the two sides; the difference, if there is one.
    pub fn change<'a>(&mut self, before: Option<&'a Item>, after: Option<&'a Item>) -> Option<Change<'a>> {
        match (before, after) {
            (None, None) => None,
            (None, Some(new)) => {
                self.appear += 1;
                Some(Change::Appears(new))
            }
            (Some(old), None) => {
                self.vanish += 1;
                Some(Change::Vanishes(old))
            }
            (Some(old), Some(new)) if old.says == new.says => {
                self.stay += 1;
                None
            }
            (Some(old), Some(new)) => {
                self.differ += 1;
                Some(Change::Differs(old, new))
            }
        }
    }

    /// Whether there is no difference.
    pub fn is_same(&self) -> bool {
        self.appear + self.vanish + self.differ == 0
    }

    /// Writes the counts.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn write(&self, style: Style, out: &mut dyn Write) -> io::Result<()> {
        let Self { appear, vanish, differ, stay } = self;
        match style {
            Style::Text => {
                writeln!(out, "rows      {appear} appear, {vanish} vanish, {differ} change, {stay} stay")
            }
            Style::Json => {
                let counts = json!({"appear": appear, "vanish": vanish, "change": differ, "stay": stay});
                writeln!(out, "{counts}")
            }
        }
    }
}

/// Writes one difference as a line.
///
/// # Errors
/// Where it cannot be written.
pub fn show(change: &Change<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    match (style, change) {
        (Style::Text, Change::Appears(item)) => writeln!(out, "+ {}", line(item)),
        (Style::Text, Change::Vanishes(item)) => writeln!(out, "- {}", line(item)),
        (Style::Text, Change::Differs(before, after)) => {
            writeln!(out, "~ {} {}", head(after), differences(&before.says, &after.says))
        }
        (Style::Json, Change::Appears(item)) => {
            writeln!(out, "{}", json!({"change": "+", "after": item.says}))
        }
        (Style::Json, Change::Vanishes(item)) => {
            writeln!(out, "{}", json!({"change": "-", "before": item.says}))
        }
        (Style::Json, Change::Differs(before, after)) => {
            writeln!(out, "{}", json!({"change": "~", "before": before.says, "after": after.says}))
        }
    }
}

fn line(item: &Item) -> String {
    let empty = Map::new();
    let values = item.says.get("values").and_then(Value::as_object).unwrap_or(&empty);
    let values: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{} {}", head(item), values.join(" "))
}

/// `2026-01-01T00:00:05Z speeding v17 result`, with the revision where there is one; for alerts the state.
fn head(item: &Item) -> String {
    let place = &item.place;
    let what = match &place.kind {
        Kind::Result if place.revision > 0 => format!("result revision {}", place.revision),
        Kind::Result => "result".to_owned(),
        Kind::Alert(state, None) => state.clone(),
        Kind::Alert(state, Some(reason)) => format!("{state} ({reason})"),
    };
    let key = if place.key.is_empty() { "\"\"" } else { &place.key };
    format!("{} {} {key} {what}", rfc3339(item.time()), place.name)
}

/// Members that differ: `avg 3 -> 4 severity "info" -> "critical"`.
fn differences(before: &Map<String, Value>, after: &Map<String, Value>) -> String {
    let mut parts = Vec::new();
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    for name in names {
        match (before.get(name), after.get(name)) {
            (old, new) if old == new => {}
            (Some(Value::Object(old)), Some(Value::Object(new))) => parts.push(differences(old, new)),
            (old, new) => parts.push(format!("{name} {} -> {}", text(old), text(new))),
        }
    }
    parts.join(" ")
}

fn text(value: Option<&Value>) -> String {
    value.map_or_else(|| "none".to_owned(), Value::to_string)
}
