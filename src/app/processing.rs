//! What stands behind the journal: the store, the lanes, the deliveries, and the store's dumps.
//!
//! It is started beside the listeners, because they need none of it: what they acknowledge is in the journal. A
//! store that is damaged, slow to open or kept out by a full disk keeps processing waiting, not the devices. Where
//! readers begin that are new is written down before the first listener opens ([`Manifest::begin_at`]).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::deliveries::Deliveries;
use super::ports::cursor_name;
use super::retention::{Gateway, Keeper};
use super::{LANES_GRACE, Stage, engine_settings};
use crate::config::Config;
use crate::engine::{self, Engine, LaneView};
use crate::journal::{Ballast, Journal, Stream};
use crate::model::StreamName;
use crate::store::{Found, Manifest, Mark, Past, Reader, Setup, Store, StoreError};
use crate::telemetry::Metrics;
use crate::telemetry::facts::{Fact, StoreDumpFailed};

/// How long a start waits for processing before it says that it is ready without it.
const START_GRACE: Duration = Duration::from_secs(1);
/// How often opening is tried again while the disk is full.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The store, where it finds the disk full.
const STORE: &str = "state store";
/// Time from one dump of the store to the next.
const DUMP_EVERY: Duration = Duration::from_secs(300);

/// What processing needs.
pub struct Parts {
    /// What to run.
    pub config: Arc<Config>,
    /// Input and output.
    pub journal: Arc<Journal>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Known of the store without opening it.
    pub manifest: Option<Manifest>,
}

/// Processing as it is seen from outside.
#[derive(Clone, Default)]
pub enum View {
    /// It will run in a moment.
    #[default]
    Starts,
    /// It cannot start: the disk is full.
    Waits(String),
    /// It runs.
    Runs(Vec<LaneView>),
}

impl View {
    /// The lanes, once they run.
    pub fn lanes(&self) -> &[LaneView] {
        if let Self::Runs(lanes) = self { lanes } else { &[] }
    }
}

/// Running, or about to.
pub struct Processing {
    journal: Arc<Journal>,
    metrics: Arc<Metrics>,
    view: watch::Sender<View>,
    state: State,
}

enum State {
    /// The store is being opened.
    Opens {
        task: JoinHandle<Opened>,
        tasks: TaskTracker,
        stop: CancellationToken,
    },
    Runs(Box<Running>),
    /// Starting it failed.
    Failed,
}

/// How opening the store ended; `None`: it was given up.
type Opened = Option<Result<Arc<Store>, StoreError>>;

/// What runs behind the journal.
pub(super) struct Running {
    pub(super) store: Arc<Store>,
    pub(super) engine: Engine,
    pub(super) deliveries: Deliveries,
    dumps: Stage,
    /// What retention goes by.
    kept: watch::Sender<Arc<Config>>,
}

/// What [`Processing::next`] waits for.
pub(super) enum Event {
    /// The store is open: to be handed to [`Processing::run`].
    Opened(Result<Arc<Store>, StoreError>),
    /// A lane cannot go on.
    Failed,
}

impl Processing {
    /// Starts opening the store, and waits for it a moment. Runs inside an actix system.
    ///
    /// # Errors
    /// What is known by then to keep processing from running.
    pub(super) async fn start(parts: Parts) -> anyhow::Result<Self> {
        let Parts { config, journal, metrics, manifest } = parts;
        let view = watch::Sender::new(View::default());
        let setup = Setup { dir: state_dir(&config), journal: journal.id.clone(), metrics: metrics.clone() };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (told, shown) = (stop.clone(), view.clone());
        let ballast = journal.ballast.clone();
        let opening = async move { open(&setup, manifest, (&shown, &ballast)).await };
        let task = tasks.spawn(async move { told.run_until_cancelled(opening).await });
        let mut processing = Self { journal, metrics, view, state: State::Opens { task, tasks, stop } };
        if let Ok(Event::Opened(store)) = tokio::time::timeout(START_GRACE, processing.next()).await {
            processing.run(store, &config).await?;
        }
        Ok(processing)
    }

    /// How it is doing.
    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// Waits for what somebody must see to. Cancel safe.
    pub(super) async fn next(&mut self) -> Event {
        match &mut self.state {
            State::Opens { task, .. } => match task.await {
                Ok(Some(opened)) => Event::Opened(opened),
                Ok(None) => std::future::pending().await,
                Err(panic) => Event::Opened(Err(StoreError::Damaged(panic.to_string()))),
            },
            State::Runs(running) => {
                running.engine.failed().await;
                Event::Failed
            }
            State::Failed => std::future::pending().await,
        }
    }

    /// Starts deliveries, lanes and dumps on the opened store.
    ///
    /// # Errors
    /// Why the store cannot be used, or a sink or a lane cannot start.
    pub(super) async fn run(
        &mut self,
        opened: Result<Arc<Store>, StoreError>,
        config: &Arc<Config>,
    ) -> anyhow::Result<()> {
        self.state = State::Failed;
        let (store, journal, metrics) = (opened?, &self.journal, &self.metrics);
        let ballast = journal.ballast.clone();
        store.when_full(move |error| _ = ballast.release(STORE, error));
        let deliveries = Deliveries::start(config, journal, &store, metrics).await?;
        let engine = Engine::start(config, journal, &store, metrics, engine_settings()).await?;
        // Before retention looks who needs what.
        self.view.send_replace(View::Runs(engine.lanes()));
        let dumps = Stage::default();
        dumps.tasks.spawn(dump_often(store.clone(), metrics.clone(), dumps.stop.clone()));
        let kept = watch::Sender::new(config.clone());
        let gateway = Gateway { config: kept.subscribe(), journal, metrics };
        let keeper = Keeper::new(gateway, &store, deliveries.progress());
        dumps.tasks.spawn(keeper.run(self.view.subscribe(), dumps.stop.clone()));
        self.state = State::Runs(Box::new(Running { store, engine, deliveries, dumps, kept }));
        Ok(())
    }

    /// What runs.
    ///
    /// # Errors
    /// That nothing does yet.
    pub(super) fn running(&mut self) -> anyhow::Result<&mut Running> {
        match &mut self.state {
            State::Runs(running) => Ok(running),
            State::Opens { .. } | State::Failed => {
                anyhow::bail!("the state store is not open yet: try again when it is")
            }
        }
    }

    /// Shows the lanes as they are now.
    pub(super) fn show(&self) {
        if let State::Runs(running) = &self.state {
            self.view.send_replace(View::Runs(running.engine.lanes()));
        }
    }

    /// Lets lanes finish what is durable and sinks deliver what is there.
    ///
    /// # Errors
    /// The first lane that did not end well.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        match self.state {
            State::Runs(running) => running.stop(&self.metrics).await,
            State::Opens { tasks, stop, .. } => {
                stop.cancel();
                tasks.close();
                tasks.wait().await;
                Ok(())
            }
            State::Failed => Ok(()),
        }
    }
}

impl Running {
    /// From now on retention goes by `config`.
    pub(super) fn keep(&self, config: &Arc<Config>) {
        self.kept.send_replace(config.clone());
    }

    async fn stop(self, metrics: &Metrics) -> anyhow::Result<()> {
        let Self { store, engine, deliveries, dumps, kept: _ } = self;
        store.hurry();
        let ended = tokio::time::timeout(LANES_GRACE, engine.stop()).await;
        let ended = ended.context("lanes did not end in time; their input is processed at the next start")?;
        deliveries.stop().await;
        dumps.end().await;
        if store.damage().is_none() {
            dump(&store, metrics).await;
        }
        match ended.into_iter().next() {
            Some((lane, error)) => Err(error).with_context(|| format!("lane {lane}")),
            None => Ok(()),
        }
    }
}

/// The store's directory.
pub fn state_dir(config: &Config) -> std::path::PathBuf {
    config.gateway.data_dir.join("state")
}

/// Opens the store, however long a full disk takes.
async fn open(
    setup: &Setup,
    manifest: Option<Manifest>,
    (view, ballast): (&watch::Sender<View>, &Ballast),
) -> Result<Arc<Store>, StoreError> {
    loop {
        let (setup, manifest) = (setup.clone(), manifest.clone());
        let opening = tokio::task::spawn_blocking(move || Store::open_with(setup, manifest));
        let opened = opening.await.unwrap_or_else(|panic| Err(StoreError::Damaged(panic.to_string())));
        match opened {
            // What it gave back may be enough.
            Err(StoreError::Full(error)) if ballast.release(STORE, &error) => {}
            Err(error @ StoreError::Full(_)) => {
                if matches!(*view.borrow(), View::Starts) {
                    tracing::error!(%error, "processing waits for room on the disk");
                }
                view.send_replace(View::Waits(error.to_string()));
                tokio::time::sleep(OPEN_AGAIN_AFTER).await;
            }
            opened => return opened.map(Arc::new),
        }
    }
}

/// Notes where readers begin that are new, before anything can come: they may start much later.
///
/// # Errors
/// The disk's. A full one is no reason not to start: it acknowledges nothing.
pub fn note_beginnings(
    config: &Config,
    journal: &Journal,
    manifest: &mut Option<Manifest>,
) -> Result<(), StoreError> {
    let lane = |name: Arc<str>| Reader {
        name: engine::cursor_name(&name),
        past: if journal.emitted.contains_key(&name) { Past::HasRun } else { Past::Unknown },
    };
    let sink = |sink: &crate::config::Sink| Reader { name: cursor_name(&sink.name), past: Past::Unknown };
    let lanes = engine::plan::lanes(config).into_iter().map(lane);
    let readers: Vec<Reader> = lanes.chain(config.sinks.iter().map(sink)).collect();
    let Journal { readings, results, dead_letters, .. } = journal;
    let streams: [(StreamName, &Stream); 3] = [
        (StreamName::Readings, readings),
        (StreamName::Results, results),
        (StreamName::DeadLetters, dead_letters),
    ];
    let mark: Mark = streams.into_iter().map(|(name, stream)| (name, stream.durable())).collect();
    let known = manifest.get_or_insert_default();
    match known.begin_at(&state_dir(config), &readers, &mark) {
        Err(error @ StoreError::Full(_)) => {
            tracing::warn!(%error, "cannot note where new readers begin");
            Ok(())
        }
        noted => noted,
    }
}

/// Dumps the store every few minutes; at once where no dump is known, or where the store was just restored.
async fn dump_often(store: Arc<Store>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let finding = store.clone();
    let known = tokio::task::spawn_blocking(move || finding.find_dump().ok().flatten()).await.ok().flatten();
    let mut is_due = known.is_none() || store.found() == Found::Restored;
    loop {
        if is_due {
            dump(&store, &metrics).await;
        }
        is_due = true;
        if stop.run_until_cancelled(tokio::time::sleep(DUMP_EVERY)).await.is_none() {
            return;
        }
    }
}

async fn dump(store: &Arc<Store>, metrics: &Metrics) {
    let dumping = store.clone();
    let dumped = tokio::task::spawn_blocking(move || dumping.dump()).await;
    let failed = match dumped {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic.to_string(),
    };
    StoreDumpFailed { error: &failed }.record(metrics);
}
