//! A disk that does not answer, and one that is full again and again.
//!
//! While no sync comes back nothing may be acknowledged, whoever asks, and memory must stay where it is: senders
//! wait or are put off. When the disk is back everything that was acknowledged is there, without a restart.

use std::fs;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::accounts::{self, PIPELINE};
use super::clients::{Fleet, Running};
use super::{Dice, Extent, noise, recording};
use crate::disk_full::{Tmpfs, fill};
use crate::harness::{Site, eventually_or, http, within};

const FLEET: Fleet = Fleet { mqtt: 3, mqtt_rate: 1_000.0, coap: 2, http: 2, slow_rate: 100.0 };
const STALL: Duration = Duration::from_secs(5);
/// Acknowledgements of syncs that had begun may be read so much later.
const SETTLE: Duration = Duration::from_millis(300);
/// Takes whatever there is.
const BIG: &str = r#"
[source.big]
topic = "big/{sensor}"
format = "json"
"#;
/// Big messages that come at once during the stall: several times what may wait for the disk (16 MiB).
const FLOOD: usize = 160;
const BIG_BYTES: usize = 240_000;
/// What memory may grow by: the queue, and as many bodies as are being read.
const GROWTH_BYTES_MAX: u64 = 192 << 20;
/// A message that is put off must be told so soon.
const PUT_OFF_WITHIN: Duration = Duration::from_secs(3);
/// Within `tests/run`.
const FILLINGS: usize = 3;
/// A sink that failed often rests for up to 30 s before it tries again, and then has to catch up.
const SINK_RESTS_MAX: Duration = Duration::from_secs(90);

#[test]
fn a_stalled_disk_acknowledges_nothing_and_takes_up_again() {
    let Some(recorder) = recording::recorder() else { return };
    let mut site = Site::new(&format!("{PIPELINE}{BIG}"));
    let stall = site.path("stall");
    site.set_env("LD_PRELOAD", recorder);
    site.set_env("RECORDER_ROOT", fs::canonicalize(site.path("")).unwrap());
    site.set_env("RECORDER_STALL", &stall);
    site.start();
    let devices = Running::start(&site, FLEET, None);
    thread::sleep(Duration::from_secs(1));
    let before = site.resident_bytes();
    fs::write(&stall, "").unwrap();
    thread::sleep(SETTLE);
    let acked = devices.acked();
    let processed = processed(&site);
    assert!(
        processed <= acked,
        "{processed} readings processed, {acked} acknowledged: some before their sync"
    );
    let freed = Instant::now() + STALL;
    let answers = thread::scope(|scope| {
        let flood: Vec<_> = (0..FLOOD)
            .map(|number| {
                scope.spawn({
                    let site = &site;
                    move || big(site, number)
                })
            })
            .collect();
        while Instant::now() < freed {
            let growth = site.resident_bytes().saturating_sub(before);
            assert!(growth < GROWTH_BYTES_MAX, "memory grew by {} MiB", growth >> 20);
            assert_eq!(devices.acked(), acked, "acknowledged while no sync came back");
            thread::sleep(Duration::from_millis(20));
        }
        let over = Instant::now();
        fs::remove_file(&stall).unwrap();
        flood.into_iter().map(|one| (one.join().unwrap(), over)).collect::<Vec<_>>()
    });
    let put_off: Vec<_> = answers.iter().filter(|((status, ..), _)| *status == 503).collect();
    assert!(put_off.iter().all(|((_, took, _), _)| *took < PUT_OFF_WITHIN), "{put_off:?}");
    assert!(!put_off.is_empty() && put_off.len() < FLOOD, "{} of {FLOOD} put off", put_off.len());
    let early = answers.iter().find(|((status, _, at), over)| *status == 202 && at < over);
    assert_eq!(early, None, "accepted while no sync came back");
    eventually_or(|| (devices.acked() > acked + 100).then_some(()), || "the devices go on".into());
    let sent = devices.finish();
    let kept = FLOOD - put_off.len();
    let check = || accounts::check_exact(&small(&site), &sent);
    eventually_or(|| check().is_ok().then_some(()), || format!("{:?}", check()));
    let big = site.wait_for(kept, "reading", |row| row["sensor"] == "noise");
    assert_eq!(big.len(), kept, "big messages accepted and kept");
}

/// Readings that lanes have seen since the start: one a message, and there is one lane.
fn processed(site: &Site) -> u64 {
    let page = http::get(site.addr("http"), "/metrics").text();
    let line = page.lines().find(|line| line.starts_with("forebay_lane_readings_total{")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Posts a big message: the status, how long it took, and when the answer came.
fn big(site: &Site, number: usize) -> (u16, Duration, Instant) {
    let body = format!("{{{}}}", noise(number as u64, BIG_BYTES));
    let started = Instant::now();
    let answer = http::post(site.addr("http"), "big/noise", "", body.as_bytes());
    (answer.status, started.elapsed(), Instant::now())
}

/// The rows but for those of big messages.
fn small(site: &Site) -> Vec<serde_json::Value> {
    let mut rows = site.rows_in("rows.ndjson");
    rows.retain(|row| row["sensor"] != "noise");
    rows
}

#[test]
fn a_disk_full_again_and_again_loses_and_doubles_nothing() {
    let extent = Extent::of_run(FILLINGS);
    let mut dice = Dice::new(extent.seed);
    let mut site = Site::new(PIPELINE);
    let Some(_disk) = Tmpfs::mount(&site.path("data")) else { return };
    site.start();
    let devices = Running::start(&site, FLEET, None);
    let filler = site.path("data/filler");
    let mut fillings = 0;
    while extent.goes_on(fillings) {
        thread::sleep(dice.millis(100, 500));
        fill(&filler);
        thread::sleep(dice.millis(100, 1_500));
        fs::remove_file(&filler).unwrap();
        let acked = devices.acked();
        eventually_or(|| (devices.acked() > acked + 100).then_some(()), || "the devices go on".into());
        fillings += 1;
    }
    assert!(site.log().contains("No space left"), "the disk was never full");
    let resent = devices.resent.load(Ordering::Relaxed);
    let sent = devices.finish();
    let check = || accounts::check_exact(&site.rows_in("rows.ndjson"), &sent);
    within(
        SINK_RESTS_MAX,
        || check().is_ok().then_some(()),
        || format!("seed {}: {:?}", extent.seed, check()),
    );
    eprintln!("full disk: {fillings} times, {} messages, {resent} sent again", sent.values().sum::<u64>());
    site.stop();
    assert!(!site.log().contains("panicked"), "a panic in the log");
}
