//! HTTP with curl: what is accepted is in the file sink, and its windows come out.

use serde_json::json;

use crate::harness::Site;
use crate::harness::http::post;
use crate::harness::tool::{succeed, tool};

/// A source and a pipeline that fires as soon as event time has passed a window.
pub const METERS: &str = r#"
[source.meters]
topic = "meters/{meter}"
format = "json"
sensor = "{meter}"
time = { at = "/ts", unit = "ms" }
fields = { watts = {} }
[pipeline.load]
from = ["meters"]
window = { kind = "tumbling", size = "10s" }
select = { mean = "avg(watts)", n = "count()" }
"#;

#[test]
fn curl_posts_a_reading_and_windows_come_out() {
    let site = Site::run(METERS);
    let url = format!("http://{}/ingest/meters/m1", site.addr("http"));
    for (time, watts) in [(1_000, 10), (2_000, 30), (10_000, 5)] {
        let Some(mut curl) = tool("curl") else { return };
        let body = json!({"ts": time, "watts": watts}).to_string();
        curl.args(["--silent", "--show-error", "--fail-with-body", "--write-out", " %{http_code}"]);
        let said = succeed(curl.args(["--data", &body, &url]));
        assert!(said.starts_with(r#"{"accepted":1,"offset":"#) && said.ends_with(" 202"), "{said}");
    }
    let readings = site.wait_for(3, "reading", |_| true);
    assert_eq!(readings[1]["fields"], json!({"watts": 30}));
    let results = site.wait_for(1, "result", |_| true);
    assert_eq!(results[0]["values"], json!({"mean": 20, "n": 2}));
}

/// A new pipeline starts "now": that is before the first acknowledgement, whatever becomes of the daemon.
#[test]
fn the_very_first_reading_is_in_its_window() {
    for _ in 0..5 {
        let mut site = Site::run(METERS);
        let post = |site: &Site, time: u64| {
            let body = json!({"ts": time, "watts": 1}).to_string();
            assert_eq!(post(site.addr("http"), "meters/m1", "", body.as_bytes()).status, 202);
        };
        post(&site, 1_000);
        site.kill9();
        site.start();
        post(&site, 2_000);
        post(&site, 10_000);
        assert_eq!(site.wait_for(1, "result", |_| true)[0]["values"]["n"], 2);
    }
}

/// A gateway in front of us that sends everything twice, and a device that numbers its records.
const DEDUP: &str = r#"
[source.bridge]
topic = "bridge/{meter}"
format = "json"
sensor = "{meter}"
time = { at = "/ts", unit = "ms" }
dedup = { by = "content" }
[source.numbered]
topic = "numbered/{meter}"
format = "json"
sensor = "{meter}"
dedup = { by = ["/boot", "/seq"], within = "1h" }
"#;

#[test]
fn readings_that_were_sent_twice_are_left_out_where_the_source_says_so() {
    let mut site = Site::run(DEDUP);
    let post = |site: &Site, topic: &str, body: serde_json::Value| {
        let answer = post(site.addr("http"), topic, "", body.to_string().as_bytes());
        assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
    };
    let reading = |ts: u64, watts: u64| json!({"ts": ts, "watts": watts});
    for round in 0..2 {
        post(&site, "bridge/a", reading(1, 5));
        post(&site, "bridge/a", json!([reading(1, 5), reading(2, 5), reading(1, 6)]));
        post(&site, "bridge/b", reading(1, 5));
        for seq in [1, 2, 1] {
            post(&site, "numbered/a", json!({"boot": "x", "seq": seq, "watts": round}));
        }
        site.kill9();
        site.start();
    }
    let readings = site.wait_for(6, "reading", |_| true);
    let shown: Vec<_> =
        readings.iter().map(|row| format!("{} {} {}", row["source"], row["sensor"], row["fields"])).collect();
    assert_eq!(readings.len(), 6, "{shown:#?}");
    post(&site, "bridge/a", reading(3, 5));
    assert_eq!(site.wait_for(7, "reading", |_| true).len(), 7, "and nothing else has come meanwhile");
}
