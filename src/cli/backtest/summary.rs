//! What a backtest says at the end: how much of what, how fast, and what a clock would have added.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Map, json};

use crate::cli::Style;
use crate::config::{Alert, AlertInput, Condition, Config, Pipeline, Scope};
use crate::engine::emission::Effects;
use crate::model::{Output, Reason};

/// Counts of one run.
#[derive(Debug, Default)]
pub struct Summary {
    /// Lines that are not blank.
    pub lines: u64,
    /// Readings made of them.
    pub readings: u64,
    /// Lines refused.
    pub refused: BTreeMap<Reason, u64>,
    /// Readings that were too late, by index of the pipeline.
    pub late: BTreeMap<usize, u64>,
    /// Rows of windows.
    pub results: u64,
    /// Rows of alerts.
    pub alerts: u64,
    /// Evaluations that failed.
    pub failures: u64,
    /// The first failure: where and why.
    pub first_failure: Option<(String, String)>,
    /// How long it took.
    pub took: Duration,
    /// Keys of the configuration that do nothing without a clock.
    pub no_effect: Vec<String>,
}

impl Summary {
    /// Counts `effects`.
    pub fn add(&mut self, effects: Effects) {
        for emission in &effects.emissions {
            match emission.output {
                Output::Result(_) => self.results += 1,
                Output::Alert(_) => self.alerts += 1,
                Output::Late(_) => {}
            }
        }
        for (pipeline, count) in effects.late {
            *self.late.entry(pipeline).or_default() += count;
        }
        self.failures += effects.failure_count;
        let first = effects.failures.into_iter().next().map(|(place, failure)| (place, failure.to_string()));
        self.first_failure = self.first_failure.take().or(first);
    }

    /// Writes the summary; pipelines are named as in `config`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, config: &Config, style: Style, out: &mut dyn Write) -> io::Result<()> {
        let name = |(index, count): (&usize, &u64)| (config.pipelines[*index].name.to_string(), *count);
        let late: Vec<(String, u64)> = self.late.iter().map(name).collect();
        let refused: Vec<(String, u64)> =
            self.refused.iter().map(|(reason, count)| (reason.to_string(), *count)).collect();
        match style {
            Style::Text => self.write_text(&refused, &late, out),
            Style::Json => self.write_json(&refused, &late, out),
        }
    }

    fn write_text(
        &self,
        refused: &[(String, u64)],
        late: &[(String, u64)],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        writeln!(out, "lines     {}", self.lines)?;
        writeln!(out, "readings  {}", self.readings)?;
        writeln!(out, "refused   {}", total_of(refused))?;
        writeln!(out, "late      {}", total_of(late))?;
        writeln!(out, "results   {}", self.results)?;
        writeln!(out, "alerts    {}", self.alerts)?;
        writeln!(
            out,
            "seconds   {:.3} ({:.0} readings/s)",
            self.took.as_secs_f64(),
            self.readings_per_second()
        )?;
        if let Some((place, why)) = &self.first_failure {
            writeln!(out, "warning: {} evaluations failed, first {place}: {why}", self.failures)?;
        }
        if !self.no_effect.is_empty() {
            writeln!(out, "without effect, for there is no clock: {}", self.no_effect.join(", "))?;
        }
        Ok(())
    }

    fn write_json(
        &self,
        refused: &[(String, u64)],
        late: &[(String, u64)],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let object = |counts: &[(String, u64)]| -> Map<String, serde_json::Value> {
            counts.iter().map(|(name, count)| (name.clone(), json!(count))).collect()
        };
        let first_failure = self.first_failure.as_ref().map(|(place, why)| format!("{place}: {why}"));
        let summary = json!({
            "lines": self.lines,
            "readings": self.readings,
            "refused": object(refused),
            "late": object(late),
            "results": self.results,
            "alerts": self.alerts,
            "failures": self.failures,
            "first_failure": first_failure,
            "seconds": self.took.as_secs_f64(),
            "readings_per_second": self.readings_per_second().round(),
            "without_effect": self.no_effect,
        });
        writeln!(out, "{summary}")
    }

    fn readings_per_second(&self) -> f64 {
        // A run of no time at all still divides.
        self.readings as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// `3 (malformed 2, time 1)`.
fn total_of(counts: &[(String, u64)]) -> String {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if parts.is_empty() { total.to_string() } else { format!("{total} ({})", parts.join(", ")) }
}

/// Keys of the configuration that would act on the readings of `source`, if there were a clock.
pub fn without_effect(config: &Config, source: usize) -> Vec<String> {
    let name = &config.sources[source].name;
    let reads = |pipeline: &Pipeline| pipeline.from.contains(name);
    let mut keys: Vec<String> =
        config.pipelines.iter().filter(|pipeline| reads(pipeline)).flat_map(of_pipeline).collect();
    let concerned = |alert: &&Alert| match alert.on {
        AlertInput::Source(index) => index == source,
        AlertInput::Pipeline(index) => reads(&config.pipelines[index]),
    };
    keys.extend(config.alerts.iter().filter(concerned).flat_map(of_alert));
    keys
}

fn of_pipeline(pipeline: &Pipeline) -> Vec<String> {
    let watermark = &pipeline.watermark;
    // `idle` is of scope `key` only.
    let idle = watermark.idle.filter(|_| watermark.scope == Scope::Key);
    let keys = [("idle", idle.is_some()), ("max_ahead", watermark.max_ahead.is_some())];
    named(keys, |key| format!("pipeline.{}.watermark.{key}", pipeline.name))
}

fn of_alert(alert: &Alert) -> Vec<String> {
    let keys = [
        ("absent", matches!(alert.condition, Condition::Absent(_))),
        ("resolve_after", alert.resolve_after.is_some()),
        ("repeat", alert.repeat.is_some()),
    ];
    named(keys, |key| format!("alert.{}.{key}", alert.name))
}

fn named<const N: usize>(keys: [(&str, bool); N], name: impl Fn(&str) -> String) -> Vec<String> {
    keys.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| name(key)).collect()
}
