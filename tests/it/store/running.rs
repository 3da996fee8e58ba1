//! Damage that is found while the daemon runs: keys sleep, sled's file is overwritten under it, keys wake.
//!
//! Rows of more than sled's cache, by keys that are long, so that waking reads the file.

use std::fmt::Write as _;

use super::{ruin, set_aside};
use crate::harness::rows::assert_ids_unique;
use crate::harness::{BASE, Site, eventually, http};

/// Keys, each of three texts of so many bytes and in two rows: twice sled's cache.
const KEYS: usize = 5_000;
const TEXT_BYTES: usize = 1_000;
/// Readings of one body.
const PER_BODY: usize = 200;

const LARGE: &str = r#"
[source.s]
topic = "large"
format = "ndjson"
sensor = "{/id}"
time = { at = "/ts", unit = "ms" }
fields = { a = {}, b = {}, c = {} }
[pipeline.counts]
from = ["s"]
key = ["a", "b", "c"]
window = { kind = "tumbling", size = "10s" }
select = { n = "count()" }
"#;

/// A reading for every key.
fn send(site: &Site, second: u64) {
    for body in 0..KEYS / PER_BODY {
        let mut lines = String::new();
        for id in body * PER_BODY..(body + 1) * PER_BODY {
            let ts = 1_767_225_600_000 + second * 1000;
            let text = format!("{id:x>TEXT_BYTES$}");
            writeln!(lines, r#"{{"id":"d{id}","ts":{ts},"a":"{text}","b":"{text}","c":"{text}"}}"#).unwrap();
        }
        let answer = http::try_post(site.addr("http"), "large", "", lines.as_bytes()).expect("answers");
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

/// A daemon whose keys all sleep, with one reading each in an open window.
fn asleep() -> Site {
    let readings = "[[route]]\nof = \"reading\"\nto = [\"rows\"]\n";
    let mut site = Site::with_config(&format!("{}{LARGE}", BASE.replace(readings, "")));
    site.start();
    send(&site, 0);
    site.stop();
    site.start();
    eventually("lanes run", || (readyz(&site) == "ready\n").then_some(()));
    site
}

fn readyz(site: &Site) -> String {
    let answer = http::get(site.addr("http"), "/readyz");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text()
}

/// Every window with both of its readings, once.
fn assert_whole(site: &Site) {
    send(site, 11);
    let rows = eventually("all windows", || Some(site.rows("result")).filter(|rows| rows.len() >= KEYS));
    assert_eq!(rows.len(), KEYS);
    assert!(rows.iter().all(|row| row["values"]["n"] == 2), "a reading is missing, or counts twice");
    assert_ids_unique(rows.iter());
}

#[test]
fn damage_found_while_running_stops_lanes_only_until_the_store_is_restored() {
    let mut site = asleep();
    ruin(&site);
    send(&site, 1);
    let remark = eventually("lanes wait", || Some(readyz(&site)).filter(|said| said != "ready\n"));
    assert!(remark.contains("ready, but lanes wait: the state store is being restored"), "{remark}");
    site.write(
        "forebay.toml",
        format!("{}# edited\n", std::fs::read_to_string(site.path("forebay.toml")).unwrap()),
    );
    let output = site.forebay(&["reload"]);
    let said = [output.stderr, output.stdout].map(|said| String::from_utf8(said).unwrap()).concat();
    let waits_still = readyz(&site) != "ready\n";
    assert!(!waits_still || said.contains("nothing is changed: the state store is being restored"), "{said}");
    eventually("lanes run again", || site.log().contains("lanes run again").then_some(()));
    assert_whole(&site);
    let metrics = http::get(site.addr("http"), "/metrics").text();
    assert!(metrics.contains("forebay_lanes_restarted_total 1\n"), "{metrics}");
    assert_eq!(set_aside(&site), 1);
    assert!(site.is_alive());
    site.stop();
}

#[test]
fn damage_again_soon_after_ends_the_daemon_and_the_next_start_mends_it() {
    let mut site = asleep();
    ruin(&site);
    send(&site, 1);
    eventually("lanes run again", || site.log().contains("lanes run again").then_some(()));
    // The dump that follows a restored store at once meets this.
    ruin(&site);
    let status = site.exited();
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(site.log().contains("after it was restored: check disk and memory"), "the last word says why");
    site.start();
    assert_whole(&site);
    assert_eq!(set_aside(&site), 2);
}
