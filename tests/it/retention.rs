//! What the journal keeps, and for whom: limits by bytes, age and free room, through the real daemon.
//!
//! Whatever the limits say, what the newest verified dump needs stays: dumps are made at the first start, every five
//! minutes and at the end, so these tests start the daemon anew where a segment is to go. Segments have 64 MiB, so
//! messages are large and do not compress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::faults::noise;
use crate::harness::receiver::Receiver;
use crate::harness::{Site, eventually, http};

/// A small journal that keeps two segments, a lane whose results go to a file, and two sinks for the readings.
fn config(lake_url: &str, bill: &str) -> String {
    format!(
        r#"
[gateway]
id = "it"
data_dir = "data"
[journal]
max_bytes = "128MiB"
min_free = "1MiB"
[listen.http]
bind = "127.0.0.1:0"
[source.big]
topic = "big/{{sensor}}"
format = "json"
time = {{ at = "/ts", unit = "ms" }}
priority = "alarm"
[pipeline.each]
from = ["big"]
window = {{ kind = "tumbling", size = "1s" }}
select = {{ n = "count()" }}
to = ["rows"]
[[route]]
of = "reading"
to = ["lake", "bill"]
[sink.rows]
kind = "file"
path = "rows.ndjson"
[sink.lake]
kind = "webhook"
url = "{lake_url}"
start = "earliest"
max_lag = "16MiB"
[sink.bill]
kind = "webhook"
url = "http://127.0.0.1:1/"
start = "earliest"
{bill}
"#
    )
}

/// Two segments and some more.
const MESSAGES: usize = 600;
const MESSAGE_BYTES: usize = 240_000;
/// What must not happen has had the time to.
const LOOKS: Duration = Duration::from_millis(2_500);

/// Sends a large message, which ends the window of the one before.
fn send(site: &Site, number: usize) {
    let time = 1_767_225_600_000 + number * 1_000;
    let body = format!(r#"{{"ts":{time},{}}}"#, noise(number as u64, MESSAGE_BYTES));
    let answer = http::post(site.addr("http"), "big/noise", "", body.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// The value of a series, 0 where it is not there.
fn metric(site: &Site, series: &str) -> u64 {
    let page = http::get(site.addr("http"), "/metrics").text();
    let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

fn left_behind(site: &Site, by: &str) -> u64 {
    metric(site, &format!("forebay_journal_left_behind_records_total{{by=\"{by}\"}}"))
}

fn removed(site: &Site, why: &str) -> u64 {
    metric(site, &format!("forebay_journal_removed_segments_total{{stream=\"readings\",why=\"{why}\"}}"))
}

/// The oldest record kept.
fn oldest(site: &Site) -> u64 {
    let output = site.forebay(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let streams = status["streams"].as_array().unwrap();
    streams.iter().find(|stream| stream["name"] == "readings").unwrap()["oldest"].as_u64().unwrap()
}

/// Whether everything stays although there is more than the limit.
fn keeps_all(site: &Site) {
    eventually("pins are set", || {
        (metric(site, "forebay_journal_pinned_bytes{by=\"sink/bill\"}") > 0).then_some(())
    });
    std::thread::sleep(LOOKS);
    assert_eq!((oldest(site), removed(site, "bytes")), (0, 0));
}

/// Brings a configuration into force; what became of its parts.
fn reload(site: &Site, config: &str) -> String {
    site.write("forebay.toml", config);
    let output = site.forebay(&["reload"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bytes_remove_what_no_dump_and_no_holding_sink_needs() {
    let is_up = Arc::new(AtomicBool::new(false));
    let lake = Receiver::start({
        let is_up = is_up.clone();
        move |_| if is_up.load(Ordering::Relaxed) { 200 } else { 503 }
    });
    let holding = config(&lake.url(), "on_max_lag = \"hold\"");
    let mut site = Site::with_config(&holding);
    site.start();
    (0..MESSAGES).for_each(|number| send(&site, number));
    site.wait_for(MESSAGES - 1, "result", |_| true);
    keeps_all(&site);
    site.stop();
    // From now on the dump needs none of it; the holding sink does.
    site.start();
    keeps_all(&site);
    let said = reload(&site, &config(&lake.url(), "max_lag = \"16MiB\""));
    assert!(said.contains("changed  sink bill (max_lag, on_max_lag)"), "{said}");
    eventually("segments are removed", || (removed(&site, "bytes") > 0).then_some(()));
    let kept_from = oldest(&site);
    assert!(kept_from > 200, "two of the segments: {kept_from}");
    let missed = ["sink/lake", "sink/bill", "sink/rows", "lane/main"].map(|by| left_behind(&site, by) > 0);
    assert_eq!(missed, [true, true, false, false], "who has not seen what was removed");
    assert!(site.log().contains("it is further behind than max_lag"));
    // Others go on, and the one that was dead begins behind the gap.
    send(&site, MESSAGES);
    site.wait_for(MESSAGES, "result", |_| true);
    let missed = left_behind(&site, "sink/lake");
    is_up.store(true, Ordering::Relaxed);
    site.stop();
    site.start();
    let lost = "forebay_sink_lost_records_total{sink=\"lake\"}";
    eventually("the sink finds the gap", || (metric(&site, lost) > 0).then_some(()));
    assert_eq!(metric(&site, lost), missed, "told to the record");
}

#[test]
fn a_reload_changes_what_is_kept() {
    let kept = "max_bytes = \"128MiB\"\nmin_free = \"1MiB\"";
    for (limits, said, why) in [
        ("max_age = \"4s\"\nmin_free = \"1MiB\"", "changed  journal (max_bytes, max_age)", "age"),
        ("max_bytes = \"128MiB\"\nmin_free = \"1000TiB\"", "changed  journal (min_free)", "room"),
    ] {
        let before = config("http://127.0.0.1:1/", "on_max_lag = \"gap\"\nmax_lag = \"1B\"")
            .replace("max_lag = \"16MiB\"", "max_lag = \"1B\"");
        let mut site = Site::with_config(&before);
        site.start();
        (0..3).for_each(|number| send(&site, number));
        site.wait_for(2, "result", |_| true);
        site.stop();
        site.start();
        let report = reload(&site, &before.replace(kept, limits));
        assert!(report.contains(said), "{report}");
        eventually("a segment is removed", || (removed(&site, why) > 0).then_some(()));
        assert!(oldest(&site) > 3, "{why}");
        send(&site, 3);
        site.wait_for(3, "result", |_| true);
        let level = metric(&site, "forebay_disk_level");
        assert_eq!(level, if why == "room" { 2 } else { 0 }, "who is taken");
        site.stop();
    }
}
