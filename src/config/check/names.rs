//! Which names an expression may use, and compiling with them.

use std::sync::Arc;

use super::super::document::At;
use super::super::problem::did_you_mean;
use crate::config::Aggregate;
use crate::expr::{self, CompileError, Kind, Names, Program, Reference};

/// Names of every reading, whatever its fields.
pub(super) const OF_READINGS: [&str; 3] = ["sensor", "source", "time"];

/// The names that expressions of one place may use.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The names; `None` where any may come.
    pub(super) names: Option<Vec<Arc<str>>>,
    /// What an unknown one is called: `field`, `column`.
    pub(super) what: &'static str,
    /// Where it is unknown: `source "fleet"`.
    pub(super) place: String,
}

impl Known {
    /// Any name.
    pub(super) fn any() -> Self {
        Self { names: None, what: "name", place: String::new() }
    }

    /// What readings of all these sources together may have.
    pub(super) fn union(all: &[&Self]) -> Self {
        let Some(names) = all.iter().map(|known| known.names.as_ref()).collect::<Option<Vec<_>>>() else {
            return Self::any();
        };
        if names.is_empty() {
            return Self::any();
        }
        let places: Vec<_> = all.iter().map(|known| known.place.as_str()).collect();
        let names = Some(names.into_iter().flatten().cloned().collect());
        Self { names, what: "field", place: places.join(", ") }
    }

    /// The problem with `name`, if it is unknown.
    pub(super) fn unknown(&self, name: &str) -> Option<String> {
        let names = self.names.as_ref()?;
        if names.iter().any(|known| **known == *name) {
            return None;
        }
        let near = did_you_mean(name, names.iter().map(|name| &**name));
        Some(format!("unknown {} \"{name}\" in {}{near}", self.what, self.place))
    }

    fn check(&self, at: &At<'_, '_>, text: &str, references: &[Reference]) {
        for Reference { name, column } in references {
            if let Some(message) = self.unknown(name) {
                at.error_in(text, *column, message);
            }
        }
    }
}

/// Compiles a condition.
pub(super) fn condition(at: &At<'_, '_>, text: &str, names: &mut Names, known: &Known) -> Option<Program> {
    program(at, text, Kind::Bool, names, known)
}

/// Compiles an expression that must yield `kind`.
pub(super) fn program(
    at: &At<'_, '_>,
    text: &str,
    kind: Kind,
    names: &mut Names,
    known: &Known,
) -> Option<Program> {
    let program = compiled(at, text, expr::compile(text, names))?;
    known.check(at, text, program.references());
    if program.kind().is_some_and(|yielded| yielded != kind) {
        at.error(format!("expected {}, this yields {}", word(kind), program.kind().map_or("", word)));
    }
    Some(program)
}

/// Compiles a column of `select`.
pub(super) fn aggregate(at: &At<'_, '_>, text: &str, names: &mut Names, known: &Known) -> Option<Aggregate> {
    let aggregate = compiled(at, text, expr::aggregate(text, names))?;
    if let Some(program) = aggregate.program() {
        known.check(at, text, program.references());
    }
    Some(aggregate)
}

fn compiled<T>(at: &At<'_, '_>, text: &str, compiled: Result<T, CompileError>) -> Option<T> {
    compiled.map_err(|error| at.error_in(text, error.column, error.message)).ok()
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "a condition",
        Kind::Number => "a number",
        Kind::Text => "a text",
    }
}
