//! HTTP with curl: what is accepted is in the file sink, and its windows come out.

use serde_json::json;

use crate::harness::Site;
use crate::harness::tool::{succeed, tool};

/// A source and a pipeline that fires as soon as event time has passed a window.
const METERS: &str = r#"
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
