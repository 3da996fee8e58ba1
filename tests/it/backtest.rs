//! `forebay backtest` as its users see it: rows, summary, exit codes. The windows' numbers are `oracle`'s matter.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use expect_test::{Expect, expect};
use flate2::Compression;
use flate2::write::GzEncoder;

const CONFIG: &str = r#"
[gateway]
id = "site-7"
[source.fleet]
topic = "fleet/{vehicle}/telemetry"
format = "json"
sensor = "{/vin}"
time = { at = "/ts" , unit = "ms" }
[source.fleet.fields]
speed = {}
[source.yard]
topic = "yard/{vehicle}"
format = "json"
sensor = "{vehicle}"
time = { at = "/ts" , unit = "ms" }
fields = { speed = {} }
[pipeline.slow]
from = ["fleet", "yard"]
lane = "reports"
window = { kind = "tumbling", size = "10s" }
watermark = { idle = "1m" }
select = { top = "max(speed)" }
[pipeline.mean]
from = ["fleet", "yard"]
window = { kind = "tumbling", size = "1s" }
watermark = { late = "keep", max_ahead = "10m" }
select = { mean = "avg(speed)", n = "count()" }
[alert.fast]
on = "mean"
when = "mean > 90"
repeat = "4h"
summary = "{sensor} at {mean:.0}"
[alert.silent]
on = "fleet"
absent = "5m"
"#;

const LINES: &str = r#"{"vin":"v1","ts":1000,"speed":80}
{"vin":"v1","ts":2000,"speed":100}

not json
{"vin":"v1","ts":900,"speed":1}
{"vin":"v1","speed":2}
{"vin":"v1","ts":3000,"speed":50}
"#;

struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        site.file("forebay.toml", CONFIG.as_bytes());
        site
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.current_dir(self.0.path()).args(arguments).env_remove("RUST_LOG");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs with `input` as stdin.
    fn pipe(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const BACKTEST: [&str; 5] = ["backtest", "--source", "fleet", "--input", "day.ndjson"];

#[test]
fn rows_and_dead_letters_go_to_the_output_and_a_summary_to_stderr() {
    let site = Site::new();
    site.file("day.ndjson", LINES.as_bytes());
    let run = site.run(&BACKTEST);
    assert_eq!(run.status.code(), Some(0));
    expect![[r#"
        {"type":"dead-letter","id":"209089a71fe016ff5b9db7c3cd154b33","source":"fleet","reason":"malformed","detail":"expected ident at column 2","topic":"","line":4,"payload":"bm90IGpzb24="}
        {"type":"dead-letter","id":"209089a91fe016ff5b9db7c3cd163d9a","source":"fleet","reason":"time","detail":"/ts: the time is missing, and a backtest has no arrival time to take instead","topic":"","line":6,"payload":"eyJ2aW4iOiJ2MSIsInNwZWVkIjoyfQ=="}
        {"type":"result","id":"32eb007d2f0584a1d4700038b4ae83cd","pipeline":"mean","key":"v1","start":1000,"end":2000,"revision":0,"tags":{},"values":{"mean":80,"n":1}}
        {"type":"late","pipeline":"mean","key":"v1","time":900,"values":{"speed":1}}
        {"type":"result","id":"ccb1af1d1def1e2265a176a3c25b62fd","pipeline":"mean","key":"v1","start":2000,"end":3000,"revision":0,"tags":{},"values":{"mean":100,"n":1}}
        {"type":"alert","id":"fc5f715c8247aca1a8f299673e71864a","alert":"fast","key":"v1","state":"firing","severity":"warning","time":3000,"summary":"v1 at 100","values":{"mean":100,"n":1},"episode":"c5227c1b8a6e5c7b0c41055986914db0","offsets":[1,1]}
        {"type":"result","id":"18bcddf4854ab1c003343c6ba016e363","pipeline":"slow","key":"v1","start":0,"end":10000,"revision":0,"tags":{},"values":{"top":100}}
        {"type":"result","id":"e738f8ea3baa9826cf0dca61773423dd","pipeline":"mean","key":"v1","start":3000,"end":4000,"revision":0,"tags":{},"values":{"mean":50,"n":1}}
        {"type":"alert","id":"052116377bc38dd99082a79b27b03c9a","alert":"fast","key":"v1","state":"resolved","severity":"warning","time":4000,"summary":"v1 at 50","values":{"mean":50,"n":1},"episode":"c5227c1b8a6e5c7b0c41055986914db0","offsets":[3,3]}
    "#]].assert_eq(&text(&run.stdout));
    // All but the speed of this machine.
    let said: String = text(&run.stderr)
        .lines()
        .filter(|line| !line.starts_with("seconds"))
        .map(|l| l.to_owned() + "\n")
        .collect();
    expect![[r#"
        lines     6
        readings  4
        refused   2 (malformed 1, time 1)
        late      1 (mean 1)
        results   4
        alerts    2
        without effect, for there is no clock: pipeline.slow.watermark.idle, pipeline.mean.watermark.max_ahead, alert.fast.repeat, alert.silent.absent
    "#]].assert_eq(&said);
}

#[test]
fn every_way_in_and_out_gives_the_same_bytes() {
    let site = Site::new();
    site.file("day.ndjson", LINES.as_bytes());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(LINES.as_bytes()).unwrap();
    site.file("day.ndjson.gz", &gzip.finish().unwrap());
    let plain = site.run(&BACKTEST).stdout;
    assert!(!plain.is_empty());
    assert_eq!(site.run(&["backtest", "-s", "fleet", "-i", "day.ndjson.gz"]).stdout, plain);
    assert_eq!(site.pipe(&["backtest", "-s", "fleet", "-i", "-"], LINES.as_bytes()).stdout, plain);
    let to_file = site.run(&["backtest", "-s", "fleet", "-i", "day.ndjson", "-o", "rows.ndjson"]);
    assert!(to_file.stdout.is_empty());
    assert_eq!(fs::read(site.0.path().join("rows.ndjson")).unwrap(), plain);
}

#[test]
fn the_topic_names_the_sensor() {
    let site = Site::new();
    let input = b"{\"ts\":1000,\"speed\":1}";
    let run = site.pipe(&["backtest", "-s", "yard", "-i", "-", "-t", "yard/v9"], input);
    assert!(text(&run.stdout).contains(r#""pipeline":"mean","key":"v9""#), "{}", text(&run.stdout));
    let run = site.pipe(&["backtest", "-s", "yard", "-i", "-", "-t", "street/v9"], input);
    assert!(text(&run.stdout).contains(r#""reason":"unmatched""#), "{}", text(&run.stdout));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let site = Site::new();
    let many = LINES.repeat(20_000);
    site.file("day.ndjson", many.as_bytes());
    let mut child = site.command(&BACKTEST).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let run = child.wait_with_output().unwrap();
    assert_eq!((run.status.code(), text(&run.stderr)), (Some(0), String::new()));
}

fn fails(arguments: &[&str], code: i32, said: Expect) {
    let site = Site::new();
    site.file("bad.toml", b"[pipeline]\nx = 1\n");
    let run = site.run(arguments);
    assert_eq!(run.status.code(), Some(code), "{arguments:?}: {}", text(&run.stderr));
    said.assert_eq(&text(&run.stderr));
    assert!(run.stdout.is_empty());
}

#[test]
fn what_is_wrong_decides_the_exit_code() {
    fails(
        &BACKTEST,
        1,
        expect![[r#"
        forebay: cannot read day.ndjson: No such file or directory (os error 2)
    "#]],
    );
    fails(
        &["backtest", "-s", "flet", "-i", "-"],
        64,
        expect![[r#"
        forebay: unknown source "flet" (known: fleet, yard)
    "#]],
    );
    fails(
        &["backtest", "-s", "fleet"],
        64,
        expect![[r#"
        error: the following required arguments were not provided:
          --input <FILE>

        Usage: forebay backtest --input <FILE> --source <NAME>

        For more information, try '--help'.
    "#]],
    );
    fails(
        &["backtest", "-s", "fleet", "-i", "-", "-c", "bad.toml"],
        78,
        expect![[r#"
        bad.toml:2:5: pipeline.x: expected struct Pipeline, got integer 1
        bad.toml:2:5: pipeline.x: missing key "from"
        bad.toml:2:5: pipeline.x: missing key "select"
        bad.toml:2:5: pipeline.x: missing key "window" (pipelines without one are not in this version)
    "#]],
    );
    fails(
        &["check", "--config", "missing.toml"],
        78,
        expect![[r#"
        missing.toml: cannot be read: No such file or directory (os error 2)
        1 problem
    "#]],
    );
}

#[test]
fn without_any_configuration_it_says_where_it_looked() {
    if Path::new("/etc/forebay/forebay.toml").exists() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let run =
        Command::new(env!("CARGO_BIN_EXE_forebay")).arg("check").current_dir(dir.path()).output().unwrap();
    assert_eq!(run.status.code(), Some(78));
    expect![[r#"
        forebay: no configuration: there is neither /etc/forebay/forebay.toml nor ./forebay.toml, give --config FILE
    "#]].assert_eq(&text(&run.stderr));
}

#[test]
fn help_and_version_go_to_stdout() {
    let site = Site::new();
    for (arguments, word) in
        [(["--help", "--json"], "Exit codes"), (["backtest", "--help"], "There is no clock")]
    {
        let run = site.run(&arguments);
        assert_eq!(run.status.code(), Some(0));
        assert!(text(&run.stdout).contains(word), "{}", text(&run.stdout));
    }
    assert_eq!(text(&site.run(&["--version"]).stdout), format!("forebay {}\n", env!("CARGO_PKG_VERSION")));
}
