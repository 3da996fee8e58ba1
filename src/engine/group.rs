//! Rows of a batch by key (pure), in journal order within each key.

use rustc_hash::FxHashMap;

use crate::config::Key;
use crate::engine::plan::{Keying, LanePlan};
use crate::engine::view::{Row, Views};
use crate::expr::Scope;
use crate::model::{Batch, Cell};

/// The rows of every key of one grouping.
#[derive(Debug, Default)]
pub struct Grouped {
    /// Row numbers, key by key.
    pub rows: Vec<u32>,
    /// Per key its text and its part of `rows`.
    pub keys: Vec<(Box<str>, std::ops::Range<u32>)>,
    /// Rows that lack a field of the key.
    pub keyless: u64,
}

impl Grouped {
    /// Groups the rows of `batch` that something in `keying` reads.
    pub fn new(plan: &LanePlan, keying: &Keying, views: &Views, batch: &Batch) -> Self {
        let reads: Vec<bool> = (0..batch.shapes().len()).map(|shape| is_read(keying, views, shape)).collect();
        let reads = |row: &u32| reads[batch.rows()[*row as usize].shape as usize];
        let rows = (0..batch.len() as u32).filter(reads);
        match &keying.key {
            Key::Sensor => by_sensor(batch, rows),
            Key::All => {
                let rows: Vec<u32> = rows.collect();
                let keys = if rows.is_empty() { Vec::new() } else { vec![("".into(), 0..rows.len() as u32)] };
                Self { rows, keys, keyless: 0 }
            }
            Key::Fields(fields) => {
                let index = keying.pipelines[0].index;
                let text = |row: u32| {
                    let reading = batch.reading(row as usize);
                    let bindings = views.pipelines[index][reading.row().shape as usize].as_deref()?;
                    key_text(&Row { reading, bindings }, fields.iter().map(|(_, slot)| *slot))
                };
                debug_assert!(
                    index < plan.config.pipelines.len(),
                    "plans name pipelines of their configuration"
                );
                by_text(rows, text)
            }
        }
    }

    /// Keeps the rows that `keeps` says of their key; a key that has none left goes.
    pub fn retain(&mut self, keeps: impl Fn(&str, u32) -> bool) {
        let rows = &mut self.rows;
        self.keys.retain_mut(|(key, range)| {
            let mut end = range.start;
            for at in range.clone() {
                let row = rows[at as usize];
                if keeps(key, row) {
                    rows[end as usize] = row;
                    end += 1;
                }
            }
            range.end = end;
            range.start < range.end
        });
    }

    /// The rows of `key`; none if it has none.
    pub fn rows_of(&self, key: &str) -> &[u32] {
        let found = self.keys.iter().find(|(known, _)| **known == *key);
        found.map_or(&[], |(_, range)| &self.rows[range.start as usize..range.end as usize])
    }
}

fn is_read(keying: &Keying, views: &Views, shape: usize) -> bool {
    let pipelines = keying.pipelines.iter().map(|pipeline| &views.pipelines[pipeline.index]);
    let alerts = keying.alerts.iter().map(|alert| &views.alerts[alert.index]);
    pipelines.chain(alerts).any(|view| view[shape].is_some())
}

/// Counting sort over the names of the batch's dictionary: no hashing per row.
fn by_sensor(batch: &Batch, rows: impl Iterator<Item = u32> + Clone) -> Grouped {
    let mut ends = vec![0u32; batch.dictionary().len()];
    let sensor = |row: u32| batch.rows()[row as usize].sensor;
    rows.clone().for_each(|row| ends[sensor(row).0 as usize] += 1);
    let mut keys = Vec::new();
    let mut total = 0;
    for (name, end) in batch.dictionary().iter().zip(&mut ends) {
        let count = std::mem::replace(end, total);
        if count > 0 {
            keys.push((name.into(), total..total + count));
            total += count;
        }
    }
    let mut sorted = vec![0; total as usize];
    for row in rows {
        let place = &mut ends[sensor(row).0 as usize];
        sorted[*place as usize] = row;
        *place += 1;
    }
    Grouped { rows: sorted, keys, keyless: 0 }
}

fn by_text(rows: impl Iterator<Item = u32>, text: impl Fn(u32) -> Option<String>) -> Grouped {
    let mut groups: FxHashMap<String, Vec<u32>> = FxHashMap::default();
    let mut order: Vec<String> = Vec::new();
    let mut keyless = 0;
    for row in rows {
        let Some(key) = text(row) else {
            keyless += 1;
            continue;
        };
        let group = groups.entry(key).or_insert_with_key(|key| {
            order.push(key.clone());
            Vec::new()
        });
        group.push(row);
    }
    let mut grouped = Grouped { keyless, ..Grouped::default() };
    for key in order {
        let start = grouped.rows.len() as u32;
        grouped.rows.extend(groups.remove(&key).unwrap_or_default());
        grouped.keys.push((key.into(), start..grouped.rows.len() as u32));
    }
    grouped
}

/// The values joined by `/`; in a list of several, `/` and `%` inside a value are percent-encoded.
fn key_text(scope: &dyn Scope, slots: impl ExactSizeIterator<Item = usize>) -> Option<String> {
    let several = slots.len() > 1;
    let mut text = String::new();
    for (at, slot) in slots.enumerate() {
        if at > 0 {
            text.push('/');
        }
        match scope.get(slot) {
            Cell::Null => return None,
            Cell::Bool(value) => text.push_str(if value { "true" } else { "false" }),
            Cell::Number(value) => text.push_str(&value.to_string()),
            Cell::Text(value) if several => text.push_str(&value.replace('%', "%25").replace('/', "%2F")),
            Cell::Text(value) => text.push_str(value),
        }
    }
    Some(text)
}
