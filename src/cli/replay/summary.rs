//! What a replay says at the end: which part of the journal, how much came out of it, how fast.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;

use super::play::Played;
use super::range::Range;
use crate::cli::Style;
use crate::cli::time::rfc3339;
use crate::engine::emission::Effects;
use crate::model::Output;

/// Counts of what one configuration put out.
#[derive(Debug, Default)]
pub struct Counts {
    /// Rows of windows.
    pub results: u64,
    /// Rows of alerts.
    pub alerts: u64,
    /// Readings that were too late.
    pub late: u64,
    /// Evaluations that failed.
    pub failures: u64,
    /// The first failure: where and why.
    pub first_failure: Option<String>,
}

impl Counts {
    /// Counts `effects`.
    pub fn add(&mut self, effects: &Effects) {
        for emission in &effects.emissions {
            match emission.output {
                Output::Result(_) => self.results += 1,
                Output::Alert(_) => self.alerts += 1,
                Output::Late(_) => {}
            }
        }
        self.late += effects.late.iter().map(|(_, count)| count).sum::<u64>();
        self.failures += effects.failure_count;
        if self.first_failure.is_none() {
            self.first_failure = effects.failures.first().map(|(place, why)| format!("{place}: {why}"));
        }
    }
}

/// How long it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effort {
    /// On the clock.
    pub took: Duration,
    /// Of all threads.
    pub cpu: Duration,
}

/// A replay in figures.
#[derive(Debug)]
pub struct Summary<'a> {
    /// What was asked for.
    pub range: &'a Range,
    /// What was read.
    pub played: &'a Played,
    /// What came out.
    pub counts: &'a Counts,
    /// How long it took.
    pub effort: Effort,
}

impl Summary<'_> {
    /// Writes the summary.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, style: Style, out: &mut dyn Write) -> io::Result<()> {
        match style {
            Style::Text => self.write_text(out),
            Style::Json => self.write_json(out),
        }
    }

    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { range, played, counts, effort } = self;
        write!(out, "offsets   {} to {}", range.from, range.to)?;
        match played.arrivals {
            Some([first, last]) => writeln!(out, " ({} to {})", rfc3339(first), rfc3339(last))?,
            None => writeln!(out, " (nothing arrived)")?,
        }
        writeln!(out, "readings  {}", played.readings)?;
        writeln!(out, "before    {} readings from offset {} on", played.warm_readings, range.warm)?;
        writeln!(out, "results   {}", counts.results)?;
        writeln!(out, "alerts    {}", counts.alerts)?;
        writeln!(out, "late      {}", counts.late)?;
        let (seconds, rate, cpu_us) = (effort.took.as_secs_f64(), self.rate(), self.cpu_us());
        writeln!(out, "seconds   {seconds:.3} ({rate:.0} readings/s, {cpu_us:.2} µs of CPU a reading)")?;
        for hole in &played.holes {
            let (segment, why) = (hole.segment, hole.why.as_str());
            writeln!(out, "warning: offsets {} to {} are {why} (segment {segment})", hole.from, hole.to)?;
        }
        if played.lost > 0 {
            writeln!(
                out,
                "warning: {} records are missing; `forebay journal verify` says more",
                played.lost
            )?;
        }
        if range.cut.is_some() {
            writeln!(
                out,
                "warning: the journal begins too late for the first windows; they say \"partial\""
            )?;
        }
        if let Some(first) = &counts.first_failure {
            writeln!(out, "warning: {} evaluations failed, first {first}", counts.failures)?;
        }
        Ok(())
    }

    fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { range, played, counts, effort } = self;
        let summary = json!({
            "from": range.from,
            "to": range.to,
            "arrivals": played.arrivals,
            "readings": played.readings,
            "readings_before": played.warm_readings,
            "results": counts.results,
            "alerts": counts.alerts,
            "late": counts.late,
            "failures": counts.failures,
            "first_failure": counts.first_failure,
            "records_missing": played.lost,
            "begins_too_late": range.cut.is_some(),
            "seconds": effort.took.as_secs_f64(),
            "cpu_seconds": effort.cpu.as_secs_f64(),
            "readings_per_second": self.rate().round(),
            "cpu_us_per_reading": self.cpu_us(),
        });
        writeln!(out, "{summary}")
    }

    fn all_readings(&self) -> f64 {
        (self.played.readings + self.played.warm_readings) as f64
    }

    fn rate(&self) -> f64 {
        // A run of no time at all still divides.
        self.all_readings() / self.effort.took.as_secs_f64().max(1e-9)
    }

    fn cpu_us(&self) -> f64 {
        self.effort.cpu.as_secs_f64() * 1e6 / self.all_readings().max(1.0)
    }
}
