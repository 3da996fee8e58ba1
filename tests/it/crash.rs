//! kill -9 in the middle: what was acknowledged is there once, and each result went out once.
//!
//! The devices do what their protocols ask of them: keep a message until it is acknowledged and send it again,
//! on MQTT with DUP, on CoAP with the same message id, on HTTP with the same `Idempotency-Key`.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::rows::assert_ids_unique;
use crate::harness::tool::script;
use crate::harness::{Running, Site, coap, eventually_or, http};

/// Per sensor a reading a second, and a window of ten seconds. `seq` is the message's number.
const RECONCILE: &str = r#"
[source.reconcile]
topic = "reconcile/{device}/telemetry"
format = "json"
sensor = "{device}"
time = { at = "/ts", unit = "ms" }
fields = { seq = {}, value = {} }
[pipeline.tens]
from = ["reconcile"]
window = { kind = "tumbling", size = "10s" }
select = { n = "count()", total = "sum(value)", first = "min(seq)", last = "max(seq)" }
"#;

/// The variable that says how many messages the MQTT run has.
const MESSAGES_VARIABLE: &str = "FOREBAY_CRASH_MESSAGES";
const MESSAGES: usize = 100_000;
const SENSORS: usize = 1_000;
/// Divides [`SENSORS`]: a sensor stays with one connection, so its readings stay in order.
const CONNECTIONS: usize = 10;
/// Event time of the readings that close all windows: numbers from [`CLOSING`] on.
const LATER_MS: u64 = 1_900_000_000_000;
const START_MS: u64 = 1_767_225_600_000;
/// When the daemon dies, in percent of the messages acknowledged.
const KILLS_PERCENT: [usize; 5] = [10, 25, 40, 55, 70];
/// How long the daemon is frozen before the first kill, so that messages are on their way to it.
const FROZEN: Duration = Duration::from_millis(200);

/// Messages of the other run, half over each protocol.
const MIXED_MESSAGES: usize = 10_000;
const DEVICES: usize = 10;

/// A publisher with accounts (`mqtt_reconcile.py`).
struct Publisher {
    running: Running,
    progress: PathBuf,
    report: PathBuf,
}

impl Publisher {
    /// `None` where there is no Python.
    fn start(site: &Site, name: &str, messages: usize, start_ms: u64) -> Option<Self> {
        let (progress, report) = (site.path(&format!("{name}.out")), site.path(&format!("{name}.json")));
        let mut command = script("mqtt_reconcile.py")?;
        command.arg("--port-file").arg(site.path("mqtt.port")).arg("--report").arg(&report);
        for (option, value) in [
            ("--client", name.to_owned()),
            ("--messages", messages.to_string()),
            ("--sensors", SENSORS.to_string()),
            ("--connections", CONNECTIONS.to_string()),
            ("--start-ms", start_ms.to_string()),
            ("--progress-every", (messages / 100).max(1).to_string()),
        ] {
            command.arg(option).arg(value);
        }
        Some(Self { running: Running::start(command, &progress), progress, report })
    }

    fn acked(&self) -> usize {
        let said = fs::read_to_string(&self.progress).unwrap_or_default();
        let mut numbers = said.lines().filter_map(|line| line.strip_prefix("acked ")?.parse().ok());
        numbers.next_back().unwrap_or(0)
    }

    fn wait_for(&mut self, acked: usize) {
        eventually_or(
            || {
                assert!(self.running.ended().is_none(), "the publisher has ended");
                Some(self.acked()).filter(|now| *now >= acked)
            },
            || format!("{acked} acknowledged"),
        );
    }

    /// Waits for its end; every message must have been acknowledged.
    fn finish(mut self) -> Value {
        let status = eventually_or(|| self.running.ended(), || "the publisher ends".into());
        let report: Value = serde_json::from_slice(&fs::read(&self.report).unwrap()).unwrap();
        assert!(status.success() && report["complete"] == true, "{status}: {report}");
        report
    }
}

#[test]
fn mqtt_loses_nothing_and_counts_nothing_twice() {
    let messages = std::env::var(MESSAGES_VARIABLE).map_or(MESSAGES, |count| count.parse().unwrap());
    let mut site = Site::run(RECONCILE);
    let Some(mut publisher) = Publisher::start(&site, "publisher", messages, START_MS) else { return };
    let mut copies = 0;
    for (number, percent) in KILLS_PERCENT.into_iter().enumerate() {
        publisher.wait_for(messages * percent / 100);
        copies += copies_recognised(&site);
        // Frozen, it leaves messages that it has not read; else also some that it wrote and did not acknowledge.
        if number == 0 {
            site.signal(Signal::STOP);
            thread::sleep(FROZEN);
        }
        site.kill9();
        site.start();
    }
    let report = publisher.finish();
    copies += copies_recognised(&site);
    eprintln!("{copies} copies recognised; {report}");
    assert!(copies > 0, "no message was written and not acknowledged: the kills showed nothing");
    let kills = KILLS_PERCENT.len() as u64;
    assert_eq!(report["breaks"], kills * CONNECTIONS as u64, "{report}");
    assert!(report["resent"].as_u64().unwrap() > 0, "nothing was on its way: {report}");
    Publisher::start(&site, "closer", SENSORS, LATER_MS).unwrap().finish();
    reconcile(&mut site, messages, SENSORS);
}

/// Messages that this run of the daemon knew from the one before.
fn copies_recognised(site: &Site) -> u64 {
    let page = http::get(site.addr("http"), "/metrics").text();
    let values = page.lines().filter(|line| line.starts_with("forebay_intake_duplicates_total{"));
    values.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// What must hold at the end, once a last reading of each sensor has closed all windows.
fn reconcile(site: &mut Site, messages: usize, sensors: usize) {
    let is_closed = |rows: &[Value]| rows.iter().map(count).sum::<u64>() >= messages as u64;
    let closed = || Some(site.rows("result")).filter(|rows| is_closed(rows));
    eventually_or(closed, || format!("windows of {messages} readings: {}", sums(&site.rows("result"))));
    site.stop();

    let (closers, readings): (Vec<Value>, Vec<Value>) =
        site.rows("reading").into_iter().partition(|row| row["time"] == LATER_MS);
    assert_eq!(closers.len(), sensors);
    let mut seen = vec![0_u32; messages];
    for row in &readings {
        seen[row["fields"]["seq"].as_u64().unwrap() as usize] += 1;
    }
    let missing: Vec<usize> = (0..messages).filter(|seq| seen[*seq] == 0).collect();
    let double: Vec<usize> = (0..messages).filter(|seq| seen[*seq] > 1).collect();
    assert!(missing.is_empty(), "{} acknowledged and lost: {:?}", missing.len(), first(&missing));
    assert!(double.is_empty(), "{} counted twice: {:?}", double.len(), first(&double));

    let results = site.rows("result");
    assert_ids_unique(readings.iter().chain(&closers).chain(&results));
    assert_eq!(results.iter().map(count).sum::<u64>(), messages as u64, "{}", sums(&results));
    let mut windows = HashMap::new();
    for row in &results {
        let before = windows.insert((row["key"].as_str().unwrap(), row["start"].as_u64().unwrap()), row);
        assert!(before.is_none(), "one window, two results: {row} and {before:?}");
    }
    assert_eq!(site.rows("dead-letter"), [] as [Value; 0]);
}

fn count(row: &Value) -> u64 {
    row["values"]["n"].as_u64().unwrap()
}

fn sums(results: &[Value]) -> String {
    format!("{} rows, {} readings", results.len(), results.iter().map(count).sum::<u64>())
}

fn first<T>(all: &[T]) -> &[T] {
    &all[..all.len().min(10)]
}

/// Where a listener is now: it comes back on another port.
fn present(port_file: &Path) -> SocketAddr {
    let port = fs::read_to_string(port_file).unwrap().parse().unwrap();
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The messages of a device: topic, payload, key.
fn messages_of(device: usize) -> impl Iterator<Item = (String, String, String)> {
    let each = MIXED_MESSAGES / DEVICES;
    (0..each).map(move |number| {
        let (seq, ts) = (device * each + number, START_MS + number as u64 * 1000);
        let payload = format!("{{\"seq\":{seq},\"ts\":{ts},\"value\":{}}}", number % 100);
        (format!("reconcile/d{device}/telemetry"), payload, format!("key-{seq}"))
    })
}

/// POSTs until it is accepted.
fn post_until_accepted(port_file: &Path, topic: &str, payload: &str, key: &str) {
    let headers = format!("idempotency-key: {key}\r\n");
    let post = || http::try_post(present(port_file), topic, &headers, payload.as_bytes());
    let answer = eventually_or(|| post().filter(|answer| answer.status != 503), || format!("{key} accepted"));
    assert_eq!(answer.status, 202, "{answer:?}");
}

fn post_confirmable(device: &mut coap::Device, port_file: &Path, topic: &str, payload: &str) {
    let answer = device.post(&coap::Post::new(topic, payload.as_bytes()), || present(port_file));
    assert_eq!(answer.code, "2.04", "{}", answer.text());
}

/// The daemon dies at random times.
#[test]
fn http_and_coap_lose_nothing_and_count_nothing_twice() {
    let mut site = Site::run(RECONCILE);
    let (http_port, coap_port) = (site.path("http.port"), site.path("coap.port"));
    let acked = AtomicUsize::new(0);
    thread::scope(|scope| {
        for device in 0..DEVICES {
            let (http_port, coap_port, acked) = (&http_port, &coap_port, &acked);
            scope.spawn(move || {
                let mut endpoint = coap::Device::new();
                for (topic, payload, key) in messages_of(device) {
                    match device % 2 {
                        0 => post_until_accepted(http_port, &topic, &payload, &key),
                        _ => post_confirmable(&mut endpoint, coap_port, &topic, &payload),
                    }
                    acked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for percent in KILLS_PERCENT {
            let enough = MIXED_MESSAGES * percent / 100;
            let now = || Some(acked.load(Ordering::Relaxed)).filter(|now| *now >= enough);
            eventually_or(now, || format!("{enough} acknowledged, only {}", acked.load(Ordering::Relaxed)));
            thread::sleep(Duration::from_millis(RandomState::new().build_hasher().finish() % 100));
            site.kill9();
            site.start();
        }
    });
    for device in 0..DEVICES {
        let payload = format!("{{\"seq\":0,\"ts\":{LATER_MS},\"value\":0}}");
        let topic = format!("reconcile/d{device}/telemetry");
        post_until_accepted(&http_port, &topic, &payload, &format!("closer-{device}"));
    }
    reconcile(&mut site, MIXED_MESSAGES, DEVICES);
}
