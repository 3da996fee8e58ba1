//! The show: machines play, the journal's results come, lines appear. All waiting is in one place.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::latency::Latencies;
use super::lines::{self, Status};
use super::machine::{MACHINES, Machine, Part, Report};
use super::screen::{Look, Screen, Tone};
use super::series::INTERVAL_SECONDS;
use super::tally::Tally;
use crate::app::App;
use crate::engine::plan;
use crate::journal::{Content, Reader};
use crate::model::{AlertState, Output, ResultRow, Timestamp};

/// Rows a person can follow in a second.
const ROWS_PER_SECOND_MAX: f64 = 6.0;
/// Samples of a window.
const WINDOW_SECONDS: f64 = 3600.0;
/// How long the last rows may take after the last acknowledgement.
const LAST_ROWS_WAIT: Duration = Duration::from_secs(15);
/// Time from one live status to the next.
const LIVE_STATUS_EVERY: Duration = Duration::from_millis(250);
/// Time from one status line to the next.
const PLAIN_STATUS_EVERY: Duration = Duration::from_secs(5);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything was played and the last rows came.
    Complete,
    /// The last rows did not come, or a machine gave up.
    Stalled,
    /// By Ctrl-C, or SIGTERM.
    Interrupted,
}

/// Which rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All.
    All,
    /// The first of each machine, then one of so many windows.
    OneOf(i64),
}

impl Rows {
    /// As many as a person can follow while machine time passes `speedup` times as fast as ours.
    pub fn readable(speedup: f64) -> Self {
        let rows_per_second = speedup / WINDOW_SECONDS * MACHINES.len() as f64;
        Self::OneOf((rows_per_second / ROWS_PER_SECOND_MAX).ceil().max(1.0) as i64)
    }

    fn take(self, row: &ResultRow, rows_before: u64) -> bool {
        let Self::OneOf(stride) = self else { return true };
        let window = row.end.nanos() / (WINDOW_SECONDS as i64 * 1_000_000_000);
        rows_before == 0 || window % stride == 0
    }
}

/// A show that is running.
pub struct Show<'a> {
    app: &'a App,
    screen: Screen<'a>,
    rows: Rows,
    /// The accounts.
    pub tally: Tally,
    /// Times of acknowledgements.
    pub latencies: Latencies,
    /// What went wrong with a machine.
    pub troubles: Vec<String>,
    /// Rows that every sink of the configuration takes: results and alerts.
    pub outputs: u64,
    newest: Timestamp,
    rated: (Instant, u64),
}

/// What was waited for.
enum Event {
    Outputs(io::Result<crate::journal::Chunk>),
    Report(Option<Report>),
    Status,
    GaveUp,
    Interrupted,
}

impl<'a> Show<'a> {
    /// A show before its first line.
    pub fn new(app: &'a App, screen: Screen<'a>, tally: Tally, rows: Rows) -> Self {
        let rated = (Instant::now(), 0);
        let (latencies, newest) = (Latencies::default(), Timestamp::default());
        Self { app, screen, rows, tally, latencies, troubles: Vec::new(), outputs: 0, newest, rated }
    }

    /// Plays `parts`, whose reports come from `reports`, until the last row is there.
    ///
    /// # Errors
    /// Where the output takes no more, or the journal cannot be read.
    pub async fn run(&mut self, parts: Vec<Part>, mut reports: mpsc::Receiver<Report>) -> io::Result<Ending> {
        let mut results = self.app.journal.results.reader(self.app.journal.results.oldest());
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut status = interval(self.status_every());
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut machines: JoinSet<_> = parts.into_iter().map(Part::play).collect();
        let mut give_up = None;
        loop {
            let event = tokio::select! {
                chunk = results.next() => Event::Outputs(chunk),
                report = reports.recv(), if give_up.is_none() => Event::Report(report),
                _ = status.tick() => Event::Status,
                () = until(give_up), if give_up.is_some() => Event::GaveUp,
                _ = interrupt.recv() => Event::Interrupted,
                _ = terminate.recv() => Event::Interrupted,
            };
            match event {
                Event::Outputs(chunk) => self.outputs(&chunk?.content)?,
                Event::Report(Some(report)) => self.report(report),
                Event::Report(None) => {
                    give_up = Some(Instant::now() + LAST_ROWS_WAIT);
                    self.collect(&mut machines).await;
                }
                Event::Status => self.status()?,
                Event::GaveUp => return self.end(Ending::Stalled, &mut results).await,
                Event::Interrupted => return self.end(Ending::Interrupted, &mut results).await,
            }
            if give_up.is_some() && (self.tally.is_complete() || !self.troubles.is_empty()) {
                let ending = if self.troubles.is_empty() { Ending::Complete } else { Ending::Stalled };
                return self.end(ending, &mut results).await;
            }
        }
    }

    /// Says what will be seen.
    ///
    /// # Errors
    /// Where the output takes no more.
    pub fn introduce(&mut self, parts: &[Part], speedup: f64) -> io::Result<()> {
        let first = "The temperature of a real machine: every 5 minutes for 11 weeks, with 4 known failures.";
        self.screen.line(Tone::Strong, first)?;
        for part in parts {
            let Machine { name, speaks, .. } = MACHINES[part.machine];
            self.screen.line(Tone::Normal, &format!("  {name}  {speaks:20}  to {}", part.addr))?;
        }
        let shown = match self.rows {
            Rows::All | Rows::OneOf(1) => "every hourly row".to_owned(),
            Rows::OneOf(stride) => format!("one of {stride} hourly rows of each machine"),
        };
        let played = format!("Played {speedup:.0} times as fast; shown is {shown}, and every alert.");
        self.screen.line(Tone::Normal, &played)?;
        self.screen.flush()
    }

    fn status_every(&self) -> Duration {
        if self.screen.look() == Look::Plain { PLAIN_STATUS_EVERY } else { LIVE_STATUS_EVERY }
    }

    /// Takes what is durable already, so that the accounts match what sinks get.
    async fn end(&mut self, ending: Ending, results: &mut Reader) -> io::Result<Ending> {
        while let Some(chunk) = results.try_next().await? {
            self.outputs(&chunk.content)?;
        }
        self.screen.end_live()?;
        self.screen.flush()?;
        Ok(ending)
    }

    async fn collect(&mut self, machines: &mut JoinSet<Result<(), (&'static str, super::link::LinkError)>>) {
        while let Some(ended) = machines.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err((name, error))) => self.troubles.push(format!("{name}: {error}")),
                Err(panicked) => self.troubles.push(panicked.to_string()),
            }
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Sent { machine, readings } => self.tally.accounts[machine].sent += readings as u64,
            Report::Acknowledged { machine, readings, took } => {
                self.tally.accounts[machine].acknowledged += readings as u64;
                self.latencies.push(took);
            }
        }
    }

    fn outputs(&mut self, content: &Content) -> io::Result<()> {
        let Content::Outputs(frame) = content else { return Ok(()) };
        frame.outputs.iter().try_for_each(|output| self.output(output))
    }

    fn output(&mut self, output: &Output) -> io::Result<()> {
        let rows_before = match output {
            Output::Result(row) => self.tally.rows_of(&row.key),
            Output::Alert(_) | Output::Late(_) => 0,
        };
        self.tally.output(output);
        match output {
            Output::Result(row) => {
                self.outputs += 1;
                self.newest = self.newest.max(row.end);
                if self.rows.take(row, rows_before) {
                    self.screen.line(Tone::Quiet, &lines::result(row))?;
                }
                Ok(())
            }
            Output::Alert(row) => {
                self.outputs += 1;
                let tone = if row.state == AlertState::Firing { Tone::Bad } else { Tone::Good };
                self.screen.line(tone, &lines::alert(row))
            }
            Output::Late(_) => Ok(()),
        }
    }

    fn status(&mut self) -> io::Result<()> {
        let (since, before) = self.rated;
        let acknowledged = self.tally.acknowledged();
        self.rated = (Instant::now(), acknowledged);
        let Some(acknowledgement) = self.latencies.take_interval() else { return Ok(()) };
        let lag = |lane: &std::sync::Arc<str>| self.app.metrics.lane(lane).lag_records.get();
        let status = Status {
            machine_time: self.newest,
            readings_per_second: (acknowledged - before) as f64 / since.elapsed().as_secs_f64(),
            acknowledgement: Some(acknowledgement),
            lag_records: plan::lanes(&self.app.config).iter().map(lag).sum(),
            firing: self.tally.firing(),
        };
        self.screen.status(&lines::status(&status))
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// How often machine time must pass as fast as ours for a series of `samples` to last `duration`.
pub fn speedup(samples: usize, duration: Duration) -> f64 {
    samples as f64 * INTERVAL_SECONDS / duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_can_follow_the_rows() {
        assert_eq!(Rows::readable(86_400.0), Rows::OneOf(12));
        assert_eq!(Rows::readable(60.0), Rows::OneOf(1));
        assert_eq!(speedup(22_695, Duration::from_secs(60)), 113_475.0);
    }
}
