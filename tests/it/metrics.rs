//! What operators see: `/metrics` that promtool likes, `/healthz`, `/readyz`.

use std::collections::BTreeSet;
use std::fs::File;

use crate::harness::http::{self, Answer};
use crate::harness::tool::{said, tool};
use crate::harness::{Site, eventually_or};
use crate::http::METERS;

/// A sensor's name that nothing else contains.
const SENSOR: &str = "m4711";

/// Names of the contract that a running gateway with one of everything shows.
const NAMES: &[&str] = &[
    "forebay_ack_seconds",
    "forebay_alert_transitions_total",
    "forebay_build_info",
    "forebay_config_info",
    "forebay_config_last_reload_success",
    "forebay_connections",
    "forebay_disk_free_bytes",
    "forebay_intake_rejected_total",
    "forebay_journal_sync_seconds",
    "forebay_lane_lag_records",
    "forebay_lane_lag_seconds",
    "forebay_pipeline_late_total",
    "forebay_pipeline_watermark_lag_seconds",
    "forebay_sink_breaker_open",
    "forebay_sink_lag_records",
    "forebay_sink_lag_seconds",
];

/// A gateway that has had readings, a late one, a refused one, results and an alert.
fn busy() -> Site {
    let site = Site::run(&format!("{METERS}[alert.high]\non = \"load\"\nwhen = \"mean > 1\"\n"));
    for body in [r#"{"ts":1000,"watts":5}"#, r#"{"ts":20000,"watts":5}"#, r#"{"ts":1000,"watts":5}"#, "{"] {
        http::post(site.addr("http"), &format!("meters/{SENSOR}"), "", body.as_bytes());
    }
    site.wait_for(1, "alert", |_| true);
    site
}

fn names(page: &str) -> BTreeSet<&str> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).collect()
}

/// The page, as soon as it shows a late reading: that is counted after the alert of the reading before it.
fn page(site: &Site) -> Answer {
    let is_counted =
        |answer: &Answer| answer.text().contains("forebay_pipeline_late_total{pipeline=\"load\"} 1");
    let get = || Some(http::get(site.addr("http"), "/metrics")).filter(is_counted);
    eventually_or(get, || http::get(site.addr("http"), "/metrics").text())
}

#[test]
fn promtool_finds_nothing_to_say() {
    let site = busy();
    let answer = page(&site);
    assert!(
        answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"),
        "{}",
        answer.head
    );
    let input = File::open(site.write("metrics", answer.body)).unwrap();
    let Some(mut promtool) = tool("promtool") else { return };
    let output = promtool.args(["check", "metrics"]).stdin(input).output().unwrap();
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
}

#[test]
fn the_contracts_names_are_there_and_no_sensor_is_a_label() {
    let site = busy();
    let text = page(&site).text();
    let missing: Vec<_> = NAMES.iter().filter(|name| !names(&text).contains(*name)).collect();
    assert!(missing.is_empty(), "missing {missing:?} in\n{text}");
    assert!(!text.contains(SENSOR), "a sensor's name in\n{text}");
    let strangers: Vec<_> = names(&text)
        .into_iter()
        .filter(|name| !name.starts_with("forebay_") && !name.starts_with("process_"))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    for line in [
        r#"forebay_intake_readings_total{source="meters"} 3"#,
        r#"forebay_intake_rejected_total{reason="malformed",source="meters"} 1"#,
        r#"forebay_alert_transitions_total{alert="high",state="firing"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "missing {line} in\n{text}");
    }
}

#[test]
fn health_and_readiness_answer() {
    let site = Site::run(METERS);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::get(site.addr("http"), path).status, 200, "{path}");
    }
    assert_eq!(http::get(site.addr("http"), "/nothing").status, 404);
}

#[test]
fn a_scraper_that_asks_for_openmetrics_gets_it() {
    let site = busy();
    let head = "GET /metrics HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\
                accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n";
    let answer = http::try_exchange(site.addr("http"), head.as_bytes(), &[]).unwrap();
    assert!(
        answer.header("content-type").unwrap().starts_with("application/openmetrics-text"),
        "{}",
        answer.head
    );
    assert!(answer.text().ends_with("# EOF\n"), "{}", answer.text());
}
