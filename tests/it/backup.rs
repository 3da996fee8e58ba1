//! `forebay backup` and `forebay restore`: everything acknowledged is in the copy, and the copy goes on.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Site, eventually, eventually_or, http};

const METERS: &str = r#"
[source.meters]
topic = "meters/{meter}"
format = "json"
sensor = "{meter}"
time = { at = "/ts", unit = "ms" }
fields = { seq = {} }
[pipeline.load]
from = ["meters"]
window = { kind = "tumbling", size = "1s" }
select = { n = "count()" }
"#;

/// Clients that post at once.
const CLIENTS: u64 = 4;
/// Acknowledged messages after which the gateway dies.
const ENOUGH: usize = 400;

fn forebay(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.current_dir(site.path("")).args(arguments).env_remove("RUST_LOG");
    command.output().unwrap()
}

fn succeed(site: &Site, arguments: &[&str]) {
    let done = forebay(site, arguments);
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", text(&done.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Numbers and offsets of acknowledged messages.
type Acked = Mutex<Vec<(u64, u64)>>;

fn post(site: &Site, seq: u64) -> Option<(u64, u64)> {
    let body = json!({"ts": 1_767_225_600_000 + seq * 100, "seq": seq}).to_string();
    let answer = http::try_post(site.addr("http"), &format!("meters/m{}", seq % 7), "", body.as_bytes())?;
    (answer.status == 202).then(|| (seq, answer.json()["offset"].as_u64().unwrap()))
}

/// Posts from several clients until the gateway is gone; `meanwhile` runs when enough is acknowledged.
fn under_load(site: &mut Site, meanwhile: impl FnOnce(&mut Site)) -> Vec<(u64, u64)> {
    let acked = Acked::default();
    let addr = site.addr("http");
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let acked = &acked;
            scope.spawn(move || {
                for number in 0.. {
                    let seq = number * CLIENTS + client;
                    let body = json!({"ts": 1_767_225_600_000_u64 + seq * 100, "seq": seq}).to_string();
                    let topic = format!("meters/m{}", seq % 7);
                    let Some(answer) = http::try_post(addr, &topic, "", body.as_bytes()) else { return };
                    assert_eq!(answer.status, 202, "{answer:?}");
                    acked.lock().unwrap().push((seq, answer.json()["offset"].as_u64().unwrap()));
                }
            });
        }
        eventually_or(
            || (acked.lock().unwrap().len() >= ENOUGH).then_some(()),
            || format!("{} acknowledged", acked.lock().unwrap().len()),
        );
        meanwhile(site);
    });
    acked.into_inner().unwrap()
}

/// A second gateway with the first one's data must have every reading of `acked`, and give out later offsets.
fn goes_on(backup: &str, first: &Site, acked: &[(u64, u64)]) {
    let mut second = Site::new(METERS);
    let from = first.path(backup);
    succeed(&second, &["restore", "--from", from.to_str().unwrap(), "--data-dir", "data"]);
    let ids = [first, &second].map(|site| fs::read_to_string(site.path("data/journal/journal.id")).unwrap());
    assert_ne!(ids[0], ids[1], "a restored journal has an id of its own");
    second.start();
    let wanted: BTreeSet<u64> = acked.iter().map(|(seq, _)| *seq).collect();
    eventually("every acknowledged reading", || {
        let rows = second.rows("reading");
        let found: BTreeSet<u64> = rows.iter().map(|row| row["fields"]["seq"].as_u64().unwrap()).collect();
        wanted.is_subset(&found).then_some(())
    });
    let newest = acked.iter().map(|(_, offset)| *offset).max().unwrap();
    let (_, offset) = post(&second, 1_000_000).expect("takes new readings");
    assert!(offset > newest, "{offset} after {newest}");
    second.stop();
    succeed(&second, &["journal", "verify"]);
}

#[test]
fn a_gateway_killed_under_load_goes_on_elsewhere() {
    let mut site = Site::run(METERS);
    let acked = under_load(&mut site, Site::kill9);
    succeed(&site, &["backup", "copy"]);
    goes_on("copy", &site, &acked);
    assert!(site.path("data/journal/ballast").exists() && !site.path("copy/journal/ballast").exists());
    let config = fs::read_to_string(site.path("copy/forebay.toml")).unwrap();
    assert!(config.contains("[pipeline.load]"), "{config}");
}

#[test]
fn a_backup_beside_a_loaded_gateway_has_what_was_acknowledged_before() {
    let mut site = Site::run(METERS);
    // Segments that are complete, to be linked.
    for seq in [2_000_000, 2_000_001] {
        post(&site, seq).unwrap();
        site.stop();
        site.start();
    }
    let before = Mutex::new(0);
    let acked = under_load(&mut site, |site| {
        *before.lock().unwrap() = post(site, 3_000_000).unwrap().1;
        succeed(site, &["backup", "copy"]);
        site.kill9();
    });
    let links = |name: &str| {
        fs::metadata(site.path(&format!("copy/journal/readings/{name:0>20}.seg"))).unwrap().nlink()
    };
    assert_eq!(links("0"), 2, "the oldest segment is complete");
    let before = *before.lock().unwrap();
    let acked: Vec<_> = acked.into_iter().filter(|(_, offset)| *offset <= before).collect();
    goes_on("copy", &site, &acked);
}

#[test]
fn what_is_damaged_or_in_the_way_is_refused() {
    let mut site = Site::run(METERS);
    post(&site, 1).unwrap();
    site.stop();
    succeed(&site, &["backup", "copy", "--data-dir", "data"]);
    let refused = |arguments: &[&str], code: i32, said: &str| {
        let done = forebay(&site, arguments);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {}", text(&done.stderr));
        assert!(text(&done.stderr).contains(said), "{arguments:?}: {}", text(&done.stderr));
    };
    refused(&["backup", "copy"], 64, "copy exists");
    refused(&["restore", "--from", "copy", "--data-dir", "data"], 64, "data is not empty");
    refused(&["restore", "--from", "data", "--data-dir", "new"], 1, "data is no backup");

    let manifest: Value = serde_json::from_slice(&fs::read(site.path("copy/backup.json")).unwrap()).unwrap();
    let file = manifest["files"].as_array().unwrap().iter().find(|file| file["bytes"].as_u64() > Some(100));
    let path = site.path("copy").join(file.unwrap()["path"].as_str().unwrap());
    let sound = fs::read(&path).unwrap();
    let mut flipped = sound.clone();
    flipped[50] ^= 1;
    // Not in place: the file may be linked.
    let replace = |bytes: &[u8]| {
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    };
    replace(&flipped);
    refused(&["restore", "--from", "copy", "--data-dir", "new"], 1, "has a wrong checksum");
    replace(&sound[1..]);
    refused(&["restore", "--from", "copy", "--data-dir", "new"], 1, "bytes, not");
    assert!(!site.path("new").exists());
    replace(&sound);
    succeed(&site, &["restore", "--from", "copy", "--data-dir", "new"]);
}
