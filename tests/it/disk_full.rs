//! A full disk under the state store: sled remembers its first error, Forebay must not.
//!
//! The data directory is a small tmpfs, which needs root; without it the test says so and is skipped. The
//! journal's segments have their room beforehand, so what fails first is the store: sinks' cursors, checkpoints.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Three preallocated segments, sled, and little more.
const DISK: &str = "size=230m";
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

fn post(site: &Site, number: usize) {
    let body = format!(r#"{{"ts":{},"n":{number}}}"#, 1_767_225_600_000u64 + number as u64);
    let answer = http::post(site.addr("http"), "plant/a", "", body.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// Fills the disk of a running gateway until its store has failed; yields the filler and the readings sent.
fn fail_store(site: &Site) -> (PathBuf, usize) {
    post(site, 0);
    site.wait_for(1, "reading", |_| true);
    let filler = site.path("data/filler");
    fill(&filler);
    let mut sent = 1;
    while !site.log().contains("No space left") {
        assert!(sent < READINGS_MAX, "the store never failed");
        post(site, sent);
        sent += 1;
    }
    (filler, sent)
}

#[test]
fn state_and_sinks_take_up_by_themselves() {
    let mut site = Site::new(SOURCE);
    let Some(_disk) = Tmpfs::mount(&site.path("data")) else { return };
    site.start();
    let (filler, sent) = fail_store(&site);
    fs::remove_file(&filler).unwrap();
    eventually("every reading is delivered", || (site.rows("reading").len() >= sent).then_some(()));
    post(&site, sent + 10_000);
    site.stop();
    let readings = site.rows("reading");
    assert_eq!(readings.len(), sent + 1);
    rows::assert_ids_unique(&readings);
    rows::assert_ids_unique(&site.rows("result"));
}

#[test]
fn a_reload_without_room_for_states_changes_nothing() {
    let mut site = Site::new(SOURCE);
    let Some(_disk) = Tmpfs::mount(&site.path("data")) else { return };
    site.start();
    let (filler, mut sent) = fail_store(&site);
    site.edit(&format!("{SOURCE}[alert.full]\non = \"second\"\nwhen = \"n >= 1\"\n"));
    let output = site.forebay(&["reload"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("reload: nothing is changed: state store: "), "{said}");
    post(&site, sent);
    sent += 1;
    fs::remove_file(&filler).unwrap();
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
    rows::assert_ids_unique(&site.rows("reading"));
    rows::assert_ids_unique(&site.rows("result"));
}
