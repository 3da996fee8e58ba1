//! `forebay replay` over the journal of a live gateway: the same rows, a part of them, other ones, elsewhere.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::receiver::Receiver;
use crate::harness::{Site, eventually, http};

/// Windows of every kind of watermark, in two lanes, and alerts on rows, on readings and on silence.
const PLANT: &str = r#"
[source.plant]
topic = "plant/{machine}"
format = "json"
sensor = "{machine}"
time = { at = "/ts", unit = "ms" }
fields = { v = {}, zone = {} }
[pipeline.own]
from = ["plant"]
window = { kind = "tumbling", size = "10s" }
watermark = { delay = "1s", lateness = "5s", idle = "1s", late = "keep" }
select = { mean = "avg(v)", n = "count()" }
having = "n > 1"
[pipeline.shared]
from = ["plant"]
window = { kind = "tumbling", size = "15s" }
watermark = { scope = "source", delay = "2s", late = "keep" }
select = { top = "max(v)" }
[alert.hot]
on = "own"
when = "mean > 60"
clear = "mean < 40"
severity = "mean > 80 ? 'critical' : 'warning'"
[alert.dead]
on = "plant"
when = "v < 1"
"#;

const MACHINES: u64 = 5;
const SECONDS: u64 = 120;
const START_MS: u64 = 1_767_225_600_000;

/// Values that depend on machine and second only; now and then a reading comes too early or far too late.
fn payload(machine: u64, second: u64) -> String {
    let hash = (machine * 7919 + second * 104_729) % 997;
    let shift = if hash.is_multiple_of(41) { -40_000 } else { -((hash % 4) as i64 * 1000) };
    let ts = (START_MS + second * 1000) as i64 + shift;
    json!({"ts": ts, "v": (second / 10 * 37 + machine * 13 + hash % 10) % 100, "zone": machine % 2})
        .to_string()
}

/// Sends the seconds of a range, a body for every machine and four seconds.
fn send(site: &Site, seconds: std::ops::Range<u64>) {
    for from in seconds.clone().step_by(4) {
        for machine in 0..MACHINES {
            let until = (from + 4).min(seconds.end);
            let readings: Vec<String> = (from..until).map(|second| payload(machine, second)).collect();
            let body = format!("[{}]", readings.join(","));
            let answer = http::post(site.addr("http"), &format!("plant/m{machine}"), "", body.as_bytes());
            assert_eq!(answer.status, 202, "{answer:?}");
        }
    }
}

/// Outputs of the gateway so far, in the order they were delivered in.
fn live(site: &Site) -> Vec<Value> {
    let mut rows = site.rows_in("rows.ndjson");
    rows.retain(|row| ["result", "alert", "late"].contains(&row["type"].as_str().unwrap()));
    rows
}

/// A gateway that has put out rows of all kinds, after the clock closed the last window of every machine.
fn site() -> Site {
    let site = Site::run(PLANT);
    send(&site, 0..SECONDS);
    let last = START_MS + SECONDS / 10 * 10_000;
    let is_last = |row: &Value| row["pipeline"] == "own" && row["end"] == last;
    site.wait_for(MACHINES as usize, "result", is_last);
    for kind in ["result", "alert", "late"] {
        assert!(!site.rows(kind).is_empty(), "no row of type {kind}");
    }
    site
}

fn run(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.current_dir(site.path("")).arg("replay").args(arguments).env_remove("RUST_LOG");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The rows of a replay that must go well.
fn rows(site: &Site, arguments: &[&str]) -> Vec<Value> {
    let done = run(site, arguments);
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", text(&done.stderr));
    text(&done.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The summary of a replay, as JSON.
fn summary(site: &Site, arguments: &[&str]) -> Value {
    let done = run(site, &[arguments, &["--json", "--output", "rows.out"]].concat());
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", text(&done.stderr));
    serde_json::from_slice(&done.stderr).unwrap()
}

#[test]
fn gives_the_rows_of_the_live_run_with_their_ids() {
    let mut site = site();
    // Beside the daemon the record before the newest tick is the last that is known to be on disk.
    let catch_up = || {
        let (found, live) = (rows(&site, &["--from", "0"]), live(&site));
        assert_eq!(found, live[..found.len()], "beside the running gateway");
        (found.len() == live.len()).then_some(())
    };
    eventually("a replay beside the gateway has all rows", catch_up);
    site.kill9();
    assert_eq!(rows(&site, &["--from", "0"]), live(&site), "after a kill");
    site.start();
    // From here on the windows are those of a second run, with the states of the first.
    send(&site, SECONDS + 10..SECONDS + 60);
    let last = START_MS + (SECONDS + 60) / 10 * 10_000;
    let is_last = |row: &Value| row["pipeline"] == "own" && row["end"] == last;
    site.wait_for(MACHINES as usize, "result", is_last);
    site.stop();
    assert_eq!(rows(&site, &["--from", "0"]), live(&site), "over a restart");

    let summary = summary(&site, &["--from", "0"]);
    assert_eq!(summary["readings"], MACHINES * (SECONDS + 50), "{summary}");
    assert_eq!(summary["records_missing"], 0, "{summary}");
}

#[test]
fn a_part_of_the_past_gives_a_part_of_the_rows() {
    let mut site = site();
    site.stop();
    let all = rows(&site, &["--from", "0"]);
    // What stands at an offset does not depend on what is sent before it: windows are warmed up.
    let middle = summary(&site, &["--from", "0"])["to"].as_u64().unwrap() / 2;
    let (before, behind) = (format!("offset:{middle}"), middle.to_string());
    let first = rows(&site, &["--from", "0", "--to", &before]);
    let second = rows(&site, &["--from", &behind]);
    assert!(!first.is_empty() && !second.is_empty());
    assert_eq!([first, second].concat(), all);
    assert_eq!(rows(&site, &["--from", "-1h", "--to", "2126-01-01T00:00:00Z"]), all);
    assert_eq!(rows(&site, &["--from", "2126-01-01T00:00:00Z"]), [] as [Value; 0]);

    let own = rows(&site, &["--from", "0", "--pipeline", "own"]);
    let is_own = |row: &&Value| row["pipeline"] == "own" || row["alert"] == "hot";
    assert_eq!(own, all.iter().filter(is_own).cloned().collect::<Vec<_>>());

    let ended = rows(&site, &["--from", "0", "--end", "-p", "shared"]);
    let open = rows(&site, &["--from", "0", "-p", "shared"]);
    assert_eq!(ended[..open.len()], open);
    assert!(ended.len() > open.len(), "nothing was open at the end");
}

#[test]
fn a_trimmed_journal_says_which_rows_are_partial() {
    let mut site = Site::run(PLANT);
    send(&site, 0..40);
    site.stop();
    // The next start begins a new segment; the first one is then taken away, as retention would.
    let segments = || -> Vec<PathBuf> {
        let dir = site.path("data/journal/readings");
        let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let first = segments();
    site.start();
    send(&site, 40..SECONDS);
    site.stop();
    for path in first {
        std::fs::remove_file(path).unwrap();
    }
    let found = rows(&site, &["--from", "0", "-p", "own"]);
    let partial = found.iter().filter(|row| row["partial"] == true).count();
    assert!(partial > 0 && partial < found.len(), "{partial} of {}", found.len());
    let done = run(&site, &["--from", "0", "--output", "rows.out"]);
    assert!(text(&done.stderr).contains("begins too late"), "{}", text(&done.stderr));
}

#[test]
fn a_changed_configuration_is_compared_with_the_one_that_ran() {
    let mut site = site();
    site.stop();
    let config = std::fs::read_to_string(site.path("forebay.toml")).unwrap();
    let diff = |more: &[&str]| run(&site, &[&["--from", "0", "--diff"], more].concat());

    let same = diff(&[]);
    assert_eq!((same.status.code(), text(&same.stdout)), (Some(0), String::new()));
    assert!(text(&same.stderr).contains("0 appear, 0 vanish, 0 change"), "{}", text(&same.stderr));

    site.write("new.toml", config.replace("mean > 60", "mean > 70").replace("max(v)", "max(v) + 0 * min(v)"));
    let bad = diff(&["--config", "new.toml"]);
    assert_eq!(bad.status.code(), Some(78), "{}", text(&bad.stderr));

    site.write("new.toml", config.replace("when = \"mean > 60\"", "when = \"mean > 90\""));
    let calmer = diff(&["--config", "new.toml"]);
    assert_eq!(calmer.status.code(), Some(1));
    let lines = text(&calmer.stdout);
    let firing = |rows: &[Value]| rows.iter().filter(|row| row["alert"] == "hot").count();
    let gone = firing(&live(&site)) - firing(&rows(&site, &["--from", "0", "--config", "new.toml"]));
    assert!(gone > 0 && lines.lines().filter(|line| line.starts_with("- ")).count() >= gone, "{lines}");
    assert!(lines.lines().all(|line| line.contains(" hot m")), "{lines}");

    site.write("new.toml", config.replace("avg(v)", "max(v)"));
    let other = diff(&["--config", "new.toml", "--json", "--pipeline", "own"]);
    let lines: Vec<Value> =
        text(&other.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let changed = lines.iter().find(|line| line["change"] == "~").expect("a result that says something else");
    assert!(changed["after"]["values"]["mean"].as_f64() > changed["before"]["values"]["mean"].as_f64());
    assert_eq!(changed["after"].get("id"), None);
}

#[test]
fn results_go_to_a_sink_and_alerts_only_when_asked() {
    let mut site = site();
    site.stop();
    let all = live(&site);
    let count = |kind: &str| all.iter().filter(|row| row["type"] == kind).count();
    let sent = |more: &[&str], status: fn(usize) -> u16| {
        let receiver = Receiver::start(status);
        let config = std::fs::read_to_string(site.path("forebay.toml")).unwrap();
        let hook = format!(
            "[[route]]\nto = [\"hook\"]\n[sink.hook]\nkind = \"webhook\"\nurl = \"{}\"\n",
            receiver.url()
        );
        site.write("hook.toml", format!("{config}{hook}"));
        let arguments = ["--from", "0", "--config", "hook.toml", "--to-sink", "hook"];
        let done = run(&site, &[&arguments, more].concat());
        let seen = receiver.seen();
        (done, seen)
    };
    let bodies = |posts: &[crate::harness::receiver::Post]| -> Vec<Value> {
        posts.iter().map(|post| serde_json::from_slice(&post.body).unwrap()).collect()
    };

    // The first attempt fails: it is made again.
    let (done, posts) = sent(&[], |number| if number == 0 { 503 } else { 204 });
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let mut rows = bodies(&posts[1..]);
    rows.dedup();
    assert_eq!(rows.len(), count("result"));
    assert!(rows.iter().all(|row| row["type"] == "result"));

    let (_, posts) = sent(&["--alerts"], |_| 204);
    let rows = bodies(&posts);
    assert_eq!(rows.iter().filter(|row| row["type"] == "alert").count(), count("alert"));

    // What is refused for good is shown, not lost.
    let (done, _) = sent(&["--pipeline", "shared"], |number| if number == 1 { 422 } else { 204 });
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
    let letter: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&letter["type"], &letter["source"]), (&json!("dead-letter"), &json!("sink/hook")));
}

#[test]
fn what_is_unsafe_or_unknown_is_refused() {
    let mut site = site();
    site.stop();
    for (arguments, code, said) in [
        (&["--to-sink", "rows"] as &[&str], 64, "the gateway cuts"),
        (&["--to-sink", "tsdb"], 64, "unknown sink \"tsdb\" (known: rows)"),
        (&["--output", "rows.ndjson"], 64, "belongs to sink rows"),
        (&["--pipeline", "none"], 64, "unknown pipeline \"none\" (known: own, shared)"),
        (&["--pipeline", "none", "--diff"], 64, "neither configuration has a pipeline \"none\""),
        (&["--to", "yesterday"], 64, "is no offset"),
        (&["--alerts"], 64, "--to-sink"),
        (&["--data-dir", "nowhere"], 1, "holds no journal"),
    ] {
        let before = std::fs::read(site.path("rows.ndjson")).unwrap();
        let done = run(&site, &[&["--from", "5"], arguments].concat());
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {}", text(&done.stderr));
        assert!(text(&done.stderr).contains(said), "{arguments:?}: {}", text(&done.stderr));
        assert_eq!(std::fs::read(site.path("rows.ndjson")).unwrap(), before);
    }
    let done = run(&site, &["--from", "9", "--to", "3"]);
    assert_eq!(done.status.code(), Some(64));
}
