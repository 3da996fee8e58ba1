//! Brings a changed configuration into force while the gateway runs.
//!
//! | step | if it fails |
//! |---|---|
//! | read and check the file, compare | nothing is changed |
//! | see that the store takes rows, compile the sources, bind new listeners | nothing is changed |
//! | open new sinks, write down where they begin | nothing is changed |
//! | changed sinks stop where they stand | the process ends, and starts anew with the new file |
//! | shut the door for a moment, journal the `Config` record, exchange the door's rules | nothing is changed |
//! | lanes turn over at the record, each at its own pace; new ones begin there | the process ends … |
//! | wait a while until they have put out what stands before it | it goes on without those that are behind |
//! | changed and new sinks start | the process ends … |
//! | listeners exchanged, removed sinks drained, their cursors and series dropped | the process ends … |
//! | retention goes by the new limits | |
//!
//! Why in this order. The record parts the journal: the door lets no burst through while it is written, so what
//! stands before it was taken by the old sources and what follows by the new ones; lanes turn over at the very record,
//! so the same holds for pipelines and alerts. A replay that changes its text at the record does what was done. What
//! is new in a lane is born beside it, from the past, after the reload. New sinks begin before the record, so that no
//! row of the new pipelines passes them; changed ones rest from before the record until lanes are past it, so that no
//! such row meets the old routes and, but for lanes that are far behind, none of the old pipelines the new ones.
//! Intake stops for two syncs, not for the exchange of lanes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::deliveries::Begun;
use super::pages::Present;
use super::processing::Running;
use super::{App, room};
use crate::admin::reload::{Mode, Outcome, Reload, Report};
use crate::config::change::{self, Difference, Fate, Part};
use crate::config::{self, Config, Problem, Problems};
use crate::engine::plan;
use crate::intake::Intake;
use crate::journal::{Record, Work};
use crate::listen::{Exchange, Rules};
use crate::model::Offset;
use crate::telemetry::facts::{ConfigLoaded, ConfigRefused, Fact};

/// Reloads that may wait for the one under way.
const WAITING_MAX: usize = 4;
/// The row that shows whether the store takes anything: the hash of the last configuration that was prepared.
const LAST_CONFIG: &str = "config/last";
/// How long sinks wait for lanes to come to the new configuration; what those put out later goes by the new routes.
const LANES_PATIENCE: Duration = Duration::from_secs(30);

/// Where a configuration came from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// This file, which can be read anew.
    File(PathBuf),
    /// The program made it.
    Made,
}

/// One reload that is asked for.
pub(super) struct Ticket {
    mode: Mode,
    done: oneshot::Sender<Report>,
}

/// Where reloads are asked for: they are done one after the other, by [`super::run`].
pub(super) struct Requests(mpsc::Sender<Ticket>);

/// Why a reload did not come to its end.
enum Halt {
    /// Before anything was changed.
    Unchanged(anyhow::Error),
    /// In between.
    HalfWay(anyhow::Error),
}

/// A reload that failed half-way: the process must start anew, with the new file.
pub(super) struct Broken(anyhow::Error);

impl Broken {
    /// For whoever starts the process anew.
    pub(super) fn explained(self) -> anyhow::Error {
        self.0.context("the reload failed half-way: starting anew will use the new file")
    }
}

/// Everything that can fail, done.
struct Prepared {
    config: Arc<Config>,
    difference: Difference,
    intake: Arc<Intake>,
    listeners: Exchange,
    begun: Begun,
}

/// A place for requests, and the requests.
pub(super) fn requests(origin: &Origin) -> (Requests, mpsc::Receiver<Ticket>) {
    let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
    if let Origin::Made = origin {
        receiver.close();
    }
    (Requests(sender), receiver)
}

impl Reload for Requests {
    fn reload(&self, mode: Mode) -> BoxFuture<'_, Report> {
        let (done, report) = oneshot::channel();
        let sent = self.0.try_send(Ticket { mode, done });
        async move {
            match sent {
                Ok(()) => report.await.unwrap_or_else(|_| Report::failed("", "the gateway is stopping")),
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Report::failed("", format!("{WAITING_MAX} reloads are waiting already"))
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    Report::failed("", "this gateway has no file to read, or is stopping")
                }
            }
        }
        .boxed()
    }
}

impl App {
    /// Does what a ticket asks for, and answers it.
    ///
    /// # Errors
    /// [`Broken`]: the gateway cannot go on.
    pub(super) async fn answer(&mut self, Ticket { mode, done }: Ticket) -> Result<(), Broken> {
        let (report, ended) = match self.reload(mode).await {
            Ok(report) => (report, Ok(())),
            Err(broken) => {
                let why =
                    format!("the new configuration is in force, the gateway starts anew: {:#}", broken.0);
                (Report::failed(&self.config.hash, why), Err(broken))
            }
        };
        // Whoever asked may have left.
        let _ = done.send(report);
        ended
    }

    /// Reads the file and brings it into force.
    ///
    /// # Errors
    /// [`Broken`]: the gateway cannot go on.
    pub(super) async fn reload(&mut self, mode: Mode) -> Result<Report, Broken> {
        let (config, warnings) = match self.read().await {
            Ok(loaded) => loaded,
            Err(problems) => return Ok(self.refused(mode, Outcome::Invalid, problems.0)),
        };
        let difference = change::between(&self.config, &config);
        if !difference.fixed.is_empty() {
            return Ok(self.refused(mode, Outcome::NeedsRestart, self.problems(&difference)));
        }
        let report = |outcome| Report {
            outcome,
            hash: config.hash.clone(),
            changes: difference.changes.clone(),
            problems: Vec::new(),
            warnings,
        };
        if mode == Mode::DryRun {
            return Ok(report(Outcome::DryRun));
        }
        if difference.is_nothing() && config.hash == self.config.hash {
            ConfigLoaded { hash: &config.hash }.record(&self.metrics);
            return Ok(report(Outcome::Unchanged));
        }
        let applied = report(Outcome::Applied);
        for change in applied.changes.iter().filter(|change| change.fate != Fate::Kept) {
            tracing::info!("reload: {} {change}", change.fate.as_str());
        }
        match self.apply(Arc::new(config), difference).await {
            Ok(()) => Ok(applied),
            Err(Halt::Unchanged(error)) => Ok(self.failed(&error)),
            Err(Halt::HalfWay(error)) => Err(Broken(error)),
        }
    }

    async fn apply(&mut self, config: Arc<Config>, difference: Difference) -> Result<(), Halt> {
        let prepared = self.prepare(config, difference).await.map_err(Halt::Unchanged)?;
        let changed = prepared.sinks(Fate::Changed).into_iter().map(|sink| sink.name.clone());
        let changed: Vec<_> = changed.collect();
        let config = self.config.clone();
        let deliveries = &mut self.processing.running().map_err(Halt::Unchanged)?.deliveries;
        deliveries.pause(&changed).await.map_err(Halt::HalfWay)?;
        match self.journal(&prepared).await {
            Ok(record) => self.finish(prepared, record, &changed).await.map_err(Halt::HalfWay),
            Err(error) => {
                let deliveries = &mut self.processing.running().map_err(Halt::HalfWay)?.deliveries;
                deliveries.abandon(prepared.begun);
                deliveries.resume(&config, &changed).map_err(Halt::HalfWay)?;
                Err(Halt::Unchanged(error))
            }
        }
    }

    async fn read(&self) -> Result<(Config, Vec<Problem>), Problems> {
        let Origin::File(path) = self.origin.clone() else { return Err(Problems(Vec::new())) };
        // Reading waits for the disk, checking for schemas to compile.
        let loaded = tokio::task::spawn_blocking(move || config::load(&path)).await;
        let (config, warnings) = loaded.unwrap_or_else(|panicked| {
            let message = format!("cannot be checked: {panicked}");
            Err(Problems(vec![self.problem(String::new(), message)]))
        })?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok((config, warnings))
    }

    fn problem(&self, path: String, message: String) -> Problem {
        let file = match &self.origin {
            Origin::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Origin::Made => String::new(),
        };
        Problem { file, line: 0, column: 0, path, message }
    }

    fn problems(&self, difference: &Difference) -> Vec<Problem> {
        let fixed = difference.fixed.iter();
        fixed.map(|fixed| self.problem(fixed.key.clone(), fixed.why.to_owned())).collect()
    }

    fn refused(&self, mode: Mode, outcome: Outcome, problems: Vec<Problem>) -> Report {
        let report = Report { outcome, hash: self.config.hash.clone(), problems, ..Report::default() };
        if mode == Mode::Apply {
            ConfigRefused { problems: &report.problems() }.record(&self.metrics);
        }
        report
    }

    fn failed(&self, error: &anyhow::Error) -> Report {
        let why = format!("nothing is changed: {error:#}");
        ConfigRefused { problems: &why }.record(&self.metrics);
        Report::failed(&self.config.hash, why)
    }

    /// Does everything that can fail and changes nothing.
    async fn prepare(&mut self, config: Arc<Config>, difference: Difference) -> anyhow::Result<Prepared> {
        let Running { store, deliveries, .. } = self.processing.running()?;
        // Lanes are about to save and load their states; with a full disk they go on only if they are let alone.
        store.put_cursor(LAST_CONFIG, config.hash.as_bytes())?;
        let intake = Arc::new(Intake::new(&config.sources)?);
        let listeners = self.serving.prepare(&config.listeners).map_err(anyhow::Error::from)?;
        let mut prepared = Prepared { config, difference, intake, listeners, begun: Begun::default() };
        let (new, changed) = (prepared.sinks(Fate::New), prepared.sinks(Fate::Changed));
        prepared.begun = deliveries.prepare(&prepared.config, &new, &changed).await?;
        Ok(prepared)
    }

    /// Writes the configuration down; from then on it is the one in force. Where its record stands.
    async fn journal(&self, prepared: &Prepared) -> anyhow::Result<Offset> {
        let Config { hash, text, sources, access, .. } = &*prepared.config;
        let record = Record::Config { hash: hash.as_str().into(), text: text.clone() };
        let rules = Rules { intake: prepared.intake.clone(), sources, access };
        let journalled = self.journal.readings.append(Work::Record(record));
        let receipt = self.door.exchange(rules, journalled).await;
        Ok(receipt.context("the journal does not take the configuration")?.first)
    }

    /// Exchanges everything behind the door.
    async fn finish(
        &mut self,
        prepared: Prepared,
        record: Offset,
        changed: &[Arc<str>],
    ) -> anyhow::Result<()> {
        let Prepared { config, difference, listeners, begun, .. } = prepared;
        let before = std::mem::replace(&mut self.config, config.clone());
        let Running { engine, deliveries, .. } = self.processing.running()?;
        engine.exchange(&config, record).await?;
        if tokio::time::timeout(LANES_PATIENCE, engine.passed(record)).await.is_err() {
            tracing::warn!("lanes are behind: what they put out of the time before goes by the new routes");
        }
        deliveries.resume(&config, changed)?;
        deliveries.add(begun);
        self.processing.show();
        self.serving.exchange(listeners).await;
        self.listening = self.serving.listening();
        self.overview.show(Present { config: config.clone(), listening: self.listening.clone() });
        self.meter.end().await;
        self.meter = room::start(&config, &self.journal, &self.room, &self.metrics);
        let removed: Vec<&str> = difference.named(Part::Sink, Fate::Removed).collect();
        let running = self.processing.running()?;
        running.deliveries.remove(&removed).await?;
        running.keep(&config);
        self.forget(&difference, &gone(&plan::lanes(&before), &plan::lanes(&config)));
        ConfigLoaded { hash: &config.hash }.record(&self.metrics);
        Ok(())
    }

    /// Takes away the series of what is gone.
    fn forget(&self, difference: &Difference, lanes: &[Arc<str>]) {
        let metrics = &self.metrics;
        difference.named(Part::Source, Fate::Removed).for_each(|name| metrics.forget_source(name));
        difference.named(Part::Pipeline, Fate::Removed).for_each(|name| metrics.forget_pipeline(name));
        difference.named(Part::Alert, Fate::Removed).for_each(|name| metrics.forget_alert(name));
        difference.named(Part::Sink, Fate::Removed).for_each(|name| metrics.forget_sink(name));
        lanes.iter().for_each(|name| metrics.forget_lane(name));
    }
}

impl Prepared {
    /// The sinks with this fate, as they are going to be.
    fn sinks(&self, fate: Fate) -> Vec<&config::Sink> {
        let has_fate = |sink: &&config::Sink| self.difference.fate(Part::Sink, &sink.name) == Some(fate);
        self.config.sinks.iter().filter(has_fate).collect()
    }
}

fn gone(before: &[Arc<str>], after: &[Arc<str>]) -> Vec<Arc<str>> {
    let after: BTreeSet<_> = after.iter().collect();
    before.iter().filter(|name| !after.contains(name)).cloned().collect()
}
