//! What the daemon has delivered to its file sink.

use std::collections::HashSet;
use std::fs;

use data_encoding::BASE64;
use serde_json::Value;

use super::{Site, eventually_or};

/// Rotated files the sink keeps, where a configuration does not say otherwise.
const ROTATED_MAX: usize = 10;

/// A dead letter with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub source: String,
    pub reason: String,
    pub detail: String,
    pub topic: String,
    pub payload: Vec<u8>,
}

impl Site {
    /// The complete lines of a row file and its rotated ones, in the order they were written; nothing where
    /// there is no file yet.
    pub fn rows_in(&self, name: &str) -> Vec<Value> {
        let rotated = (1..=ROTATED_MAX).rev().map(|number| format!("{name}.{number}"));
        let files = rotated.chain([name.to_owned()]);
        let bytes: Vec<u8> = files.filter_map(|name| fs::read(self.path(&name)).ok()).flatten().collect();
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = bytes[..complete].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    /// The rows of a type (`reading`, `result`, `alert`, `late`, `dead-letter`) in the file of
    /// [`BASE`](super::BASE).
    pub fn rows(&self, kind: &str) -> Vec<Value> {
        let mut rows = self.rows_in("rows.ndjson");
        rows.retain(|row| row["type"] == kind);
        rows
    }

    /// The rows of a type for which `is_wanted` holds, as soon as there are `count`.
    pub fn wait_for(&self, count: usize, kind: &str, is_wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let find = || {
            let mut rows = self.rows(kind);
            rows.retain(&is_wanted);
            rows
        };
        let enough = || Some(find()).filter(|rows| rows.len() >= count);
        eventually_or(enough, || format!("{count} rows of type {kind}, only {:?}", find()))
    }

    /// The dead letters, in the order they were written.
    pub fn letters(&self) -> Vec<Letter> {
        self.rows("dead-letter").iter().map(letter).collect()
    }
}

fn letter(row: &Value) -> Letter {
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    let payload = BASE64.decode(text("payload").as_bytes()).unwrap();
    Letter {
        source: text("source"),
        reason: text("reason"),
        detail: text("detail"),
        topic: text("topic"),
        payload,
    }
}

/// Fails where two rows have one id: delivered twice.
pub fn assert_ids_unique<'a>(rows: impl IntoIterator<Item = &'a Value>) {
    let mut seen = HashSet::new();
    for row in rows {
        assert!(seen.insert(row["id"].as_str().unwrap()), "delivered twice: {row}");
    }
}
