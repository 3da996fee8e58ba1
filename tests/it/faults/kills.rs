//! kill -9 at random moments under load on all three protocols at once, and what came of every message.
//!
//! Most faults are kills of a running daemon; some are kills while it still recovers, some are SIGTERMs, which
//! must end with exit code 0. Afterwards every window and alert that went out is compared with what the
//! devices sent: 0 lost, 0 missing, 0 wrong, 0 doubled. Prints the times from a start to `/readyz`.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::accounts::{self, PIPELINE, Reading};
use super::clients::{self, Fleet, Running};
use super::{Dice, Extent, percentiles};
use crate::harness::rows::assert_ids_unique;
use crate::harness::{Site, eventually_or, http};

/// Results and alerts only: readings would fill the disk of a long run, and windows count every one of them.
const CONFIG: &str = r#"
[gateway]
id = "it"
data_dir = "data"
[listen.mqtt]
bind = "127.0.0.1:0"
[listen.coap]
bind = "127.0.0.1:0"
[listen.http]
bind = "127.0.0.1:0"
[[route]]
of = "late"
to = ["rows"]
[[route]]
of = "result"
to = ["rows"]
[[route]]
of = "alert"
to = ["rows"]
[[route]]
of = "dead-letter"
to = ["rows"]
[sink.rows]
kind = "file"
path = "rows.ndjson"
start = "earliest"
rotate = "1GiB"
"#;

/// Together with the slow ones above 5,000 messages a second, downtimes included: who is behind catches up.
const FLEET: Fleet = Fleet { mqtt: 4, mqtt_rate: 1_500.0, coap: 3, http: 3, slow_rate: 100.0 };
/// Within `tests/run`.
const KILLS: usize = 10;
/// How long the daemon runs before the next fault, in milliseconds.
const ALIVE_MS: (u64, u64) = (50, 1_500);
/// When a kill during recovery comes after the start, in milliseconds.
const RECOVERING_MS: (u64, u64) = (1, 120);
/// In percent of the faults.
const DURING_RECOVERY: u64 = 15;
const SIGTERM: u64 = 10;

/// What was done to the daemon, and how long it took to serve again.
#[derive(Default)]
struct Faults {
    kills: usize,
    during_recovery: usize,
    terminations: usize,
    ready: Vec<Duration>,
    copies: u64,
}

impl Faults {
    fn count(&self) -> usize {
        self.kills + self.during_recovery
    }

    /// One fault, and the daemon serves again.
    fn strike(&mut self, site: &mut Site, dice: &mut Dice) {
        thread::sleep(dice.millis(ALIVE_MS.0, ALIVE_MS.1));
        self.copies += copies_recognised(site);
        if dice.chance(SIGTERM) {
            site.stop();
            self.terminations += 1;
        } else {
            site.kill9();
            self.kills += 1;
        }
        while dice.chance(DURING_RECOVERY) {
            site.spawn();
            thread::sleep(dice.millis(RECOVERING_MS.0, RECOVERING_MS.1));
            site.kill9();
            self.during_recovery += 1;
        }
        let started = Instant::now();
        site.start();
        assert_eq!(http::get(site.addr("http"), "/readyz").status, 200);
        self.ready.push(started.elapsed());
    }
}

/// Messages that this run of the daemon knew from the one before.
fn copies_recognised(site: &Site) -> u64 {
    let page = http::get(site.addr("http"), "/metrics").text();
    let values = page.lines().filter(|line| line.starts_with("forebay_intake_duplicates_total{"));
    values.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn kills_under_load_on_three_protocols_lose_and_double_nothing() {
    let extent = Extent::of_run(KILLS);
    eprintln!("kills: seed {}", extent.seed);
    let mut dice = Dice::new(extent.seed);
    let mut site = Site::with_config(&format!("{CONFIG}{PIPELINE}"));
    site.start();
    let devices = Running::start(&site, FLEET, None);
    let mut faults = Faults::default();
    while extent.goes_on(faults.count()) {
        faults.strike(&mut site, &mut dice);
    }
    let rate = devices.acked() as f64 / devices.since.elapsed().as_secs_f64();
    let resent = devices.resent.clone();
    let sent = devices.finish();
    clients::close_windows(&site, &FLEET.names());
    let readings: Vec<Reading> =
        sent.iter().flat_map(|(device, count)| (0..*count).map(|seq| Reading::new(device, seq))).collect();
    let closers: Vec<Reading> = FLEET
        .names()
        .iter()
        .flat_map(|name| (0..accounts::SENSORS).map(|sensor| Reading::closer(name, sensor)))
        .collect();
    let windows = accounts::windows(readings.iter().chain(&closers));
    let results = |rows: &[Value]| rows.iter().filter(|row| row["type"] == "result").count();
    let found = || site.rows_in("rows.ndjson");
    eventually_or(
        || (results(&found()) >= windows.len()).then_some(()),
        || format!("{} windows, only {}", windows.len(), results(&found())),
    );
    faults.copies += copies_recognised(&site);
    site.stop();

    let rows = site.rows_in("rows.ndjson");
    let differences = accounts::compare(&windows, &rows);
    let Faults { kills, during_recovery, terminations, ready, copies } = faults;
    eprintln!(
        "kills: {kills} under load, {during_recovery} during recovery, {terminations} SIGTERMs; {} messages acknowledged, \
         {rate:.0}/s, {} sent again, {copies} copies recognised; {} windows, {} rows; ready: {}; {}",
        readings.len(),
        resent.load(std::sync::atomic::Ordering::Relaxed),
        windows.len(),
        rows.len(),
        percentiles(ready),
        differences.summary()
    );
    assert!(differences.is_empty(), "seed {}: {}", extent.seed, differences.summary());
    let unexpected = rows.iter().find(|row| row["type"] == "late" || row["type"] == "dead-letter");
    assert_eq!(unexpected, None, "seed {}", extent.seed);
    assert_ids_unique(&rows);
    assert!(!site.log().contains("panicked"), "a panic in the log");
    assert!(copies > 0, "no message was written and not acknowledged: the kills showed nothing");
}
