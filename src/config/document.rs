//! The texts as tables with places: the only user of the `toml` crate.
//!
//! Each `[kind.NAME]` is read on its own, and a value of the wrong type is reported, taken out, and the rest
//! read again: one mistake never hides another. Texts may hold `${NAME}` of the environment (`$${` for `${`).

mod at;
mod variables;

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) use self::at::At;
use super::later;
use super::problem::{Problem, did_you_mean};

/// A text of the configuration.
#[derive(Debug)]
pub(super) struct File {
    /// As problems name it.
    pub(super) name: String,
    /// Its content.
    pub(super) text: String,
}

/// Problems and warnings as they are found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Errors, each with its file's index and byte offset.
    pub(super) problems: Vec<(usize, usize, Problem)>,
    /// Warnings alike.
    pub(super) warnings: Vec<(usize, usize, Problem)>,
    /// Bytes of secrets, by file.
    pub(super) secrets: Vec<(usize, Range<usize>)>,
}

/// One table: `[gateway]`, `[source.fleet]`, one `[[route]]`.
#[derive(Debug)]
pub(super) struct Entry<'t> {
    /// `gateway`, `source`, `route`.
    pub(super) kind: String,
    /// `fleet`; empty where tables of the kind have no name.
    pub(super) name: String,
    file: usize,
    /// Path as shown: `source.fleet`, `route[0]`.
    path: String,
    key: Range<usize>,
    value: Spanned<DeValue<'t>>,
}

/// Parses all files: the tables in order, or `None` where a text is no TOML. Everything that is wrong goes to
/// `found`, unknown kinds and tables that stand twice included.
pub(super) fn parse<'t>(files: &'t [File], found: &RefCell<Found>) -> Option<Vec<Entry<'t>>> {
    let mut entries: Vec<Entry<'t>> = Vec::new();
    let mut is_toml = true;
    for (file, File { text, .. }) in files.iter().enumerate() {
        let (root, errors) = DeTable::parse_recoverable(text);
        is_toml &= errors.is_empty();
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            report(files, found, file, at, "", error.message().to_owned());
        }
        let mut of_file = split(files, found, file, root.into_inner());
        of_file.sort_by_key(|entry| entry.key.start);
        for entry in of_file {
            let is_same = |known: &&Entry<'_>| known.kind != "route" && known.path == entry.path;
            if let Some(first) = entries.iter().find(is_same) {
                let (one, other) = (&files[first.file].name, &files[file].name);
                let message = format!("stands both in {one} and in {other}");
                report(files, found, file, entry.key.start, &entry.path, message);
            }
            entries.push(entry);
        }
    }
    for (index, entry) in entries.iter_mut().filter(|entry| entry.kind == "route").enumerate() {
        entry.path = format!("route[{index}]");
    }
    is_toml.then_some(entries)
}

/// The entries of one file.
fn split<'t>(files: &[File], found: &RefCell<Found>, file: usize, root: DeTable<'t>) -> Vec<Entry<'t>> {
    const SINGLE: [&str; 3] = ["gateway", "journal", "access"];
    const NAMED: [&str; 5] = ["listen", "source", "pipeline", "alert", "sink"];
    let mut entries = Vec::new();
    for (key, value) in root {
        let (kind, at) = (key.get_ref().to_string(), key.span());
        let fail = |message: String| report(files, found, file, at.start, &kind, message);
        if later::table(&kind) {
            fail(format!("table \"{kind}\" is not in this version"));
        } else if SINGLE.contains(&&*kind) {
            let path = kind.clone();
            entries.push(Entry { kind, name: String::new(), file, path, key: at, value });
        } else if NAMED.contains(&&*kind) {
            let DeValue::Table(tables) = value.into_inner() else {
                fail(format!("expected tables [{kind}.NAME]"));
                continue;
            };
            for (name, value) in tables {
                let (at, name) = (name.span(), name.into_inner().into_owned());
                let path = format!("{kind}.{name}");
                entries.push(Entry { kind: kind.clone(), name, file, path, key: at, value });
            }
        } else if kind == "route" {
            let DeValue::Array(routes) = value.into_inner() else {
                fail("expected tables [[route]]".to_owned());
                continue;
            };
            for value in routes {
                let (kind, path) = (kind.clone(), kind.clone());
                entries.push(Entry { kind, name: String::new(), file, path, key: value.span(), value });
            }
        } else {
            let known = SINGLE.into_iter().chain(NAMED).chain(["route"]);
            fail(format!("unknown table \"{kind}\"{}", did_you_mean(&kind, known)));
        }
    }
    entries
}

fn report(files: &[File], found: &RefCell<Found>, file: usize, at: usize, path: &str, message: String) {
    let problem = problem(files, file, at, path, message);
    found.borrow_mut().problems.push((file, at, problem));
}

fn problem(files: &[File], file: usize, at: usize, path: &str, message: String) -> Problem {
    let text = &files[file].text;
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    Problem { file: files[file].name.clone(), line, column, path: path.to_owned(), message }
}

impl<'t> Entry<'t> {
    /// The entry itself as a place.
    pub(super) fn at<'d>(&'d self, files: &'t [File], found: &'d RefCell<Found>) -> At<'d, 't> {
        At::new(files, found, self)
    }

    /// Puts variables of the environment into the texts.
    pub(super) fn expand(
        &mut self,
        files: &[File],
        found: &RefCell<Found>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) {
        let file = self.file;
        let mut fail = |at, path: &str, message| report(files, found, file, at, path, message);
        variables::expand(&mut self.value, &self.path, variable, &mut fail);
    }
}
