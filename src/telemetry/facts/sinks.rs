//! Facts of deliveries and of the configuration.

use std::fmt::Display;
use std::time::Duration;

use tracing::{error, info, warn};

use super::Fact;
use crate::telemetry::{Metrics, clock};

/// A delivery failed and is tried again.
pub struct SinkRetry<'a> {
    /// Which sink.
    pub sink: &'a str,
    /// How often this batch has been tried, 1 after the first time.
    pub attempt: u32,
    /// How long until the next try.
    pub wait: Duration,
    /// What went wrong.
    pub error: &'a dyn Display,
}

impl Fact for SinkRetry<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.sink_retries.with_label_values(&[self.sink]).inc();
        if let Some(held_back) = metrics.limits.retries.admit() {
            warn!(sink = self.sink, attempt = self.attempt, wait = ?self.wait, error = %self.error, held_back, "delivery failed, will be tried again");
        }
    }
}

/// The counterpart refused rows for good; they go to the dead letters.
pub struct SinkRejected<'a> {
    /// Which sink.
    pub sink: &'a str,
    /// How many rows.
    pub rows: u64,
    /// What the counterpart said.
    pub error: &'a dyn Display,
}

impl Fact for SinkRejected<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.sink_rejected.with_label_values(&[self.sink]).inc_by(self.rows);
        if let Some(held_back) = metrics.limits.rejected.admit() {
            error!(sink = self.sink, rows = self.rows, error = %self.error, held_back, "rows refused by the counterpart");
        }
    }
}

/// Deliveries are held back after failures in a row; rows wait in the journal.
pub struct BreakerOpened<'a> {
    /// Which sink.
    pub sink: &'a str,
    /// Failures in a row.
    pub failures: u32,
}

impl Fact for BreakerOpened<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.sink_breaker_open.with_label_values(&[self.sink]).set(1);
        warn!(sink = self.sink, failures = self.failures, "sink is down, rows wait in the journal");
    }
}

/// Deliveries go through again.
pub struct BreakerClosed<'a> {
    /// Which sink.
    pub sink: &'a str,
}

impl Fact for BreakerClosed<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.sink_breaker_open.with_label_values(&[self.sink]).set(0);
        info!(sink = self.sink, "sink is back");
    }
}

/// A configuration is in force.
pub struct ConfigLoaded<'a> {
    /// The hash of its text.
    pub hash: &'a str,
}

impl Fact for ConfigLoaded<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.config_info.reset();
        metrics.config_info.with_label_values(&[self.hash]).set(1);
        metrics.config_last_reload_success.set(1);
        metrics.config_last_reload_success_timestamp_seconds.set(clock::now().nanos() as f64 / 1e9);
        metrics.limits.expressions.forget();
        info!(hash = self.hash, "configuration in force");
    }
}

/// A configuration was read and refused; the one before stays in force.
pub struct ConfigRefused<'a> {
    /// Everything that is wrong with it, one problem a line.
    pub problems: &'a dyn Display,
}

impl Fact for ConfigRefused<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.config_last_reload_success.set(0);
        error!(problems = %self.problems, "configuration refused, the one before stays in force");
    }
}
