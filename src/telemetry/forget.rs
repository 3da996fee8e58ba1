//! Takes away the series of what the configuration does not name any more: a removed pipeline, alert, source, sink
//! or lane must not go on showing its last figures.
//!
//! Handles that are still held count on, unseen. Whoever makes one anew shows its series again.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};

use super::Metrics;

/// Removes the series of `metric` whose `label` is of something gone.
fn forget<T: MetricVecBuilder>(metric: &MetricVec<T>, label: &str, is_gone: &dyn Fn(&str) -> bool) {
    for family in metric.collect() {
        for series in family.get_metric() {
            let labels = series.get_label().iter().map(|pair| (pair.name(), pair.value()));
            let labels: HashMap<_, _> = labels.collect();
            if labels.get(label).is_some_and(|value| is_gone(value)) {
                // An error means that it is gone already.
                let _ = metric.remove(&labels);
            }
        }
    }
}

impl Metrics {
    /// Removes every series of a source.
    pub fn forget_source(&self, name: &str) {
        let is_gone = |value: &str| value == name;
        for counters in [
            &self.intake_accepted,
            &self.intake_readings,
            &self.intake_rejected,
            &self.intake_duplicates,
            &self.intake_repeated,
        ] {
            forget(counters, "source", &is_gone);
        }
    }

    /// Removes every series of a pipeline, its expressions' included.
    pub fn forget_pipeline(&self, name: &str) {
        let is_gone = |value: &str| value == name;
        forget(&self.pipeline_watermark_lag_seconds, "pipeline", &is_gone);
        forget(&self.pipeline_results, "pipeline", &is_gone);
        forget(&self.pipeline_late, "pipeline", &is_gone);
        self.forget_expressions(&format!("pipeline.{name}."));
    }

    /// Removes every series of an alert, its expressions' included.
    pub fn forget_alert(&self, name: &str) {
        let is_gone = |value: &str| value == name;
        forget(&self.alert_transitions, "alert", &is_gone);
        forget(&self.alerts_firing, "alert", &is_gone);
        self.forget_expressions(&format!("alert.{name}."));
    }

    /// Removes every series of a sink.
    pub fn forget_sink(&self, name: &str) {
        let is_gone = |value: &str| value == name;
        forget(&self.sink_lag_records, "sink", &is_gone);
        forget(&self.sink_lag_seconds, "sink", &is_gone);
        forget(&self.sink_breaker_open, "sink", &is_gone);
        forget(&self.sink_deliver_seconds, "sink", &is_gone);
        for counters in [
            &self.sink_rows,
            &self.sink_retries,
            &self.sink_rejected,
            &self.sink_outdated,
            &self.sink_lost_records,
        ] {
            forget(counters, "sink", &is_gone);
        }
    }

    /// Removes every series of a lane.
    pub fn forget_lane(&self, name: &str) {
        let is_gone = |value: &str| value == name;
        forget(&self.lane_lag_records, "lane", &is_gone);
        forget(&self.lane_lag_seconds, "lane", &is_gone);
        forget(&self.lane_round_seconds, "lane", &is_gone);
        forget(&self.lane_sensors_active, "lane", &is_gone);
        for counters in [&self.lane_rounds, &self.lane_readings, &self.lane_passivated, &self.lane_panics] {
            forget(counters, "lane", &is_gone);
        }
    }

    fn forget_expressions(&self, prefix: &str) {
        forget(&self.expression_errors, "where", &|value| value.starts_with(prefix));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_shows_nothing_and_the_rest_stays() {
        let metrics = Metrics::new();
        for name in ["a", "ab"] {
            let _ = (metrics.source(name), metrics.pipeline(name), metrics.alert(name));
            let _ = (metrics.sink(name), metrics.lane(name));
            metrics.expression_errors.with_label_values(&[&format!("pipeline.{name}.where")]).inc();
            metrics.expression_errors.with_label_values(&[&format!("alert.{name}.when")]).inc();
        }
        let names = |name: &str| {
            let (label, place) = (format!("=\"{name}\""), format!(".{name}."));
            let page = metrics.encode_text();
            page.lines().filter(|line| line.contains(&label) || line.contains(&place)).count()
        };
        let both = names("a");
        assert!(both > 30 && names("ab") == both, "{both}");
        metrics.forget_source("a");
        metrics.forget_pipeline("a");
        metrics.forget_alert("a");
        metrics.forget_sink("a");
        metrics.forget_lane("a");
        assert_eq!((names("a"), names("ab")), (0, both), "{}", metrics.encode_text());
    }
}
