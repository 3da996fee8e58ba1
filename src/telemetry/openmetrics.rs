//! OpenMetrics 1.0 text of gathered families (the `prometheus` crate writes only the older format).
//!
//! Differs from the older text in: a counter's family drops `_total`, samples keep it; bucket bounds are
//! floats (`1.0`); the text ends in `# EOF`. Source: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::fmt::{self, Write};

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// The exposition of `families`.
pub(super) fn encode(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    for family in families {
        write_family(&mut text, family).expect("a String takes everything");
    }
    text.push_str("# EOF\n");
    text
}

fn write_family(out: &mut String, family: &MetricFamily) -> fmt::Result {
    let kind = family.get_field_type();
    let name = match kind {
        MetricType::COUNTER => family.name().strip_suffix("_total").unwrap_or(family.name()),
        _ => family.name(),
    };
    writeln!(out, "# HELP {name} {}", Escaped(family.help()))?;
    writeln!(out, "# TYPE {name} {}", word(kind))?;
    family.get_metric().iter().try_for_each(|metric| write_metric(out, name, kind, metric))
}

fn word(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "counter",
        MetricType::HISTOGRAM => "histogram",
        _ => "gauge",
    }
}

fn write_metric(out: &mut String, name: &str, kind: MetricType, metric: &Metric) -> fmt::Result {
    let labels = metric.get_label();
    match kind {
        MetricType::COUNTER => {
            writeln!(out, "{name}_total{} {}", Labels(labels, None), metric.get_counter().get_value())
        }
        MetricType::HISTOGRAM => write_histogram(out, name, metric),
        _ => writeln!(out, "{name}{} {}", Labels(labels, None), Number(metric.get_gauge().get_value())),
    }
}

fn write_histogram(out: &mut String, name: &str, metric: &Metric) -> fmt::Result {
    let (labels, histogram) = (metric.get_label(), metric.get_histogram());
    for bucket in histogram.get_bucket() {
        let bound = Labels(labels, Some(bucket.upper_bound()));
        writeln!(out, "{name}_bucket{bound} {}", bucket.cumulative_count())?;
    }
    let count = histogram.get_sample_count();
    writeln!(out, "{name}_bucket{} {count}", Labels(labels, Some(f64::INFINITY)))?;
    writeln!(out, "{name}_sum{} {}", Labels(labels, None), histogram.get_sample_sum())?;
    writeln!(out, "{name}_count{} {count}", Labels(labels, None))
}

/// `{a="b",le="0.5"}`, or nothing.
struct Labels<'a>(&'a [LabelPair], Option<f64>);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = '{';
        for pair in self.0 {
            write!(f, "{separator}{}=\"{}\"", pair.name(), Escaped(pair.value()))?;
            separator = ',';
        }
        if let Some(bound) = self.1 {
            write!(f, "{separator}le=\"{}\"", Number(bound))?;
            separator = ',';
        }
        if separator == ',' { f.write_char('}') } else { Ok(()) }
    }
}

/// A float in the specification's spelling: `1.0`, `+Inf`, `NaN`.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number => write!(f, "{number:?}"),
        }
    }
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '"' => f.write_str("\\\""),
            other => f.write_char(other),
        })
    }
}
