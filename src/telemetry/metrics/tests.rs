//! The exposition's exact texts, the names' rules, and `promtool` where it is installed.

use std::io::Write;
use std::process::{Command, Stdio};

use expect_test::{Expect, expect};

use super::*;
use crate::model::Reason;
use crate::model::inbound::Protocol;
use crate::telemetry::facts::*;

fn only(text: &str, names: &str) -> String {
    text.lines().filter(|line| line.contains(names)).map(|line| format!("{line}\n")).collect()
}

fn check(text: &str, names: &str, expect: Expect) {
    expect.assert_eq(&only(text, names));
}

/// A gateway whose every family has a child.
fn busy() -> Metrics {
    let metrics = Metrics::new();
    metrics.listen(Protocol::Mqtt).ack_seconds.observe(0.003);
    metrics.source("fleet").readings.inc_by(7);
    metrics.stream("readings").group_records.observe(64.0);
    metrics.lane("main").lag_seconds.set(0.25);
    metrics.pipeline("speeding").results.inc();
    metrics.alert("a\"b\\c").firing.set(2);
    metrics.sink("tsdb").rows.inc();
    metrics.journal_pinned_bytes.with_label_values(&["tsdb"]).set(1);
    let peer = "127.0.0.1:9".parse().expect("an address");
    ConnectionOpened { protocol: Protocol::Mqtt, peer }.record(&metrics);
    MessageDropped { protocol: Protocol::Mqtt, reason: Reason::Overload }.record(&metrics);
    SegmentRemoved { stream: "readings", first: 0, end: 9, bytes: 900, why: "bytes" }.record(&metrics);
    LeftBehind { by: "sink/tsdb", stream: "readings", records: 9, is_first: true }.record(&metrics);
    TornTail { stream: "readings", segment: &"0.seg", bytes: 9 }.record(&metrics);
    ExpressionFailed { place: "pipeline.speeding.where", count: 3, error: &"no such key" }.record(&metrics);
    ConfigLoaded { hash: "c0ffee" }.record(&metrics);
    MessageRefused {
        protocol: Protocol::Mqtt,
        source: None,
        topic: "x",
        principal: "anonymous",
        reason: Reason::Unmatched,
        detail: "",
    }
    .record(&metrics);
    metrics
}

#[test]
fn facts_count_and_labels_are_escaped() {
    let text = busy().encode_text();
    check(
        &text,
        "listen_refused",
        expect![[r#"
            # HELP forebay_listen_refused_total Messages refused with an answer to the sender.
            # TYPE forebay_listen_refused_total counter
            forebay_listen_refused_total{protocol="mqtt",reason="unmatched"} 1
        "#]],
    );
    check(
        &text,
        "reason=\"unmatched\",source=\"\"",
        expect![[r#"
        forebay_intake_rejected_total{reason="unmatched",source=""} 1
    "#]],
    );
    check(
        &text,
        "alerts_firing{",
        expect![[r#"
            forebay_alerts_firing{alert="a\"b\\c"} 2
        "#]],
    );
}

#[test]
fn openmetrics_differs_where_the_specification_says() {
    let text = busy().encode_openmetrics();
    check(
        &text,
        "lane_lag_seconds",
        expect![[r#"
            # HELP forebay_lane_lag_seconds Age of the oldest record the lane has not processed.
            # TYPE forebay_lane_lag_seconds gauge
            forebay_lane_lag_seconds{lane="main"} 0.25
        "#]],
    );
    check(
        &text,
        "intake_readings",
        expect![[r#"
            # HELP forebay_intake_readings Readings accepted into the journal.
            # TYPE forebay_intake_readings counter
            forebay_intake_readings_total{source="fleet"} 7
        "#]],
    );
    check(
        &text,
        "journal_group_records",
        expect![[r##"
        # HELP forebay_journal_group_records Records made durable by one sync.
        # TYPE forebay_journal_group_records histogram
        forebay_journal_group_records_bucket{stream="readings",le="1.0"} 0
        forebay_journal_group_records_bucket{stream="readings",le="4.0"} 0
        forebay_journal_group_records_bucket{stream="readings",le="16.0"} 0
        forebay_journal_group_records_bucket{stream="readings",le="64.0"} 1
        forebay_journal_group_records_bucket{stream="readings",le="256.0"} 1
        forebay_journal_group_records_bucket{stream="readings",le="1024.0"} 1
        forebay_journal_group_records_bucket{stream="readings",le="4096.0"} 1
        forebay_journal_group_records_bucket{stream="readings",le="16384.0"} 1
        forebay_journal_group_records_bucket{stream="readings",le="65536.0"} 1
        forebay_journal_group_records_bucket{stream="readings",le="+Inf"} 1
        forebay_journal_group_records_sum{stream="readings"} 64
        forebay_journal_group_records_count{stream="readings"} 1
    "##]],
    );
    assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1);
}

#[test]
fn names_follow_the_contract() {
    for family in busy().registry.gather() {
        let name = family.name();
        assert!(name.starts_with("forebay_") || name.starts_with("process_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            family.get_field_type() == prometheus::proto::MetricType::COUNTER,
            "{name}"
        );
        assert!(family.help().ends_with('.'), "{name}: {}", family.help());
        let labels = family.get_metric()[0].get_label();
        assert!(labels.iter().all(|pair| pair.name() != "sensor"), "{name}: a sensor's id is no label");
    }
}

#[test]
fn the_contract_names_are_there() {
    let text = busy().encode_text();
    for name in [
        "forebay_intake_rejected_total",
        "forebay_ack_seconds",
        "forebay_journal_sync_seconds",
        "forebay_pipeline_watermark_lag_seconds",
        "forebay_pipeline_late_total",
        "forebay_lane_lag_records",
        "forebay_lane_lag_seconds",
        "forebay_sink_lag_records",
        "forebay_sink_lag_seconds",
        "forebay_sink_breaker_open",
        "forebay_build_info",
        "forebay_config_info",
        "forebay_config_last_reload_success",
        "forebay_journal_pinned_bytes",
        "forebay_disk_free_bytes",
        "forebay_connections",
    ] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is missing");
    }
}

#[test]
fn every_metric_of_the_table_is_shown() {
    let declared = include_str!("../metrics.rs").matches("(\"forebay_").count();
    let shown =
        busy().registry.gather().iter().filter(|family| family.name().starts_with("forebay_")).count();
    assert_eq!(shown, declared);
}

/// Prometheus' own linter. `tests/run` installs it and then says that it is required.
#[test]
fn promtool_has_nothing_to_say() {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = match command.spawn() {
        Ok(promtool) => promtool,
        Err(error) => {
            let required = std::env::var_os("FOREBAY_TEST_TOOLS").is_some_and(|value| value == "required");
            assert!(!required, "promtool: {error}");
            eprintln!("skipped: promtool is not installed");
            return;
        }
    };
    let mut stdin = promtool.stdin.take().expect("piped");
    stdin.write_all(busy().encode_text().as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "promtool: {said}");
}
