//! Metrics with their labels resolved once, for the hot path: bumping one is an atomic add.
//!
//! Take a handle where a listener, stream, lane, pipeline or sink is built and keep it; making it also shows
//! its metrics at zero, so that a rate is right from the first event. Handles are cheap to clone.

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::Metrics;
use crate::model::inbound::Protocol;
use crate::model::{AlertState, Reason};

/// One protocol's figures.
#[derive(Clone)]
pub struct ListenMetrics {
    /// Messages received.
    pub messages: IntCounter,
    /// Payload bytes received.
    pub bytes: IntCounter,
    /// Seconds from receiving a message to acknowledging it.
    pub ack_seconds: Histogram,
}

/// One source's figures.
#[derive(Clone)]
pub struct SourceMetrics {
    /// Messages accepted.
    pub accepted: IntCounter,
    /// Readings accepted.
    pub readings: IntCounter,
    /// Messages recognised as sent again.
    pub duplicates: IntCounter,
    /// Readings left out of messages that held new ones.
    pub repeated: IntCounter,
}

/// One stream's figures.
#[derive(Clone)]
pub struct StreamMetrics {
    /// Records made durable.
    pub records: IntCounter,
    /// Bytes written.
    pub bytes: IntCounter,
    /// Frames written.
    pub frames: IntCounter,
    /// Seconds of each sync.
    pub sync_seconds: Histogram,
    /// Seconds waited for a byte permit.
    pub wait_seconds: Histogram,
    /// Records made durable by one sync.
    pub group_records: Histogram,
    /// Bytes waiting to be written.
    pub queue_bytes: IntGauge,
    /// Bytes of all segments.
    pub size_bytes: IntGauge,
    /// Segment files.
    pub segments: IntGauge,
    /// 1 while the stream takes nothing.
    pub failed: IntGauge,
    /// The first offset that is not durable.
    pub durable_offset: IntGauge,
    /// Appends refused because the queue is full.
    pub refused_overload: IntCounter,
    /// Appends refused because the disk is full or failed.
    pub refused_disk: IntCounter,
}

/// One lane's figures.
#[derive(Clone)]
pub struct LaneMetrics {
    /// Durable records not processed.
    pub lag_records: IntGauge,
    /// Age of the oldest of them.
    pub lag_seconds: Gauge,
    /// Rounds processed.
    pub rounds: IntCounter,
    /// Readings processed.
    pub readings: IntCounter,
    /// Seconds of each round.
    pub round_seconds: Histogram,
    /// Sensor actors running; each partition adds and takes its own.
    pub sensors_active: IntGauge,
    /// Sensors passivated.
    pub passivated: IntCounter,
}

/// One pipeline's figures.
#[derive(Clone)]
pub struct PipelineMetrics {
    /// Wall time less the newest watermark.
    pub watermark_lag_seconds: Gauge,
    /// Result rows emitted.
    pub results: IntCounter,
    /// Late readings.
    pub late: IntCounter,
}

/// One alert's figures.
#[derive(Clone)]
pub struct AlertMetrics {
    /// Keys that began to fire.
    pub fired: IntCounter,
    /// Keys that resolved.
    pub resolved: IntCounter,
    /// Keys firing now.
    pub firing: IntGauge,
}

/// One sink's figures.
#[derive(Clone)]
pub struct SinkMetrics {
    /// Records not confirmed.
    pub lag_records: IntGauge,
    /// Age of the oldest of them.
    pub lag_seconds: Gauge,
    /// 1 while deliveries are held back.
    pub breaker_open: IntGauge,
    /// Rows confirmed.
    pub rows: IntCounter,
    /// Seconds of each delivery.
    pub deliver_seconds: Histogram,
}

impl Metrics {
    /// The figures of one protocol.
    pub fn listen(&self, protocol: Protocol) -> ListenMetrics {
        let label = [protocol.as_str()];
        self.connections.with_label_values(&label);
        ListenMetrics {
            messages: self.listen_messages.with_label_values(&label),
            bytes: self.listen_bytes.with_label_values(&label),
            ack_seconds: self.ack_seconds.with_label_values(&label),
        }
    }

    /// The figures of one source.
    pub fn source(&self, name: &str) -> SourceMetrics {
        for reason in Reason::ALL {
            self.intake_rejected.with_label_values(&[name, reason.as_str()]);
        }
        SourceMetrics {
            accepted: self.intake_accepted.with_label_values(&[name]),
            readings: self.intake_readings.with_label_values(&[name]),
            duplicates: self.intake_duplicates.with_label_values(&[name]),
            repeated: self.intake_repeated.with_label_values(&[name]),
        }
    }

    /// The figures of one journal stream.
    pub fn stream(&self, name: &str) -> StreamMetrics {
        let refused = |reason: Reason| self.journal_refused.with_label_values(&[name, reason.as_str()]);
        self.journal_gap_records.with_label_values(&[name]);
        StreamMetrics {
            records: self.journal_records.with_label_values(&[name]),
            bytes: self.journal_bytes.with_label_values(&[name]),
            frames: self.journal_frames.with_label_values(&[name]),
            sync_seconds: self.journal_sync_seconds.with_label_values(&[name]),
            wait_seconds: self.journal_wait_seconds.with_label_values(&[name]),
            group_records: self.journal_group_records.with_label_values(&[name]),
            queue_bytes: self.journal_queue_bytes.with_label_values(&[name]),
            size_bytes: self.journal_size_bytes.with_label_values(&[name]),
            segments: self.journal_segments.with_label_values(&[name]),
            failed: self.journal_failed.with_label_values(&[name]),
            durable_offset: self.journal_durable_offset.with_label_values(&[name]),
            refused_overload: refused(Reason::Overload),
            refused_disk: refused(Reason::Disk),
        }
    }

    /// The figures of one lane.
    pub fn lane(&self, name: &str) -> LaneMetrics {
        self.lane_panics.with_label_values(&[name]);
        LaneMetrics {
            lag_records: self.lane_lag_records.with_label_values(&[name]),
            lag_seconds: self.lane_lag_seconds.with_label_values(&[name]),
            rounds: self.lane_rounds.with_label_values(&[name]),
            readings: self.lane_readings.with_label_values(&[name]),
            round_seconds: self.lane_round_seconds.with_label_values(&[name]),
            sensors_active: self.lane_sensors_active.with_label_values(&[name]),
            passivated: self.lane_passivated.with_label_values(&[name]),
        }
    }

    /// The figures of one pipeline.
    pub fn pipeline(&self, name: &str) -> PipelineMetrics {
        PipelineMetrics {
            watermark_lag_seconds: self.pipeline_watermark_lag_seconds.with_label_values(&[name]),
            results: self.pipeline_results.with_label_values(&[name]),
            late: self.pipeline_late.with_label_values(&[name]),
        }
    }

    /// The figures of one alert.
    pub fn alert(&self, name: &str) -> AlertMetrics {
        let entered = |state: AlertState| self.alert_transitions.with_label_values(&[name, state.as_str()]);
        AlertMetrics {
            fired: entered(AlertState::Firing),
            resolved: entered(AlertState::Resolved),
            firing: self.alerts_firing.with_label_values(&[name]),
        }
    }

    /// The figures of one sink.
    pub fn sink(&self, name: &str) -> SinkMetrics {
        self.sink_retries.with_label_values(&[name]);
        self.sink_rejected.with_label_values(&[name]);
        self.sink_outdated.with_label_values(&[name]);
        self.sink_lost_records.with_label_values(&[name]);
        SinkMetrics {
            lag_records: self.sink_lag_records.with_label_values(&[name]),
            lag_seconds: self.sink_lag_seconds.with_label_values(&[name]),
            breaker_open: self.sink_breaker_open.with_label_values(&[name]),
            rows: self.sink_rows.with_label_values(&[name]),
            deliver_seconds: self.sink_deliver_seconds.with_label_values(&[name]),
        }
    }
}
