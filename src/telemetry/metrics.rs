//! Every metric: name, help and labels, one line each.
//!
//! Names are `forebay_<stage>_<what>_<unit>[_total]`, units are seconds, bytes and counts. Labels take values
//! from the configuration or a fixed list, never from messages: a sensor's id or a topic is never a label.
//! A registry belongs to one gateway (no process-wide statics), so tests run many in one process.
//!
//! Sources: <https://prometheus.io/docs/practices/naming>, the text format 0.0.4, OpenMetrics 1.0.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::limits::LogLimits;
use super::process::Process;
use super::{clock, openmetrics};

/// From a fast disk's sync to a device that has given up waiting.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];
/// From one message on its own to the largest group of a commit.
const GROUP: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0];

/// Declares the struct and its constructor from one table, so that a metric stands in one place.
macro_rules! metrics {
    ($($field:ident: $make:ident($name:literal, $labels:expr $(, $buckets:expr)?) -> $kind:ty, $help:literal;)*) => {
        /// Every metric of one gateway. Cheap to share: put it in an `Arc`.
        pub struct Metrics {
            registry: Registry,
            pub(super) limits: LogLimits,
            $(#[doc = $help] pub $field: $kind,)*
        }

        impl Metrics {
            fn build(registry: Registry) -> prometheus::Result<Self> {
                $(let $field = register(&registry, $make($name, $help, &$labels $(, $buckets)?)?)?;)*
                Ok(Self { registry, limits: LogLimits::default(), $($field,)* })
            }
        }
    };
}

metrics! {
    connections: gauges("forebay_connections", ["protocol"]) -> IntGaugeVec,
        "Open connections.";
    listen_connections: counters("forebay_listen_connections_total", ["protocol"]) -> IntCounterVec,
        "Connections accepted.";
    listen_messages: counters("forebay_listen_messages_total", ["protocol"]) -> IntCounterVec,
        "Messages received.";
    listen_bytes: counters("forebay_listen_bytes_total", ["protocol"]) -> IntCounterVec,
        "Payload bytes received.";
    listen_refused: counters("forebay_listen_refused_total", ["protocol", "reason"]) -> IntCounterVec,
        "Messages refused with an answer to the sender.";
    listen_dropped: counters("forebay_listen_dropped_total", ["protocol", "reason"]) -> IntCounterVec,
        "Messages dropped without an answer, or by the protocol itself.";
    ack_seconds: histograms("forebay_ack_seconds", ["protocol"], SECONDS) -> HistogramVec,
        "Seconds from receiving a message to acknowledging it.";

    intake_accepted: counters("forebay_intake_accepted_total", ["source"]) -> IntCounterVec,
        "Messages accepted into the journal.";
    intake_readings: counters("forebay_intake_readings_total", ["source"]) -> IntCounterVec,
        "Readings accepted into the journal.";
    intake_rejected: counters("forebay_intake_rejected_total", ["source", "reason"]) -> IntCounterVec,
        "Messages refused; source is empty where none took the topic.";
    intake_duplicates: counters("forebay_intake_duplicates_total", ["source"]) -> IntCounterVec,
        "Messages sent again by their sender, acknowledged and not processed twice.";
    intake_repeated: counters("forebay_intake_repeated_readings_total", ["source"]) -> IntCounterVec,
        "Readings of messages with new ones that dedup knew already, and left out.";

    journal_records: counters("forebay_journal_records_total", ["stream"]) -> IntCounterVec,
        "Records made durable.";
    journal_bytes: counters("forebay_journal_bytes_total", ["stream"]) -> IntCounterVec,
        "Bytes written to segments.";
    journal_frames: counters("forebay_journal_frames_total", ["stream"]) -> IntCounterVec,
        "Frames written to segments.";
    journal_refused: counters("forebay_journal_refused_total", ["stream", "reason"]) -> IntCounterVec,
        "Appends refused.";
    journal_sync_seconds: histograms("forebay_journal_sync_seconds", ["stream"], SECONDS) -> HistogramVec,
        "Seconds of each fdatasync.";
    journal_wait_seconds: histograms("forebay_journal_wait_seconds", ["stream"], SECONDS) -> HistogramVec,
        "Seconds an append waited for its byte permit.";
    journal_group_records: histograms("forebay_journal_group_records", ["stream"], GROUP) -> HistogramVec,
        "Records made durable by one sync.";
    journal_queue_bytes: gauges("forebay_journal_queue_bytes", ["stream"]) -> IntGaugeVec,
        "Bytes waiting to be written.";
    journal_size_bytes: gauges("forebay_journal_size_bytes", ["stream"]) -> IntGaugeVec,
        "Bytes of all segments on disk.";
    journal_failed: gauges("forebay_journal_failed", ["stream"]) -> IntGaugeVec,
        "1 while the stream takes nothing after a write or sync error.";
    journal_durable_offset: gauges("forebay_journal_durable_offset", ["stream"]) -> IntGaugeVec,
        "The first offset that is not durable yet.";
    journal_gap_records: counters("forebay_journal_gap_records_total", ["stream"]) -> IntCounterVec,
        "Offsets whose records are lost.";
    journal_torn_bytes: counters("forebay_journal_torn_bytes_total", ["stream"]) -> IntCounterVec,
        "Bytes cut off an unacknowledged end of a segment at recovery.";
    journal_segments: gauges("forebay_journal_segments", ["stream"]) -> IntGaugeVec,
        "Segment files.";
    journal_removed_segments: counters("forebay_journal_removed_segments_total", ["stream", "why"]) -> IntCounterVec,
        "Segments removed by retention, by the limit that did it: bytes, age or room.";
    journal_left_behind_records: counters("forebay_journal_left_behind_records_total", ["by"]) -> IntCounterVec,
        "Records removed that a consumer beyond its max_lag had not seen.";
    journal_pinned_bytes: gauges("forebay_journal_pinned_bytes", ["by"]) -> IntGaugeVec,
        "Bytes that a consumer still needs, of all streams.";
    disk_free_bytes: gauge("forebay_disk_free_bytes", []) -> IntGauge,
        "Free bytes of the data directory's file system.";
    disk_ballast_bytes: gauge("forebay_disk_ballast_bytes", []) -> IntGauge,
        "Room kept back for a full disk; 0 while the disk is full and nothing is taken.";
    disk_ballast_released: counter("forebay_disk_ballast_released_total", []) -> IntCounter,
        "Times the disk was full and the room kept back was released.";
    disk_level: gauge("forebay_disk_level", []) -> IntGauge,
        "Room on disk: 0 everybody is taken, 1 bulk sources are put off, 2 all but alarm sources are.";
    intake_pressed: gauge("forebay_intake_pressed", []) -> IntGauge,
        "1 while a lane with alerts lags and bulk sources are slowed.";

    store_damaged: counter("forebay_store_damaged_total", []) -> IntCounter,
        "State stores found damaged, set aside and restored.";
    lanes_restarted: counter("forebay_lanes_restarted_total", []) -> IntCounter,
        "Times that lanes began again on a mended state store while the gateway ran.";
    store_dump_seconds: histogram("forebay_store_dump_seconds", [], SECONDS) -> Histogram,
        "Seconds of each dump of the state store.";
    store_dump_failures: counter("forebay_store_dump_failures_total", []) -> IntCounter,
        "Dumps of the state store that could not be written.";
    store_last_dump_timestamp_seconds: gauge("forebay_store_last_dump_timestamp_seconds", []) -> IntGauge,
        "Wall time of the newest dump that was read back; 0: none since the start.";

    lane_lag_records: gauges("forebay_lane_lag_records", ["lane"]) -> IntGaugeVec,
        "Durable records the lane has not processed.";
    lane_lag_seconds: float_gauges("forebay_lane_lag_seconds", ["lane"]) -> GaugeVec,
        "Age of the oldest record the lane has not processed.";
    lane_rounds: counters("forebay_lane_rounds_total", ["lane"]) -> IntCounterVec,
        "Rounds the lane has processed.";
    lane_readings: counters("forebay_lane_readings_total", ["lane"]) -> IntCounterVec,
        "Readings the lane has processed.";
    lane_round_seconds: histograms("forebay_lane_round_seconds", ["lane"], SECONDS) -> HistogramVec,
        "Seconds from pulling a round to its results being handed to the journal.";
    lane_sensors_active: gauges("forebay_lane_sensors_active", ["lane"]) -> IntGaugeVec,
        "Sensor actors running.";
    lane_passivated: counters("forebay_lane_passivated_total", ["lane"]) -> IntCounterVec,
        "Sensors whose state went to disk because they were idle.";
    lane_panics: counters("forebay_lane_panics_total", ["lane"]) -> IntCounterVec,
        "Sensors that panicked and were rebuilt.";
    pipeline_watermark_lag_seconds: float_gauges("forebay_pipeline_watermark_lag_seconds", ["pipeline"]) -> GaugeVec,
        "Wall time less the newest watermark.";
    pipeline_results: counters("forebay_pipeline_results_total", ["pipeline"]) -> IntCounterVec,
        "Result rows emitted.";
    pipeline_late: counters("forebay_pipeline_late_total", ["pipeline"]) -> IntCounterVec,
        "Readings that came after all their windows had fired.";
    expression_errors: counters("forebay_expression_errors_total", ["where"]) -> IntCounterVec,
        "Evaluations that failed; where names the configuration key.";
    alert_transitions: counters("forebay_alert_transitions_total", ["alert", "state"]) -> IntCounterVec,
        "Alerts that entered the state.";
    alerts_firing: gauges("forebay_alerts_firing", ["alert"]) -> IntGaugeVec,
        "Alerts firing now.";

    sink_lag_records: gauges("forebay_sink_lag_records", ["sink"]) -> IntGaugeVec,
        "Records the sink has not confirmed.";
    sink_lag_seconds: float_gauges("forebay_sink_lag_seconds", ["sink"]) -> GaugeVec,
        "Age of the oldest record the sink has not confirmed.";
    sink_breaker_open: gauges("forebay_sink_breaker_open", ["sink"]) -> IntGaugeVec,
        "1 while deliveries are held back after failures.";
    sink_rows: counters("forebay_sink_rows_total", ["sink"]) -> IntCounterVec,
        "Rows the counterpart confirmed.";
    sink_retries: counters("forebay_sink_retries_total", ["sink"]) -> IntCounterVec,
        "Deliveries that failed and are tried again.";
    sink_rejected: counters("forebay_sink_rejected_total", ["sink"]) -> IntCounterVec,
        "Rows the counterpart refused for good.";
    sink_outdated: counters("forebay_sink_outdated_total", ["sink"]) -> IntCounterVec,
        "Alerts not sent because they were superseded or too old.";
    sink_lost_records: counters("forebay_sink_lost_records_total", ["sink"]) -> IntCounterVec,
        "Records lost to retention or damage before the sink had them.";
    sink_deliver_seconds: histograms("forebay_sink_deliver_seconds", ["sink"], SECONDS) -> HistogramVec,
        "Seconds of each delivery.";

    build_info: gauges("forebay_build_info", ["version"]) -> IntGaugeVec,
        "Always 1; the version is the label.";
    config_info: gauges("forebay_config_info", ["hash"]) -> IntGaugeVec,
        "Always 1; the hash of the configuration in force is the label.";
    config_last_reload_success: gauge("forebay_config_last_reload_success", []) -> IntGauge,
        "1 if the last configuration read was valid and came into force.";
    config_last_reload_success_timestamp_seconds: float_gauge("forebay_config_last_reload_success_timestamp_seconds", []) -> Gauge,
        "When a configuration last came into force, in seconds since the epoch.";
}

impl Metrics {
    /// A fresh set, all at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let metrics = Self::build(registry).expect("the names in the table are valid and differ");
        let process = Process::new(clock::now());
        metrics.registry.register(Box::new(process)).expect("process metrics have names of their own");
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics
    }

    /// All metrics in the Prometheus text format, `text/plain; version=0.0.4`.
    pub fn encode_text(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).expect("gathered families have names and samples")
    }

    /// All metrics as OpenMetrics 1.0, `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    pub fn encode_openmetrics(&self) -> String {
        openmetrics::encode(&self.registry.gather())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

type Made<T> = prometheus::Result<T>;

fn register<T: Collector + Clone + 'static>(registry: &Registry, metric: T) -> Made<T> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> Made<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn counter(name: &str, help: &str, _no_labels: &[&str; 0]) -> Made<IntCounter> {
    IntCounter::new(name, help)
}

fn gauge(name: &str, help: &str, _no_labels: &[&str; 0]) -> Made<IntGauge> {
    IntGauge::new(name, help)
}

fn float_gauge(name: &str, help: &str, _no_labels: &[&str; 0]) -> Made<Gauge> {
    Gauge::new(name, help)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> Made<IntGaugeVec> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

fn float_gauges(name: &str, help: &str, labels: &[&str]) -> Made<GaugeVec> {
    GaugeVec::new(Opts::new(name, help), labels)
}

fn histogram(name: &str, help: &str, _no_labels: &[&str; 0], buckets: &[f64]) -> Made<Histogram> {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
}

fn histograms(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Made<HistogramVec> {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
}

#[cfg(test)]
mod tests;
