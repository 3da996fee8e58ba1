//! What the devices send, and by brute force what the gateway must make of it: every window and every alert.
//!
//! Message `n` of a device is of sensor `n % SENSORS`, one second of event time after that sensor's one before;
//! its value is a hash of device and number. So the windows of a device follow from how many messages it sent,
//! or, where an end of the world cut it short, from the readings that are there.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::Dice;

/// Sensors of a device.
pub const SENSORS: u64 = 8;
pub const START_MS: u64 = 1_767_225_600_000;
/// Event time of the readings that close all windows.
pub const LATER_MS: u64 = 1_900_000_000_000;
const STEP_MS: u64 = 1_000;
const WINDOW_MS: u64 = 10_000;
/// About the mean of a window's total, so that the alert comes and goes all the time.
const ALARMING: u64 = 5_000;

/// One source, one window, one alert.
pub const PIPELINE: &str = r#"
[source.faults]
topic = "faults/{sensor}/telemetry"
format = "json"
sensor = "{sensor}"
time = { at = "/ts", unit = "ms" }
fields = { seq = {}, value = {} }
[pipeline.tens]
from = ["faults"]
window = { kind = "tumbling", size = "10s" }
select = { n = "count()", total = "sum(value)", seqs = "sum(seq)", first = "min(seq)", last = "max(seq)" }
[alert.high]
on = "tens"
when = "total > 5000"
"#;

/// A second reader of everything, from the beginning.
pub const CHECK: &str = r#"
[[route]]
of = "reading"
to = ["check"]
[[route]]
of = "result"
to = ["check"]
[[route]]
of = "alert"
to = ["check"]
[[route]]
of = "dead-letter"
to = ["check"]
[sink.check]
kind = "file"
path = "check.ndjson"
start = "earliest"
"#;

/// One reading, as it is sent and as the file sink shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    pub sensor: String,
    pub time_ms: u64,
    pub seq: u64,
    pub value: u64,
}

impl Reading {
    /// Message `seq` of `device`.
    pub fn new(device: &str, seq: u64) -> Self {
        let salt = device.bytes().fold(seq, |salt, byte| salt << 8 ^ u64::from(byte) ^ salt >> 56);
        Self {
            sensor: format!("{device}-{}", seq % SENSORS),
            time_ms: START_MS + seq / SENSORS * STEP_MS,
            seq,
            value: Dice::new(salt).below(1_000),
        }
    }

    /// The one that closes a sensor's windows.
    pub fn closer(device: &str, sensor: u64) -> Self {
        Self { sensor: format!("{device}-{sensor}"), time_ms: LATER_MS, seq: sensor, value: 0 }
    }

    pub fn topic(&self) -> String {
        format!("faults/{}/telemetry", self.sensor)
    }

    pub fn payload(&self) -> String {
        format!(r#"{{"seq":{},"ts":{},"value":{}}}"#, self.seq, self.time_ms, self.value)
    }

    /// A row of type `reading`.
    pub fn of_row(row: &Value) -> Self {
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number: {row}"));
        Self {
            sensor: row["sensor"].as_str().unwrap().to_owned(),
            time_ms: number(&row["time"]),
            seq: number(&row["fields"]["seq"]),
            value: number(&row["fields"]["value"]),
        }
    }
}

/// `n`, `total`, `seqs`, `first`, `last`.
type Columns = [u64; 5];
/// By key and start.
type Windows = BTreeMap<(String, u64), Columns>;
/// Key, event time, state.
type Change = (String, u64, &'static str);

/// Every window that is over by its own key's readings.
pub fn windows<'a>(readings: impl IntoIterator<Item = &'a Reading>) -> Windows {
    let mut windows = Windows::new();
    let mut latest = BTreeMap::new();
    for reading in readings {
        let start = reading.time_ms / WINDOW_MS * WINDOW_MS;
        let window = windows.entry((reading.sensor.clone(), start)).or_insert([0, 0, 0, u64::MAX, 0]);
        let [n, total, seqs, first, last] = *window;
        let seq = reading.seq;
        *window = [n + 1, total + reading.value, seqs + seq, first.min(seq), last.max(seq)];
        let latest = latest.entry(reading.sensor.clone()).or_insert(0);
        *latest = reading.time_ms.max(*latest);
    }
    windows.retain(|(key, start), _| start + WINDOW_MS <= latest[key]);
    windows
}

/// What the alert must do over these windows.
fn changes(windows: &Windows) -> BTreeSet<Change> {
    let mut firing = BTreeMap::new();
    let mut changes = BTreeSet::new();
    for ((key, start), [_, total, ..]) in windows {
        let before = firing.insert(key, *total > ALARMING).unwrap_or(false);
        let state = match (before, *total > ALARMING) {
            (false, true) => "firing",
            (true, false) => "resolved",
            _ => continue,
        };
        changes.insert((key.clone(), start + WINDOW_MS, state));
    }
    changes
}

/// What is wrong with the rows that came out. Empty is right.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    pub missing: Vec<String>,
    pub wrong: Vec<String>,
    pub doubled: Vec<String>,
}

impl Differences {
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.wrong.is_empty() && self.doubled.is_empty()
    }

    /// Counts, and the first of each.
    pub fn summary(&self) -> String {
        let show = |all: &[String]| format!("{} {:?}", all.len(), &all[..all.len().min(3)]);
        let [missing, wrong, doubled] = [&self.missing, &self.wrong, &self.doubled].map(|all| show(all));
        format!("missing {missing}; wrong {wrong}; doubled {doubled}")
    }
}

/// Compares `rows` (results and alerts; others are passed over) with what `windows` demand.
pub fn compare(windows: &Windows, rows: &[Value]) -> Differences {
    let mut differences = Differences::default();
    let mut seen = HashSet::new();
    for row in rows.iter().filter(|row| row["type"] == "result") {
        let place = (row["key"].as_str().unwrap().to_owned(), row["start"].as_u64().unwrap());
        let columns = ["n", "total", "seqs", "first", "last"].map(|name| row["values"][name].as_f64());
        let expected = windows.get(&place).map(|expected| expected.map(|number| Some(number as f64)));
        if expected != Some(columns) {
            differences.wrong.push(format!("{row}, not {expected:?}"));
        }
        if !seen.insert(place) {
            differences.doubled.push(row.to_string());
        }
    }
    let missing = windows.keys().filter(|place| !seen.contains(*place));
    differences.missing.extend(missing.map(|place| format!("{place:?}")));
    compare_changes(&changes(windows), rows, &mut differences);
    differences
}

fn compare_changes(expected: &BTreeSet<Change>, rows: &[Value], differences: &mut Differences) {
    let mut seen = BTreeSet::new();
    for row in rows.iter().filter(|row| row["type"] == "alert") {
        let state = if row["state"] == "firing" { "firing" } else { "resolved" };
        let change = (row["key"].as_str().unwrap().to_owned(), row["time"].as_u64().unwrap(), state);
        if !expected.contains(&change) {
            differences.wrong.push(row.to_string());
        }
        if !seen.insert(change) {
            differences.doubled.push(row.to_string());
        }
    }
    let missing = expected.difference(&seen);
    differences.missing.extend(missing.map(|change| format!("{change:?}")));
}

/// Everything that must hold of what a sink was given: each acknowledged reading once, every window and alert
/// that follows from the readings, nothing twice.
///
/// # Errors
/// What does not hold.
pub fn check_exact(rows: &[Value], acknowledged: &BTreeMap<String, u64>) -> Result<(), String> {
    let readings: Vec<Reading> =
        rows.iter().filter(|row| row["type"] == "reading").map(Reading::of_row).collect();
    let present: HashSet<&Reading> = readings.iter().collect();
    let sent = |(device, count): (&String, &u64)| {
        (0..*count).map(|seq| Reading::new(device, seq)).collect::<Vec<_>>()
    };
    let all = acknowledged.iter().flat_map(sent);
    let lost: Vec<_> = all.filter(|reading| !present.contains(reading)).collect();
    let doubled = readings.len() - present.len();
    let differences = compare(&windows(&readings), rows);
    let ids: HashSet<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    if lost.is_empty() && doubled == 0 && differences.is_empty() && ids.len() == rows.len() {
        return Ok(());
    }
    let first = lost.first();
    Err(format!(
        "{} acknowledged and lost, the first {first:?}; {doubled} readings twice; {}; {} rows, {} ids",
        lost.len(),
        differences.summary(),
        rows.len(),
        ids.len()
    ))
}

impl std::hash::Hash for Reading {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        (&self.sensor, self.seq, self.time_ms).hash(hasher);
    }
}

#[test]
fn the_accounts_notice_what_is_wrong() {
    let readings: Vec<Reading> = (0..SENSORS * 25).map(|seq| Reading::new("a", seq)).collect();
    let windows = windows(&readings);
    assert_eq!(windows.len(), 2 * SENSORS as usize, "the third is open");
    let row = |((key, start), [n, total, seqs, first, last]): (&(String, u64), &Columns)| {
        serde_json::json!({"type": "result", "key": key, "start": start,
            "values": {"n": n, "total": total, "seqs": seqs, "first": first, "last": last}})
    };
    let alert = |(key, time, state): Change| serde_json::json!({"type": "alert", "key": key, "time": time, "state": state});
    let right: Vec<Value> = windows.iter().map(row).chain(changes(&windows).into_iter().map(alert)).collect();
    assert_eq!(compare(&windows, &right), Differences::default());
    for at in [0, right.len() - 1] {
        let mut rows = right.clone();
        rows.remove(at);
        assert_eq!(compare(&windows, &rows).missing.len(), 1);
        rows.extend([right[at].clone(), right[at].clone()]);
        assert_eq!(compare(&windows, &rows).doubled.len(), 1);
    }
    let mut rows = right;
    rows[0]["values"]["total"] = 1.into();
    assert_eq!(compare(&windows, &rows).wrong.len(), 1);
}
