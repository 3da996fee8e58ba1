//! A place in a table: reading it, and reporting what is wrong there.

use std::cell::RefCell;
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use super::super::later;
use super::super::problem::did_you_mean;
use super::super::scalar::Many;
use super::{Entry, File, Found, problem, report};

/// Problems reported for one table; more say nothing new.
const PROBLEMS_PER_TABLE_MAX: usize = 50;

/// A step of a key path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// A place in an entry, and where to report.
#[derive(Clone)]
pub(in crate::config) struct At<'d, 't> {
    files: &'t [File],
    found: &'d RefCell<Found>,
    entry: &'d Entry<'t>,
    steps: Vec<Step>,
}

impl<'d, 't> At<'d, 't> {
    /// The place of the whole entry.
    pub(super) fn new(files: &'t [File], found: &'d RefCell<Found>, entry: &'d Entry<'t>) -> Self {
        Self { files, found, entry, steps: Vec::new() }
    }

    /// The place of a key.
    pub(in crate::config) fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// The place of a list's element.
    pub(in crate::config) fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    /// The place of one of the texts here.
    pub(in crate::config) fn element(&self, of: &Many, index: usize) -> Self {
        if of.is_list { self.index(index) } else { self.clone() }
    }

    fn step(&self, step: Step) -> Self {
        let mut at = self.clone();
        at.steps.push(step);
        at
    }

    /// The name of the table.
    pub(in crate::config) fn name(&self) -> &'d str {
        &self.entry.name
    }

    /// Reports a problem here.
    pub(in crate::config) fn error(&self, message: impl Into<String>) {
        self.error_at(self.offset(), message.into());
    }

    /// Reports a key that is missing here.
    pub(in crate::config) fn missing(&self, key: &str) {
        self.error(format!("missing key \"{key}\""));
    }

    /// Reports a problem at a column (in bytes, from 1) of `text`, the value here.
    pub(in crate::config) fn error_in(&self, text: &str, column: usize, message: impl Into<String>) {
        let span = self.spans().1;
        let source = self.files[self.entry.file].text.get(span.clone()).unwrap_or("");
        // Where the text was written with escapes it does not stand in the file as it is.
        let at = source.find(text).map_or(span.start, |start| span.start + start + column - 1);
        self.error_at(at, message.into());
    }

    fn error_at(&self, at: usize, message: String) {
        report(self.files, self.found, self.entry.file, at, &self.path(), message);
    }

    /// Reports what is allowed but perhaps not meant.
    pub(in crate::config) fn warn(&self, message: impl Into<String>) {
        let at = self.offset();
        let problem = problem(self.files, self.entry.file, at, &self.path(), message.into());
        self.found.borrow_mut().warnings.push((self.entry.file, at, problem));
    }

    /// Marks the value here as a secret that must not be kept with the text.
    pub(in crate::config) fn hide(&self) {
        let span = self.spans().1;
        let text = self.files[self.entry.file].text.get(span.clone()).unwrap_or("");
        if !text.contains("${") {
            self.found.borrow_mut().secrets.push((self.entry.file, span));
        }
    }

    /// Whether the key stands in the file.
    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.value().and_then(|value| value.get_ref().as_table()).is_some_and(|table| table.contains_key(key))
    }

    /// The keys here, in the order of the file.
    pub(in crate::config) fn keys(&self) -> Vec<String> {
        let Some(table) = self.value().and_then(|value| value.get_ref().as_table()) else {
            return Vec::new();
        };
        let mut keys: Vec<_> = table.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        keys.into_iter().map(|key| key.get_ref().to_string()).collect()
    }

    /// Reads the whole entry as `T`, reporting unknown keys and wrong types.
    pub(in crate::config) fn read<T: DeserializeOwned + Default>(&self) -> T {
        let mut value = self.entry.value.clone();
        for _ in 0..PROBLEMS_PER_TABLE_MAX {
            match serde_path_to_error::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(raw) => return raw,
                Err(error) => {
                    let steps: Vec<Step> = error.path().iter().filter_map(step).collect();
                    let at = Self { steps: steps.clone(), ..self.clone() };
                    at.refuse(error.inner().message());
                    if !take_out(value.get_mut(), &steps) {
                        return T::default();
                    }
                }
            }
        }
        T::default()
    }

    /// Says in our words what `serde` complains of.
    fn refuse(&self, message: &str) {
        let (kind, path) = (&*self.entry.kind, self.steps_text());
        let mut quoted = message.split('`').skip(1).step_by(2);
        if message.starts_with("unknown field") {
            let key = quoted.next().unwrap_or_default();
            let at = if path.rsplit('.').next() == Some(key) { self.clone() } else { self.key(key) };
            let text = if later::key(kind, &at.steps_text()) {
                format!("key \"{key}\" is not in this version")
            } else {
                format!("unknown key \"{key}\"{}", did_you_mean(key, quoted))
            };
            return at.error_at(at.spans().0.start, text);
        }
        if message.starts_with("unknown variant") {
            let word = quoted.next().unwrap_or_default();
            if let Some(what) = later::word(kind, &path, word) {
                return self.error(format!("{what} \"{word}\" is not in this version"));
            }
            let known: Vec<_> = quoted.collect();
            let near = did_you_mean(word, known.iter().copied());
            return self.error(format!("unknown value \"{word}\" (known: {}){near}", known.join(", ")));
        }
        if message == "wanted string or table" {
            // What `toml` says where a word is expected.
            return self.error("expected a text");
        }
        let text = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
        match text.and_then(|text| text.split_once(", expected ")) {
            Some((got, expected)) => {
                let expected = expected.replace("u32", "a whole number");
                self.error(format!("expected {expected}, got {}", got.replace('`', "")));
            }
            None => self.error(message),
        }
    }

    /// The key path as shown.
    fn path(&self) -> String {
        let steps = self.steps_text();
        match steps.chars().next() {
            None => self.entry.path.clone(),
            Some('[') => format!("{}{steps}", self.entry.path),
            Some(_) => format!("{}.{steps}", self.entry.path),
        }
    }

    fn steps_text(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => text.extend([".", key]),
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }

    /// Where a problem of this value is shown: at the value, or at a table's name.
    fn offset(&self) -> usize {
        let (key, value) = self.spans();
        let is_table = self.value().is_none_or(|value| value.get_ref().is_table());
        if is_table { key.start } else { value.start }
    }

    fn value(&self) -> Option<&'d Spanned<DeValue<'t>>> {
        let mut value = &self.entry.value;
        for step in &self.steps {
            value = child(value, step)?.1;
        }
        Some(value)
    }

    /// Bytes of the key and of the value; of the nearest table where there is no such key.
    fn spans(&self) -> (Range<usize>, Range<usize>) {
        let mut spans = (self.entry.key.clone(), self.entry.value.span());
        let mut value = &self.entry.value;
        for step in &self.steps {
            let Some((key, inner)) = child(value, step) else { break };
            spans = (key, inner.span());
            value = inner;
        }
        spans
    }
}

fn child<'v, 't>(
    value: &'v Spanned<DeValue<'t>>,
    step: &Step,
) -> Option<(Range<usize>, &'v Spanned<DeValue<'t>>)> {
    match step {
        Step::Key(key) => {
            let (key, value) = value.get_ref().as_table()?.get_key_value(key.as_str())?;
            Some((key.span(), value))
        }
        Step::Index(index) => {
            let value = value.get_ref().as_array()?.get(*index)?;
            Some((value.span(), value))
        }
    }
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// Removes the key at `steps`, or the nearest one above a list; `false` where there is none.
fn take_out(value: &mut DeValue<'_>, steps: &[Step]) -> bool {
    let (DeValue::Table(table), Some(Step::Key(key))) = (value, steps.first()) else { return false };
    if let Some(inner) = table.get_mut(key.as_str())
        && take_out(inner.get_mut(), &steps[1..])
    {
        return true;
    }
    table.remove(key.as_str()).is_some()
}
