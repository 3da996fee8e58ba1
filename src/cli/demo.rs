//! `forebay demo`: a gateway of its own, real data through real sockets, and an honest account of it.
//!
//! | module | what it is |
//! |---|---|
//! | [`series`] | the shipped measurements and their labelled failures |
//! | [`machine`], [`link`] | three machines and their MQTT, CoAP and HTTP clients |
//! | [`show`] | the loop: reports of the machines and rows of the journal become lines |
//! | [`tally`], [`latency`] | the accounts |
//! | [`lines`], [`screen`], [`summary`] | what is seen |
//! | [`folder`] | where the gateway lives meanwhile |
//!
//! Rows are read from the journal's results, as any sink reads them; what the file sink wrote is counted
//! against them at the end.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;

pub mod folder;
pub mod latency;
pub mod lines;
pub mod link;
pub mod machine;
pub mod screen;
pub mod series;
pub mod show;
pub mod summary;
pub mod tally;

use super::Failure;
use crate::app::{self, App, Origin};
use crate::config::{self, ListenerKind};
use crate::telemetry::clock;
use folder::{Afterwards, Folder};
use machine::{MACHINES, Machine, Pace, Part};
pub use screen::Look;
use screen::Screen;
use series::Series;
use show::{Ending, Rows, Show};
use summary::Outcome;
use tally::Tally;

const CONFIG_NAME: &str = "demo.toml";
const CONFIG: &str = include_str!("../../config/demo.toml");
/// Where the file sink of that configuration writes.
const RESULTS_NAME: &str = "results.ndjson";
/// A day a second: eleven weeks in 79 s.
const SPEEDUP: f64 = 86_400.0;
/// Reports waiting for the show; a machine waits when there are more.
const REPORTS_MAX: usize = 1024;

/// Examples for the help text.
pub const DEMO_EXAMPLES: &str = "\
Starts a gateway in a temporary folder on free ports of the loopback interface, and plays the temperature of
a real machine, every five minutes for eleven weeks with four labelled failures, as three machines at once:
one speaks MQTT, one CoAP, one HTTP. Shows window results and alerts as they come. Ctrl-C ends it.

Every change of an alert is a line that begins with \"alert\". Exits with 1 if a labelled failure raised no
alert or a reading was lost.

Examples:
  forebay demo                       a day a second
  forebay demo --duration 20         in 20 seconds
  forebay demo --keep --all-rows     every row; leaves journal and results.ndjson behind
  forebay demo | grep ^alert";

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArguments {
    /// How many times as fast as the machines' time passes [default: 86400, a day a second]
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "duration")]
    pub speedup: Option<f64>,
    /// How many seconds the eleven weeks take
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub duration: Option<f64>,
    /// Show every window's row, not only as many as one can read
    #[arg(long)]
    pub all_rows: bool,
    /// Leave the folder with configuration, journal and results behind
    #[arg(long)]
    pub keep: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("{text} is not a number above 0"))
}

impl DemoArguments {
    fn speedup(&self, series: &Series) -> f64 {
        match (self.speedup, self.duration) {
            (Some(speedup), _) => speedup,
            (None, Some(seconds)) => show::speedup(series.samples.len(), Duration::from_secs_f64(seconds)),
            (None, None) => SPEEDUP,
        }
    }

    fn afterwards(&self) -> Afterwards {
        if self.keep { Afterwards::Keep } else { Afterwards::Remove }
    }
}

/// Runs the demo; yields the exit code. The folder is gone when this returns.
///
/// # Errors
/// Where the gateway cannot start or stop, or stdout cannot be written.
pub fn run(arguments: &DemoArguments) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    app::block_on(show(arguments, &mut out, Look::of_stdout())).map_err(|error| {
        match error.downcast::<io::Error>() {
            // The reader of stdout has left.
            Ok(error) if error.kind() == io::ErrorKind::BrokenPipe => Failure::Output(error),
            Ok(error) => Failure::Failed(error.to_string()),
            Err(error) => Failure::Failed(format!("{error:#}")),
        }
    })
}

async fn show(arguments: &DemoArguments, out: &mut dyn Write, look: Look) -> anyhow::Result<u8> {
    let series = Arc::new(Series::shipped()?);
    let parent = std::env::temp_dir();
    let folder = Folder::create(&parent, arguments.afterwards())
        .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    let outcome = perform(arguments, &series, &folder, &mut *out, look).await?;
    let mut screen = Screen::new(out, look);
    for (tone, line) in outcome.lines() {
        screen.line(tone, &line)?;
    }
    screen.flush()?;
    Ok(outcome.exit_code())
}

/// Starts the gateway, plays, and stops the gateway however that went.
async fn perform(
    arguments: &DemoArguments,
    series: &Arc<Series>,
    folder: &Folder,
    out: &mut dyn Write,
    look: Look,
) -> anyhow::Result<Outcome> {
    fs::write(folder.path().join(CONFIG_NAME), CONFIG)?;
    let (config, _) = config::from_text(CONFIG_NAME, CONFIG, folder.path())?;
    let app = App::start(config, Origin::Made).await?;
    let speedup = arguments.speedup(series);
    let rows = if arguments.all_rows { Rows::All } else { Rows::readable(speedup) };
    let mut show = Show::new(&app, Screen::new(out, look), Tally::new(series), rows);
    let started = clock::monotonic();
    let ending = play(&mut show, &app, series, speedup).await;
    let took = started.elapsed();
    let Show { tally, latencies, troubles, outputs, .. } = show;
    app.stop().await?;
    let ending = ending?;
    let mut losses = troubles;
    if ending != Ending::Interrupted {
        losses.extend(tally.losses());
        losses.extend(undelivered(&folder.path().join(RESULTS_NAME), outputs)?);
    }
    let kept = (folder.afterwards() == Afterwards::Keep).then(|| folder.path().to_owned());
    let program = std::env::args().next().unwrap_or_else(|| "forebay".into());
    Ok(Outcome { ending, tally, losses, took, acknowledgement: latencies.all(), program, kept })
}

async fn play(show: &mut Show<'_>, app: &App, series: &Arc<Series>, speedup: f64) -> anyhow::Result<Ending> {
    let (reports, inbox) = mpsc::channel(REPORTS_MAX);
    let part = |(machine, Machine { kind, .. })| {
        let (series, reports, pace) = (series.clone(), reports.clone(), Pace::new(speedup));
        Ok(Part { machine, addr: address(app, kind)?, series, pace, reports })
    };
    let parts = MACHINES.into_iter().enumerate().map(part).collect::<anyhow::Result<Vec<_>>>()?;
    drop(reports);
    show.introduce(&parts, speedup)?;
    Ok(show.run(parts, inbox).await?)
}

/// Where the gateway's listener of this kind is.
fn address(app: &App, kind: ListenerKind) -> anyhow::Result<SocketAddr> {
    let listening = app.listening().iter().find(|listening| listening.kind == kind);
    listening.map(|listening| listening.addr).with_context(|| format!("no listener is {kind:?}"))
}

/// What the file sink lacks of the `outputs` that were seen.
fn undelivered(path: &Path, outputs: u64) -> io::Result<Option<String>> {
    let written = fs::read(path)?.iter().filter(|byte| **byte == b'\n').count() as u64;
    Ok((written != outputs).then(|| format!("{RESULTS_NAME}: {written} of {outputs} rows are there")))
}

#[cfg(test)]
mod tests;
