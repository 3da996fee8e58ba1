//! The real daemon with a state store that is damaged, also while it runs, lost or from the future.

mod running;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use forebay::store::{StateKey, StateRow, Store};

use crate::harness::rows::assert_ids_unique;
use crate::harness::{Site, eventually_or, http};

const TENS: &str = r#"
[source.s]
topic = "s/{device}"
format = "json"
sensor = "{device}"
time = { at = "/ts", unit = "ms" }
fields = { value = {} }
[pipeline.tens]
from = ["s"]
window = { kind = "tumbling", size = "10s" }
select = { n = "count()" }
"#;

fn post(site: &Site, seconds: u64) {
    let payload = format!("{{\"ts\":{},\"value\":1}}", 1_767_225_600_000 + seconds * 1000);
    let answer = http::try_post(site.addr("http"), "s/a", "", payload.as_bytes()).expect("answers");
    assert_eq!(answer.status, 202, "{answer:?}");
}

fn counts(site: &Site) -> Vec<u64> {
    site.rows("result").iter().map(|row| row["values"]["n"].as_u64().unwrap()).collect()
}

fn wait_for(site: &Site, counts: &[u64]) {
    let read = || Some(self::counts(site)).filter(|read| read.len() >= counts.len());
    let read = eventually_or(read, || format!("{counts:?}, only {:?}", self::counts(site)));
    assert_eq!(read, counts);
}

fn state_files(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.path("data/state")).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

fn set_aside(site: &Site) -> usize {
    let names = fs::read_dir(site.path("data")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("state.damaged-")).count()
}

/// Ten readings in an open window, one window fired; then the daemon dies or stops, the store is hurt, and the
/// windows must come out as if nothing had happened.
fn hurt_between(end: fn(&mut Site), hurt: fn(&Site)) -> Site {
    let mut site = Site::run(TENS);
    (0..10).for_each(|second| post(&site, second));
    (10..15).for_each(|second| post(&site, second));
    wait_for(&site, &[10]);
    end(&mut site);
    hurt(&site);
    site.start();
    (15..20).for_each(|second| post(&site, second));
    post(&site, 20);
    wait_for(&site, &[10, 10]);
    site.stop();
    assert_ids_unique(site.rows("result").iter().chain(&site.rows("reading")));
    assert_eq!(site.rows("reading").len(), 21, "each reading once");
    site
}

fn ruin(site: &Site) {
    for file in state_files(site) {
        // A running daemon may have taken it away meanwhile.
        let Ok(about) = fs::metadata(&file) else { continue };
        fs::write(file, vec![0x5a; about.len() as usize]).unwrap();
    }
}

#[test]
fn a_ruined_store_is_set_aside_and_every_window_comes_out_whole() {
    // With the dump that a stop makes, and with nothing but the journal.
    for end in [Site::stop as fn(&mut Site), Site::kill9] {
        let site = hurt_between(end, ruin);
        assert_eq!(set_aside(&site), 1);
        assert!(site.log().contains("state store damaged"), "the log says so");
    }
    let site = hurt_between(Site::kill9, |site| {
        ruin(site);
        fs::remove_dir_all(site.path("data/dumps")).unwrap();
    });
    assert!(site.log().contains("no dump to restore"), "the log says so");
}

/// Every file below `dir` with its bytes.
fn bytes_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(bytes_below(&path));
        } else if path.is_file() {
            files.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn a_store_of_a_newer_program_is_left_alone() {
    let mut site = Site::run(TENS);
    post(&site, 0);
    site.stop();
    let manifest = site.path("data/state.manifest");
    let text = fs::read_to_string(&manifest).unwrap();
    let mut json: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    json["format"] = 1_000.into();
    let json = json.to_string();
    fs::write(&manifest, format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes()))).unwrap();
    let before = bytes_below(&site.path("data"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.args(["run", "--config"]).arg(site.path("forebay.toml")).current_dir(site.path(""));
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("manifest has format 1000, this program reads up to"), "{said}");
    assert!(bytes_below(&site.path("data")) == before, "something was touched");
}

/// What no waiting and no restoring mends ends the process, for whoever supervises it to see.
#[test]
fn a_lane_that_cannot_go_on_ends_the_daemon_with_1() {
    let mut site = Site::run(TENS);
    (0..3).for_each(|second| post(&site, second));
    site.stop();
    {
        let store = Store::open(&site.path("data/state")).unwrap();
        let keys = store.keys("main").unwrap();
        let states = keys.iter().map(|(keying, key)| StateRow {
            key: StateKey { lane: "main", keying: *keying, key },
            state: b"from nowhere",
            due: b"from nowhere",
        });
        store.put_states(states).unwrap();
        store.flush().unwrap();
    }
    site.spawn();
    let status = site.exited();
    assert_eq!(status.code(), Some(1), "{status}");
    let log = site.log();
    assert!(log.contains("lane main: state of \\\"a\\\""), "the last word says which lane, and why");
}
