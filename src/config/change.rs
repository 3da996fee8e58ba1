//! What differs between two checked configurations (pure): what a reload keeps, changes, rebuilds, adds, removes.
//!
//! Stands before the reload (`app::reload`), which does what is said here, and behind `reload --dry-run`, which
//! only shows it. Every part of the configuration has one [`Change`]; what no running gateway can change is
//! [`Fixed`] and stops the whole reload. [`keys`] compares the parts key by key.
//!
//! Invariant: a pipeline is `rebuilt` exactly where its generation differs (SEMANTICS §7): `having`, alerts, routes
//! and sinks lie outside of it.

mod keys;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Config, Key, Pipeline};

/// What a change is about: a kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// `[journal]`: its limits.
    Journal,
    /// `[access]`.
    Access,
    /// `[listen.*]`.
    Listener,
    /// `[source.*]`.
    Source,
    /// `[pipeline.*]`.
    Pipeline,
    /// `[alert.*]`.
    Alert,
    /// All `[[route]]` and `to` together.
    Routes,
    /// `[sink.*]`.
    Sink,
}

/// What becomes of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Nothing differs: it is not touched.
    Kept,
    /// It goes on with its state and other settings.
    Changed,
    /// Its state depends on what differs: a pipeline's is computed from the journal, so that windows that are open come
    /// out whole; an alert begins anew.
    Rebuilt,
    /// It was not there before.
    New,
    /// It is not there any more.
    Removed,
}

/// One part of the configuration, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it is.
    pub part: Part,
    /// The table's name; empty for `journal`, `access` and `routes`.
    pub name: String,
    /// What becomes of it.
    pub fate: Fate,
    /// The keys that differ, or why else.
    pub why: Vec<String>,
}

/// A difference that a running gateway cannot take over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct Fixed {
    /// The key: `gateway.data_dir`.
    pub key: String,
    /// What to do instead.
    pub why: &'static str,
}

/// Everything that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// One for each part of both configurations, in the order of [`Part`] and of the new file; removed ones last.
    pub changes: Vec<Change>,
    /// What cannot be taken over: then nothing is.
    pub fixed: Vec<Fixed>,
}

/// What differs from `old` to `new`.
pub fn between(old: &Config, new: &Config) -> Difference {
    let mut fixed = keys::gateway(&old.gateway, &new.gateway);
    fixed.extend(keys::linger(&old.journal, &new.journal));
    fixed.extend(keys::sink_kinds(&old.sinks, &new.sinks));
    let routes = if old.routes == new.routes { Fate::Kept } else { Fate::Changed };
    let mut changes = vec![
        single(Part::Journal, keys::journal(&old.journal, &new.journal)),
        single(Part::Access, keys::access(&old.access, &new.access)),
    ];
    changes.extend(tables(Part::Listener, &old.listeners, &new.listeners, |old, new| {
        changed(keys::listener(old, new))
    }));
    changes.extend(sources(old, new));
    changes.extend(pipelines(old, new));
    changes.extend(tables(Part::Alert, &old.alerts, &new.alerts, |from, to| {
        keys::alert((old, from), (new, to))
    }));
    changes.push(Change { part: Part::Routes, name: String::new(), fate: routes, why: Vec::new() });
    changes.extend(tables(Part::Sink, &old.sinks, &new.sinks, |from, to| {
        changed(keys::sink((old, from), (new, to)))
    }));
    Difference { changes, fixed }
}

impl Difference {
    /// Whether a reload has nothing to do.
    pub fn is_nothing(&self) -> bool {
        self.fixed.is_empty() && self.changes.iter().all(|change| change.fate == Fate::Kept)
    }

    /// What becomes of a table.
    pub fn fate(&self, part: Part, name: &str) -> Option<Fate> {
        let of = |change: &&Change| change.part == part && change.name == *name;
        self.changes.iter().find(of).map(|change| change.fate)
    }

    /// Names of the tables of a kind with this fate.
    pub fn named(&self, part: Part, fate: Fate) -> impl Iterator<Item = &str> {
        let of = move |change: &&Change| change.part == part && change.fate == fate;
        self.changes.iter().filter(of).map(|change| &*change.name)
    }
}

/// A table with a name.
trait Table {
    /// The name.
    fn name(&self) -> &Arc<str>;
}

macro_rules! tables {
    ($($table:ident),*) => {
        $(impl Table for super::$table {
            fn name(&self) -> &Arc<str> {
                &self.name
            }
        })*
    };
}
tables!(Listener, Source, Pipeline, Alert, Sink);

fn find<'a, T: Table>(tables: &'a [T], name: &str) -> Option<&'a T> {
    tables.iter().find(|table| **table.name() == *name)
}

/// A change for each table of one kind.
fn tables<T: Table>(
    part: Part,
    old: &[T],
    new: &[T],
    compare: impl Fn(&T, &T) -> (Fate, Vec<String>),
) -> Vec<Change> {
    let change = |name: &str, (fate, why)| Change { part, name: name.to_owned(), fate, why };
    let present = new.iter().map(|table| match find(old, table.name()) {
        Some(before) => change(table.name(), compare(before, table)),
        None => change(table.name(), (Fate::New, Vec::new())),
    });
    let gone = old.iter().filter(|table| find(new, table.name()).is_none());
    let gone = gone.map(|table| change(table.name(), (Fate::Removed, Vec::new())));
    present.chain(gone).collect()
}

fn changed(keys: Vec<&'static str>) -> (Fate, Vec<String>) {
    let fate = if keys.is_empty() { Fate::Kept } else { Fate::Changed };
    (fate, keys.into_iter().map(str::to_owned).collect())
}

fn single(part: Part, keys: Vec<&'static str>) -> Change {
    let (fate, why) = changed(keys);
    Change { part, name: String::new(), fate, why }
}

/// The first source that matches takes a message, so their order is a part of each.
fn sources(old: &Config, new: &Config) -> Vec<Change> {
    let rank = |sources: &[super::Source], others: &[super::Source], name: &str| {
        let common = sources.iter().filter(|source| find(others, &source.name).is_some());
        common.map(|source| &source.name).position(|source| **source == *name)
    };
    tables(Part::Source, &old.sources, &new.sources, |from, to| {
        let mut keys = keys::source(from, to);
        let (before, after) = (&old.sources[..], &new.sources[..]);
        if rank(before, after, &to.name) != rank(after, before, &to.name) {
            keys.push("order");
        }
        changed(keys)
    })
}

fn pipelines(old: &Config, new: &Config) -> Vec<Change> {
    let (before, after) = (&old.pipelines, &new.pipelines);
    let mut changes = tables(Part::Pipeline, before, after, keys::pipeline);
    for change in changes.iter_mut().filter(|change| change.fate == Fate::New) {
        let heir = find(after, &change.name).expect("new tables are in the new configuration");
        let gone = before.iter().filter(|pipeline| find(after, &pipeline.name).is_none());
        if let Some(from) = gone.into_iter().find(|pipeline| is_renamed(pipeline, heir)) {
            change.why.push(format!("takes over the state of {}", from.name));
        }
    }
    changes
}

/// States of a grouping by fields are kept under the pipeline's name.
fn is_renamed(from: &Pipeline, to: &Pipeline) -> bool {
    from.generation == to.generation && !matches!(to.key, Key::Fields(_))
}

impl Part {
    /// As it is said to people, in the singular.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Access => "access",
            Self::Listener => "listener",
            Self::Source => "source",
            Self::Pipeline => "pipeline",
            Self::Alert => "alert",
            Self::Routes => "routes",
            Self::Sink => "sink",
        }
    }
}

impl Fate {
    /// As it is said to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Changed => "changed",
            Self::Rebuilt => "rebuilt",
            Self::New => "new",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.part.as_str())?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if !self.why.is_empty() {
            write!(f, " ({})", self.why.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
