//! A full disk: nothing is taken, closing down works, and when there is room everything goes on by itself.
//!
//! The data directory is a small tmpfs, which needs root; without it the test says so and is skipped. The
//! journal's segments have their room beforehand, so what fails first is the store: sinks' cursors, checkpoints.
//! sled remembers its first error, Forebay must not.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::coap::{Device, Post};
use crate::harness::{Site, eventually, http, rows};

const SOURCE: &str = r#"
[source.plant]
priority = "alarm"
topic = "plant/{machine}"
format = "json"
time = { at = "/ts", unit = "ms" }
[pipeline.second]
from = ["plant"]
window = { kind = "tumbling", size = "1s" }
select = { n = "count()" }
"#;

/// Three preallocated segments, the ballast and its reserve, sled, and little more.
const DISK: &str = "size=340m";
/// What the ballast keeps.
const BALLAST_BYTES: u64 = 64 << 20;
/// Enough to work off what is acknowledged, for neither the ballast nor a segment.
const LITTLE_BYTES: u64 = 32 << 20;
/// Readings sent at most until the store has failed.
const READINGS_MAX: usize = 3_000;

/// A mounted tmpfs; unmounted when dropped.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one with room for the segments and little more. `None`, which is said, where that is not allowed.
    pub fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(at).status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("skipped: a tmpfs cannot be mounted here");
        None
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazy: the daemon of a failed test may still be in it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Takes all room that is left.
pub fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut size = 1 << 20;
    while size > 0 {
        if file.write_all(&vec![1; size]).is_err() {
            size /= 2;
        }
    }
}

fn try_post(site: &Site, number: usize) -> http::Answer {
    let body = format!(r#"{{"ts":{},"n":{number}}}"#, 1_767_225_600_000u64 + number as u64);
    http::post(site.addr("http"), "plant/a", "", body.as_bytes())
}

fn post(site: &Site, number: usize) {
    let answer = try_post(site, number);
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// Fills the disk of a running gateway and sends until it takes nothing more; yields the filler and the readings
/// taken.
fn fill_up(site: &Site, mut sent: usize) -> (PathBuf, usize) {
    post(site, sent);
    sent += 1;
    site.wait_for(sent, "reading", |_| true);
    let filler = site.path("data/filler");
    fill(&filler);
    let first = sent;
    let refused = loop {
        let answer = try_post(site, sent);
        match answer.status {
            202 => sent += 1,
            503 => break answer,
            _ => panic!("{answer:?}"),
        }
        assert!(sent - first < READINGS_MAX, "the store never failed");
    };
    assert_eq!(refused.json()["type"], "/problems/disk");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    eventually("the ballast is released", || (kept_bytes(site) == 0).then_some(()));
    (filler, sent)
}

/// There is room again: the next reading is taken as soon as the ballast is back.
fn empty(site: &Site, filler: &Path, number: usize) {
    fs::remove_file(filler).unwrap();
    eventually("messages are taken again", || (try_post(site, number).status == 202).then_some(()));
    assert!(kept_bytes(site) >= BALLAST_BYTES, "{} bytes kept back", kept_bytes(site));
}

/// Room that the ballast has on the disk.
fn kept_bytes(site: &Site) -> u64 {
    fs::metadata(site.path("data/journal/ballast")).map_or(0, |file| file.blocks() * 512)
}

/// Nothing was lost, doubled or damaged.
fn check(site: &Site, sent: usize) {
    let readings = site.rows("reading");
    assert_eq!(readings.len(), sent);
    rows::assert_ids_unique(&readings);
    rows::assert_ids_unique(&site.rows("result"));
    let log = site.log();
    assert!(!log.contains("panicked") && !log.contains("damage"), "the log tells of damage");
    let verified = site.forebay(&["journal", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn everything_takes_up_by_itself() {
    let mut site = Site::new(SOURCE);
    let Some(_disk) = Tmpfs::mount(&site.path("data")) else { return };
    site.start();
    assert!(kept_bytes(&site) >= BALLAST_BYTES, "{} bytes kept back", kept_bytes(&site));
    let (filler, sent) = fill_up(&site, 0);
    let message = Post::new("plant/a", br#"{"ts":1767225600000,"n":0}"#);
    let answer = Device::new().post(&message, || site.addr("coap"));
    assert_eq!(answer.code, "5.03", "{answer:?}");
    let page = http::get(site.addr("http"), "/readyz");
    assert_eq!((page.status, page.text().contains("the disk is full")), (503, true), "{page:?}");
    let status = String::from_utf8(site.forebay(&["status"]).stdout).unwrap();
    assert!(
        status.contains("NOT READY: the disk is full: messages are taken again once 128 MiB"),
        "{status}"
    );
    let metrics = http::get(site.addr("http"), "/metrics").text();
    assert!(metrics.contains("\nforebay_disk_ballast_bytes 0\n"), "{metrics}");
    eventually("readings taken are delivered, full or not", || {
        (site.rows("reading").len() >= sent).then_some(())
    });
    empty(&site, &filler, sent);
    eventually("every reading is delivered", || (site.rows("reading").len() > sent).then_some(()));
    assert_eq!(http::get(site.addr("http"), "/readyz").status, 200);
    site.stop();
    check(&site, sent + 1);
}

#[test]
fn closing_down_works_and_so_does_a_start() {
    let mut site = Site::new(SOURCE);
    let Some(_disk) = Tmpfs::mount(&site.path("data")) else { return };
    site.start();
    let (filler, mut sent) = fill_up(&site, 0);
    site.stop();
    // Somebody takes what the end gave back, but for a little.
    let more = site.path("data/more");
    fill(&more);
    let taken = fs::metadata(&more).unwrap().len();
    File::options().write(true).open(&more).unwrap().set_len(taken - LITTLE_BYTES).unwrap();
    site.start();
    assert_eq!(try_post(&site, sent).status, 503);
    site.stop();
    fs::remove_file(&more).unwrap();
    site.start();
    empty(&site, &filler, sent);
    for _ in 0..100 {
        sent += 1;
        post(&site, sent);
    }
    // Nobody has met the full disk yet when it is told to stop.
    fill(&filler);
    site.stop();
    fs::remove_file(&filler).unwrap();
    site.start();
    sent += 1;
    post(&site, sent);
    eventually("every reading is delivered", || (site.rows("reading").len() > sent).then_some(()));
    site.stop();
    check(&site, sent + 1);
}

#[test]
fn a_reload_without_room_for_states_changes_nothing() {
    let mut site = Site::new(SOURCE);
    let Some(_disk) = Tmpfs::mount(&site.path("data")) else { return };
    site.start();
    // Somebody takes the ballast's room: with it the store would take a few rows more.
    fs::remove_file(site.path("data/journal/ballast")).unwrap();
    let (filler, mut sent) = fill_up(&site, 0);
    site.edit(&format!("{SOURCE}[alert.full]\non = \"second\"\nwhen = \"n >= 1\"\n"));
    let output = site.forebay(&["reload"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("reload: nothing is changed: state store: "), "{said}");
    empty(&site, &filler, sent);
    sent += 1;
    eventually("there is room", || site.forebay(&["reload"]).status.success().then_some(()));
    for _ in 0..1_000 {
        post(&site, sent);
        sent += 1;
    }
    post(&site, sent + 10_000);
    let windows =
        |site: &Site| site.rows("result").iter().map(|row| row["values"]["n"].as_u64().unwrap()).sum::<u64>();
    eventually("every window", || (windows(&site) >= sent as u64).then_some(()));
    eventually("every reading is delivered", || (site.rows("reading").len() > sent).then_some(()));
    site.wait_for(1, "alert", |_| true);
    site.stop();
    assert_eq!(windows(&site), sent as u64);
    check(&site, sent + 1);
}
