//! `forebay reload` and SIGHUP on the real daemon, while devices go on sending.

mod border;
mod load;

use std::net::TcpStream;
use std::process::{Command, Output};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::http;
use crate::harness::mqtt::{Answer, Device, Version};
use crate::harness::{BASE, Site, eventually, eventually_or};

/// The start of a window.
const START_MS: usize = 1_767_225_600_000;
const WINDOW_MS: usize = 10_000;
/// Messages of a sensor in one window.
const PER_WINDOW: usize = 100;

/// A source, a pipeline that counts, an alert that never fires.
const LOAD: &str = r#"
[source.load]
topic = "load/{sensor}"
format = "json"
time = { at = "/ts", unit = "ms" }
[source.load.fields]
seq = {}
[pipeline.counts]
from = ["load"]
window = { kind = "tumbling", size = "10s" }
watermark = { idle = "1h" }
select = { n = "count()" }
[alert.full]
on = "counts"
when = "n > 1000"
"#;

/// Another pipeline, and a sink that gets its rows only.
const EXTRA: &str = r#"
[pipeline.extra]
from = ["load"]
window = { kind = "tumbling", size = "1s" }
watermark = { idle = "1h" }
select = { last = "max(seq)" }
lane = "side"
[alert.extra]
on = "extra"
when = "last >= 0"
[[route]]
of = "result"
from = ["extra"]
to = ["more"]
[sink.more]
kind = "file"
path = "more.ndjson"
"#;

impl Site {
    /// Replaces what follows [`BASE`] in the configuration.
    pub fn edit(&self, more: &str) {
        self.write("forebay.toml", format!("{BASE}{more}"));
    }

    /// Runs a command in the folder.
    pub fn forebay(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.args(arguments).current_dir(self.path("")).output().unwrap()
    }

    /// Edits, reloads, and yields the lines that say what is not kept.
    fn reload(&self, more: &str) -> Vec<String> {
        self.edit(more);
        let output = self.forebay(&["reload"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        let (first, changes) = said.split_once('\n').unwrap();
        assert!(first.starts_with("reloaded: "), "{first}");
        changes.lines().filter(|line| !line.starts_with("kept ")).map(str::to_owned).collect()
    }

    fn status(&self) -> Value {
        let output = self.forebay(&["status", "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn hash(&self) -> String {
        self.status()["config_hash"].as_str().unwrap().to_owned()
    }

    fn metrics(&self) -> String {
        http::get(self.addr("http"), "/metrics").text()
    }

    /// A metric without labels.
    fn metric(&self, name: &str) -> f64 {
        let page = self.metrics();
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
    }

    /// Where a listener is now: it may have come by a reload.
    fn address(&self, listener: &str) -> Option<String> {
        let status = self.status();
        let listeners = status["listeners"].as_array().unwrap();
        let found = listeners.iter().find(|entry| entry["name"] == listener)?;
        Some(found["address"].as_str().unwrap().to_owned())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn payload(seq: usize) -> String {
    format!("{{\"seq\":{seq},\"ts\":{}}}", START_MS + seq * WINDOW_MS / PER_WINDOW)
}

/// Publishes one message and sees it acknowledged.
fn publish(device: &mut Device, sensor: usize, seq: usize) {
    let answer = device.publish(format!("load/s{sensor}").as_bytes(), payload(seq).as_bytes());
    assert_eq!(answer, Answer::Ack { code: 0, text: String::new() }, "s{sensor} {seq}");
}

#[test]
fn an_invalid_file_changes_nothing_and_says_why() {
    let site = Site::run(LOAD);
    let before = site.status();
    site.edit(&LOAD.replace("n > 1000", "m > 1000"));
    let dry = site.forebay(&["reload", "--dry-run"]);
    assert_eq!((dry.status.code(), site.metric("forebay_config_last_reload_success")), (Some(78), 1.0));
    let output = site.forebay(&["reload"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(78), String::new()));
    let said = text(&output.stderr);
    let check = site.forebay(&["check"]);
    let problem = text(&check.stderr).lines().next().unwrap().to_owned();
    assert!(said.starts_with(&problem) && problem.contains("alert.full.when"), "{said}\n{problem}");
    let hash = before["config_hash"].as_str().unwrap();
    assert!(said.ends_with(&format!("nothing is changed: configuration {hash} stays in force\n")), "{said}");
    assert_eq!(site.metric("forebay_config_last_reload_success"), 0.0);
    assert_eq!(site.status()["alerts"], before["alerts"]);
    let since = site.metric("forebay_config_last_reload_success_timestamp_seconds");
    site.reload(&LOAD.replace("n > 1000", "n > 999"));
    assert_eq!(site.metric("forebay_config_last_reload_success"), 1.0);
    assert!(site.metric("forebay_config_last_reload_success_timestamp_seconds") > since);
    assert!(site.metrics().contains(&format!("forebay_config_info{{hash=\"{}\"}} 1", site.hash())));
    site.edit("[gateway");
    assert_eq!(site.forebay(&["reload"]).status.code(), Some(78));
}

#[test]
fn what_cannot_change_needs_a_restart() {
    let site = Site::run(LOAD);
    let hash = site.hash();
    site.write("forebay.toml", format!("{BASE}{LOAD}").replace("id = \"it\"", "id = \"other\""));
    for arguments in [&["reload", "--dry-run"][..], &["reload"]] {
        let output = site.forebay(arguments);
        let said = format!(
            "forebay.toml: gateway.id: needs a restart\nnothing is changed: configuration {hash} stays in force\n"
        );
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), said));
    }
    assert_eq!(site.hash(), hash);
}

#[test]
fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let site = Site::run(LOAD);
    let before = (site.hash(), site.metrics().contains("extra"));
    site.edit(&format!("{}{EXTRA}", LOAD.replace("10s", "20s")));
    let output = site.forebay(&["reload", "--dry-run", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "dry_run");
    let fate = |part: &str, name: &str| {
        let changes = report["changes"].as_array().unwrap();
        changes.iter().find(|change| change["part"] == part && change["name"] == name).unwrap()["fate"]
            .clone()
    };
    assert_eq!(fate("pipeline", "counts"), "rebuilt");
    assert_eq!(fate("pipeline", "extra"), "new");
    assert_eq!(fate("sink", "more"), "new");
    assert_eq!(fate("sink", "rows"), "kept");
    assert_eq!(fate("listener", "mqtt"), "kept");
    assert_eq!((site.hash(), site.metrics().contains("extra")), before);
    assert!(!site.path("more.ndjson").exists());
}

#[test]
fn sighup_reloads_and_logs() {
    let site = Site::run(LOAD);
    let before = site.hash();
    site.edit(&LOAD.replace("n > 1000", "n > 999"));
    site.signal(Signal::HUP);
    let after = eventually("the new hash", || Some(site.hash()).filter(|hash| *hash != before));
    assert!(site.log().contains("reload: changed alert full (when)"), "{}", site.log());
    site.edit("[pipeline.p]\n");
    site.signal(Signal::HUP);
    eventually("the refusal", || site.log().contains("configuration refused").then_some(()));
    assert_eq!(site.hash(), after);
    assert!(site.log().contains("pipeline.p"), "the log says what is wrong");
}

#[test]
fn two_reloads_at_once_are_done_one_after_the_other() {
    let site = Site::run(LOAD);
    site.edit(&format!("{LOAD}{EXTRA}"));
    let outcomes = thread::scope(|scope| {
        let reload = || {
            let output = site.forebay(&["reload", "--json"]);
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            (report["outcome"].as_str().unwrap().to_owned(), output.status.code())
        };
        let both = [scope.spawn(reload), scope.spawn(reload)];
        let mut outcomes = both.map(|reload| reload.join().unwrap());
        outcomes.sort();
        outcomes
    });
    assert_eq!(outcomes, [("applied".into(), Some(0)), ("unchanged".into(), Some(0))]);
}

#[test]
fn listeners_come_change_and_go_and_others_are_not_disturbed() {
    let site = Site::run(LOAD);
    let mut steady = Device::connect(site.addr("mqtt"), Version::V5, "steady");
    publish(&mut steady, 0, 0);
    let more = "[listen.more]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\n[listen.too]\nkind = \"coap\"\nbind = \"127.0.0.1:0\"\n";
    assert_eq!(site.reload(&format!("{LOAD}{more}")), ["new      listener more", "new      listener too"]);
    let addr = site.address("more").unwrap();
    let mut added = Device::connect(addr.parse().unwrap(), Version::V311, "added");
    publish(&mut added, 1, 0);
    let fewer = more.replace("\"mqtt\"", "\"mqtt\"\nmax_connections = 5");
    assert_eq!(site.reload(&format!("{LOAD}{fewer}")), ["changed  listener more (max_connections)"]);
    assert_eq!(site.address("more").as_ref(), Some(&addr), "it keeps its socket");
    let closed = added.publish(b"load/s1", payload(1).as_bytes());
    assert!(matches!(closed, Answer::Closed { .. }), "the old one was drained: {closed:?}");
    let mut again = Device::connect(addr.parse().unwrap(), Version::V311, "again");
    publish(&mut again, 1, 1);
    assert_eq!(site.reload(LOAD), ["removed  listener more", "removed  listener too"]);
    assert_eq!(site.address("more"), None);
    eventually_or(|| TcpStream::connect(&addr).err(), || format!("{addr} is closed"));
    publish(&mut steady, 0, 1);
}

#[test]
fn an_address_in_use_changes_nothing() {
    let site = Site::run(LOAD);
    let hash = site.hash();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    site.edit(&format!("{LOAD}{EXTRA}[listen.more]\nkind = \"http\"\nbind = \"{addr}\"\n"));
    let output = site.forebay(&["reload"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with(&format!("reload: nothing is changed: listen.more.bind: cannot bind {addr}")),
        "{said}"
    );
    assert_eq!(site.hash(), hash);
    assert_eq!(site.metric("forebay_config_last_reload_success"), 0.0);
    drop(taken);
    assert!(site.forebay(&["reload"]).status.success());
}

#[test]
fn sources_change_between_two_messages_of_one_connection() {
    let site = Site::run(LOAD);
    let mut device = Device::connect(site.addr("mqtt"), Version::V5, "device");
    publish(&mut device, 0, 0);
    site.reload(&LOAD.replace("load/{sensor}", "cargo/{sensor}"));
    let answer = device.publish(b"load/s0", payload(1).as_bytes());
    assert!(matches!(&answer, Answer::Ack { code: 0x90, .. }), "{answer:?}");
    assert_eq!(
        device.publish(b"cargo/s0", payload(1).as_bytes()),
        Answer::Ack { code: 0, text: String::new() }
    );
    site.wait_for(2, "reading", |row| row["sensor"] == "s0");
}

#[test]
fn http_listeners_do_not_reload() {
    let site = Site::run(LOAD);
    site.edit(&format!("{LOAD}{EXTRA}"));
    let head = "POST /api/v1/reload HTTP/1.1\r\nhost: it\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let answer = http::try_exchange(site.addr("http"), head.as_bytes(), &[]).unwrap();
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(!site.metrics().contains("extra"));
}

#[test]
fn many_reloads_leave_nothing_behind() {
    let mut site = Site::run(LOAD);
    let threads = |site: &Site| site.process("Threads:");
    let descriptors = |site: &Site| site.descriptors();
    let more = "[listen.more]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\n";
    let with_all = format!("{LOAD}{EXTRA}{more}");
    site.reload(&with_all);
    site.reload(LOAD);
    let before = (threads(&site), descriptors(&site));
    for _ in 0..5 {
        site.reload(&with_all);
        site.reload(LOAD);
    }
    // Blocking threads of the runtime come and go; a thread or descriptor a reload would be ten.
    let after = || {
        Some((threads(&site), descriptors(&site))).filter(|now| now.0 < before.0 + 8 && now.1 < before.1 + 4)
    };
    eventually_or(after, || format!("{before:?} became {:?}", (threads(&site), descriptors(&site))));
    site.stop();
}
