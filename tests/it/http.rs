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
