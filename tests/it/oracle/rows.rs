//! Rows of Flink and of ours in one shape, and how they are compared.

use std::collections::BTreeMap;

use serde_json::Value;

/// Doubles that differ by less, relatively, are the same: sums in another order round differently.
const RELATIVE_ERROR_MAX: f64 = 1e-9;

/// A row of a window. `None` is a null, or a time the window kind does not have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    key: String,
    start: Option<i64>,
    end: Option<i64>,
    values: BTreeMap<String, Option<f64>>,
}

/// A reading that came too late.
#[derive(Debug, PartialEq)]
pub(super) struct LateRow {
    key: String,
    time: Option<i64>,
    value: Option<f64>,
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

impl Row {
    pub(super) fn ours(row: &Value) -> Self {
        let values = row["values"].as_object().expect("an object").iter();
        Self {
            key: text(&row["key"]),
            start: row["start"].as_i64(),
            end: row["end"].as_i64(),
            values: values.map(|(name, value)| (name.clone(), value.as_f64())).collect(),
        }
    }

    pub(super) fn flinks(row: &Value, key: &str, columns: &[&str]) -> Self {
        let value = |name: &&str| ((*name).to_owned(), row[*name].as_f64());
        Self {
            key: text(&row[key]),
            start: row["window_start"].as_i64(),
            end: row["window_end"].as_i64(),
            values: columns.iter().map(value).collect(),
        }
    }

    fn window(&self) -> (&str, Option<i64>, Option<i64>) {
        (&self.key, self.start, self.end)
    }

    fn is_like(&self, other: &Self) -> bool {
        let values = |row: &Self| row.values.clone().into_iter();
        self.window() == other.window()
            && self.values.len() == other.values.len()
            && values(self).zip(values(other)).all(|(a, b)| a.0 == b.0 && are_near(a.1, b.1))
    }
}

impl LateRow {
    pub(super) fn ours(row: &Value) -> Self {
        let (time, value) = (row["time"].as_i64(), row["values"]["value"].as_f64());
        Self { key: text(&row["key"]), time, value }
    }

    pub(super) fn flinks(row: &Value, key: &str) -> Self {
        Self { key: text(&row[key]), time: row["ts"].as_i64(), value: row["value"].as_f64() }
    }
}

fn are_near(left: Option<f64>, right: Option<f64>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => (left - right).abs() <= RELATIVE_ERROR_MAX * left.abs().max(right.abs()),
        _ => left == right,
    }
}

/// Compares by key and window; firings of one window stay in the order they were emitted in.
pub(super) fn assert_same(ours: &[Row], flinks: &[Row]) {
    let sorted = |rows: &[Row]| {
        let mut rows = rows.to_vec();
        rows.sort_by(|a, b| a.window().cmp(&b.window()));
        rows
    };
    let (ours, flinks) = (sorted(ours), sorted(flinks));
    if let Some((at, (our, flink))) =
        ours.iter().zip(&flinks).enumerate().find(|(_, (our, flink))| !our.is_like(flink))
    {
        panic!("row {at} differs\n ours  {our:?}\n Flink {flink:?}");
    }
    assert_eq!(ours.len(), flinks.len(), "rows");
}
