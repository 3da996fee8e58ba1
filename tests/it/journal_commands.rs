//! `forebay journal verify|info|gaps` beside a running gateway, after its end, and over damage.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{Site, eventually, http};

const METERS: &str = r#"
[source.meters]
topic = "meters/{meter}"
format = "json"
sensor = "{meter}"
time = { at = "/ts", unit = "ms" }
fields = { watts = {} }
[pipeline.load]
from = ["meters"]
window = { kind = "tumbling", size = "1s" }
select = { n = "count()" }
"#;

const READINGS: u64 = 50;

fn send(site: &Site, count: u64) {
    for number in 0..count {
        let body = json!({"ts": 1_767_225_600_000 + number * 1000, "watts": number}).to_string();
        assert_eq!(http::post(site.addr("http"), "meters/m1", "", body.as_bytes()).status, 202);
    }
}

fn journal(site: &Site, command: &str, more: &[&str]) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_forebay"));
    process.current_dir(site.path("")).args(["journal", command]).args(more).env_remove("RUST_LOG");
    process.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The first segment of the readings.
fn segment(site: &Site) -> PathBuf {
    let dir = site.path("data/journal/readings");
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.remove(0)
}

#[test]
fn a_sound_journal_is_sound_while_it_is_written_and_afterwards() {
    let mut site = Site::run(METERS);
    send(&site, READINGS);
    let info = eventually("the readings are known to be durable", || {
        let info = json_of(&journal(&site, "info", &["--json"]));
        (info["streams"][0]["records"]["reading"] == READINGS).then_some(info)
    });
    assert_eq!(info["gateway"], "running");
    let readings = &info["streams"][0];
    assert_eq!((&readings["segments"], &readings["records"]["start"]), (&json!(1), &json!(1)), "{info}");
    assert!(readings["bytes_per_reading"].as_f64() > Some(10.0), "{info}");
    let hash = &readings["last_config"];
    assert!(site.log().contains(hash.as_str().unwrap()), "{hash}");

    let verified = journal(&site, "verify", &["--json"]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
    for end in [Site::kill9, Site::stop] {
        end(&mut site);
        let verified = journal(&site, "verify", &[]);
        assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
        assert!(text(&verified.stdout).starts_with("readings: "), "{}", text(&verified.stdout));
        assert!(!text(&verified.stdout).contains("being written"));
        assert_eq!(text(&journal(&site, "gaps", &[]).stdout), "");
        site.start();
    }
}

#[test]
fn a_flipped_bit_is_named_with_its_place() {
    let mut site = Site::run(METERS);
    send(&site, READINGS);
    site.stop();
    let path = segment(&site);
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 4;
    fs::write(&path, &bytes).unwrap();

    let verified = journal(&site, "verify", &["--json"]);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified.stdout));
    let found = json_of(&verified);
    let problem = &found["problems"][0];
    assert_eq!(found["problems"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!((&problem["stream"], &problem["why"]), (&json!("readings"), &json!("damaged")));
    assert_eq!(problem["file"], path.file_name().unwrap().to_str().unwrap());
    let (at, length) = (problem["at_bytes"].as_u64().unwrap(), problem["bytes"].as_u64().unwrap());
    assert!((at..at + length).contains(&(place as u64)), "{problem}");
    let shown = text(&journal(&site, "verify", &[]).stdout);
    assert!(shown.contains("1 PROBLEMS") && shown.contains(", byte "), "{shown}");

    let gaps = text(&journal(&site, "gaps", &["--json"]).stdout);
    let gap: Value = serde_json::from_str(gaps.trim_end()).unwrap();
    assert_eq!((&gap["from"], &gap["to"]), (&problem["from"], &problem["to"]));
}

#[test]
fn a_segment_that_is_gone_is_a_hole() {
    let mut site = Site::run(METERS);
    for _ in 0..2 {
        send(&site, READINGS);
        site.stop();
        site.start();
    }
    site.stop();
    let dir = site.path("data/journal/readings");
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 3, "every start begins a segment: {paths:?}");
    fs::remove_file(&paths[1]).unwrap();
    let verified = journal(&site, "verify", &[]);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified.stdout));
    assert!(text(&verified.stdout).contains("missing, offsets"), "{}", text(&verified.stdout));
    assert!(text(&journal(&site, "gaps", &[]).stdout).contains("found: missing in"));
}

#[test]
fn a_newer_format_and_a_missing_journal_have_codes_of_their_own() {
    let mut site = Site::run(METERS);
    site.stop();
    let path = segment(&site);
    let mut bytes = fs::read(&path).unwrap();
    bytes[12] = 200;
    // The checksum stands at 8 and covers everything from 12 on, to the end of the payload.
    let end = 64 + u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let crc = crc32c::crc32c(&bytes[12..end]).to_le_bytes();
    bytes[8..12].copy_from_slice(&crc);
    fs::write(&path, &bytes).unwrap();
    let verified = journal(&site, "verify", &[]);
    assert_eq!(verified.status.code(), Some(78), "{}", text(&verified.stderr));
    assert!(text(&verified.stderr).contains("frame format 200"), "{}", text(&verified.stderr));
    let nowhere = journal(&site, "info", &["--data-dir", "nowhere"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("nowhere holds no journal"), "{}", text(&nowhere.stderr));
}
