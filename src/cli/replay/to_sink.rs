//! A replay into a sink of the configuration: the sink's own code, with its retries, over rows that come from the past.
//!
//! The lanes run on the caller's thread and hand rows over as the sink takes them; a thread with a runtime of its
//! own delivers. Cursors live in memory, so a replay that was broken off and is started again delivers everything
//! again: rows have ids by which a counterpart knows them. A file sink is refused: the daemon cuts its file to the
//! length it has committed, so rows that others add would vanish with its next write.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join};
use tokio::sync::mpsc;

use super::arguments::ReplayOptions;
use super::{Replay, Setting, open_output};
use crate::app::ports::undelivered;
use crate::cli::backtest::rows::Rows;
use crate::cli::{FAILED, Failure, OK};
use crate::config::{self, Config, OutputKind, SinkKind};
use crate::deliver::retry::Breaker;
use crate::deliver::{BuryError, Courier, DeadLetters, Observer, Ports, Stop, Undeliverable};
use crate::engine::emission::Effects;
use crate::http_client::HttpClient;
use crate::model::{Offset, Output, ResultId, StreamName};
use crate::outbox::{CursorError, Cursors, Lag, Progress, Records, Stream, StreamError};
use crate::route::{Routes, Wants};
use crate::telemetry::clock;

/// Frames of rows that wait for the sink.
const FRAMES_MAX: usize = 4;
/// How often it is looked whether the sink has taken everything.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether alerts are sent, of which people may think that they are of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alerts {
    Sent,
    Kept,
}

/// Runs `replay` into the sink called `name`.
///
/// # Errors
/// Where there is no such sink, it takes no replay, or the journal cannot be read.
pub fn run(
    setting: &Setting,
    replay: &mut Replay<'_>,
    options: &ReplayOptions,
    name: &str,
) -> Result<u8, Failure> {
    let alerts = if options.alerts { Alerts::Sent } else { Alerts::Kept };
    let sink = find(&setting.config, name)?;
    let wants = wanted(&setting.config, sink, alerts)?;
    let output = open_output(&setting.config, options.output.as_deref())?;
    let outlet = Outlet::open(sink, wants, &setting.data.journal_id, output)?;
    let played = replay.run(|effects| outlet.send(effects, alerts));
    let tally = outlet.finish();
    played?;
    replay.say();
    let (delivered, refused) =
        (tally.delivered.load(Ordering::Relaxed), tally.refused.load(Ordering::Relaxed));
    tracing::info!(sink = name, delivered, refused, "replay delivered");
    Ok(if refused == 0 { OK } else { FAILED })
}

fn find<'a>(config: &'a Config, name: &str) -> Result<&'a config::Sink, Failure> {
    let sink = config.sinks.iter().find(|sink| *sink.name == *name).ok_or_else(|| {
        let known: Vec<&str> = config.sinks.iter().map(|sink| &*sink.name).collect();
        Failure::Usage(format!("unknown sink {name:?} (known: {})", known.join(", ")))
    })?;
    match &sink.kind {
        SinkKind::File(file) => Err(Failure::Usage(format!(
            "sink {name} is a file: the gateway cuts {} to what it wrote itself, so rows from elsewhere would vanish; \
             use --output FILE",
            file.path.display()
        ))),
        SinkKind::Influxdb(_) | SinkKind::Webhook(_) => Ok(sink),
    }
}

fn wanted(config: &Config, sink: &config::Sink, alerts: Alerts) -> Result<Wants, Failure> {
    let wants = Routes::of(config).wants(&sink.name);
    let has_results = wants.wants_kind(OutputKind::Result);
    if has_results || (alerts == Alerts::Sent && wants.wants_kind(OutputKind::Alert)) {
        return Ok(wants);
    }
    Err(Failure::Usage(format!("no route leads results to sink {}", sink.name)))
}

/// A sink at work on its own thread.
struct Outlet {
    sender: mpsc::Sender<Arc<[Output]>>,
    thread: JoinHandle<()>,
    tally: Arc<Tally>,
}

impl Outlet {
    fn open(
        sink: &config::Sink,
        wants: Wants,
        journal_id: &str,
        output: Box<dyn Write + Send>,
    ) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("sink {}: {error}", sink.name));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(&error))?;
        let tally = Arc::new(Tally::new(output));
        let ports = Ports {
            cursors: Arc::new(Forgetful),
            dead_letters: tally.clone(),
            observer: tally.clone(),
            http: HttpClient::default(),
            now: Arc::new(clock::now),
            journal: ResultId::EMPTY.with_text(journal_id),
        };
        let (sender, receiver) = mpsc::channel(FRAMES_MAX);
        let end = Arc::new(OnceLock::new());
        let rows = Box::new(Replayed { receiver, next: Offset(0), end: end.clone() });
        let courier = {
            let _inside = runtime.enter();
            Courier::open(sink, wants, vec![rows], ports).map_err(|error| failed(&error))?
        };
        let thread = thread::spawn(move || runtime.block_on(deliver(courier, &end)));
        Ok(Self { sender, thread, tally })
    }

    fn send(&self, effects: Effects, alerts: Alerts) -> Result<(), Failure> {
        let is_sent = |output: &Output| match output {
            Output::Result(_) => true,
            Output::Alert(_) => alerts == Alerts::Sent,
            Output::Late(_) => false,
        };
        let outputs: Arc<[Output]> =
            effects.emissions.into_iter().map(|emission| emission.output).filter(is_sent).collect();
        if outputs.is_empty() {
            return Ok(());
        }
        let sent = self.sender.blocking_send(outputs);
        sent.map_err(|_| Failure::Failed("the delivery ended before the replay".to_owned()))
    }

    /// Waits until the sink has everything.
    fn finish(self) -> Arc<Tally> {
        drop(self.sender);
        if self.thread.join().is_err() {
            tracing::error!("the delivery panicked: not every row was delivered");
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
        }
        self.tally
    }
}

/// Runs the courier until everything up to the end is confirmed.
async fn deliver(courier: Courier, end: &OnceLock<Offset>) {
    let (progress, stop) = (courier.progress(), Stop::default());
    let done = |progress: &Progress| {
        let end = end.get()?;
        (progress.saved(StreamName::Results)? >= *end).then_some(())
    };
    let watch = async {
        while done(&progress).is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        stop.drain();
    };
    join(courier.run(stop.clone()), watch).await;
}

/// The rows of a replay as a stream.
struct Replayed {
    receiver: mpsc::Receiver<Arc<[Output]>>,
    /// Rows are numbered as they come.
    next: Offset,
    /// Set once nothing more comes.
    end: Arc<OnceLock<Offset>>,
}

impl Stream for Replayed {
    fn name(&self) -> StreamName {
        StreamName::Results
    }

    fn earliest(&self) -> Offset {
        Offset(0)
    }

    /// The replay's rows are the past: a new reader begins at the first of them.
    fn tail(&self) -> Offset {
        self.next
    }

    fn seek(&mut self, _: Offset) {}

    fn next(&mut self) -> BoxFuture<'_, Result<Records, StreamError>> {
        async move {
            let Some(outputs) = self.receiver.recv().await else {
                self.end.get_or_init(|| self.next);
                return std::future::pending().await;
            };
            let base = self.next;
            self.next = base.plus(outputs.len() as u64);
            Ok(Records::Outputs { base, end: self.next, written: clock::now(), outputs })
        }
        .boxed()
    }
}

/// Cursors of a sink that is forgotten with the replay.
struct Forgetful;

impl Cursors for Forgetful {
    fn load(&self, _: &str) -> Result<Option<Vec<u8>>, CursorError> {
        Ok(None)
    }

    fn save<'a>(&'a self, _: &'a str, _: Vec<u8>) -> BoxFuture<'a, Result<(), CursorError>> {
        async { Ok(()) }.boxed()
    }
}

/// What became of the rows; those refused for good go to the output, as dead letters.
struct Tally {
    delivered: AtomicU64,
    refused: AtomicU64,
    rows: Mutex<Rows<Box<dyn Write + Send>>>,
}

impl Tally {
    fn new(output: Box<dyn Write + Send>) -> Self {
        Self { delivered: AtomicU64::new(0), refused: AtomicU64::new(0), rows: Mutex::new(Rows::new(output)) }
    }
}

impl DeadLetters for Tally {
    fn bury(&self, row: Undeliverable) -> BoxFuture<'_, Result<(), BuryError>> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let written = rows.dead_letter(&undelivered(row)).and_then(|()| rows.flush());
        async move { written.map_err(|error| BuryError(error.to_string())) }.boxed()
    }
}

impl Observer for Tally {
    fn lag(&self, _: &str, _: Lag) {}

    fn breaker(&self, _: &str, _: Breaker) {}

    fn attempted(&self, _: &str, delivered: usize, _: Duration) {
        self.delivered.fetch_add(delivered as u64, Ordering::Relaxed);
    }

    fn failed(&self, _: &str) {}

    fn rejected(&self, _: &str, _: usize) {}

    fn outdated(&self, _: &str, _: usize) {}

    fn lost(&self, _: &str, _: u64) {}
}
