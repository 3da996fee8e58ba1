//! What stands behind the journal: the store, the lanes, the deliveries, and the store's dumps.
//!
//! It is started beside the listeners, because they need none of it: what they acknowledge is in the journal. A
//! store that is damaged, slow to open or kept out by a full disk keeps processing waiting, not the devices. Where
//! readers begin that are new is written down before the first listener opens ([`Manifest::begin_at`]).
//!
//! A store that turns out to be damaged while it is used ends the lanes where they are, as a crash would; it is set
//! aside and restored, and lanes begin again from what it holds. Sinks go on meanwhile: they deliver what `results`
//! holds, and their cursors are kept outside the store too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::deliveries::Deliveries;
use super::ports::cursor_name;
use super::retention::{Gateway, Keeper};
use super::{LANES_GRACE, Stage, engine_settings};
use crate::config::Config;
use crate::engine::{self, Engine, Fault, LaneView};
use crate::journal::{Ballast, Journal, Stream};
use crate::model::StreamName;
use crate::store::{Found, Manifest, Mark, Past, Reader, Setup, Store, StoreError};
use crate::telemetry::facts::{Fact, LanesRestarted, StoreDumpFailed};
use crate::telemetry::{Metrics, clock};

mod opening;

use opening::Opening;

/// How long a start waits for processing before it says that it is ready without it.
const START_GRACE: Duration = Duration::from_secs(1);
/// The store, where it finds the disk full.
const STORE: &str = "state store";
/// How long lanes and a dump may take to end once the store is damaged.
const ABANDON_GRACE: Duration = Duration::from_secs(30);
/// A store that is at fault again so soon after it was restored is not the file's fault: whoever supervises us is
/// to start us anew.
const MEND_AGAIN_AFTER: Duration = Duration::from_secs(600);
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
    /// Lanes wait until the store is restored: what was wrong with it.
    Restores(String),
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
    /// When lanes were last stopped to have the store mended.
    mended_at: Option<Instant>,
}

enum State {
    /// The store is being opened, or mended while sinks go on.
    Opens {
        opening: Opening,
        deliveries: Option<Deliveries>,
    },
    Runs(Box<Running>),
    /// Starting it failed.
    Failed {
        deliveries: Option<Deliveries>,
    },
}

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
    /// The store is at fault: to be handed to [`Processing::mend`].
    StoreFails(String),
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
        let open = move || Store::open_with(setup.clone(), manifest.clone()).map(Arc::new);
        let open = giving_room(journal.ballast.clone(), open);
        let state = State::Opens { opening: Opening::start(open, view.clone()), deliveries: None };
        let mut processing = Self { journal, metrics, view, state, mended_at: None };
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
            State::Opens { opening, .. } => Event::Opened(opening.opened().await),
            State::Runs(running) => tokio::select! {
                biased;
                why = running.store.damaged() => Event::StoreFails(why),
                fault = running.engine.failed() => match fault {
                    Fault::Store => Event::StoreFails("a lane cannot use it".to_owned()),
                    Fault::Other => Event::Failed,
                },
            },
            State::Failed { .. } => std::future::pending().await,
        }
    }

    /// Stops the lanes where they are and begins to mend the store, which is at fault for the reason `why`; what
    /// comes of it is an [`Event::Opened`].
    ///
    /// # Errors
    /// That the store was mended a short while ago, or that lanes do not stop.
    pub(super) async fn mend(&mut self, why: String) -> anyhow::Result<()> {
        if let Some(at) = self.mended_at.filter(|at| at.elapsed() < MEND_AGAIN_AFTER) {
            anyhow::bail!(
                "state store: {why}, {:.0?} after it was restored: check disk and memory",
                at.elapsed()
            );
        }
        self.mended_at = Some(clock::monotonic());
        let State::Runs(running) = std::mem::replace(&mut self.state, State::Failed { deliveries: None })
        else {
            return Ok(());
        };
        tracing::error!(why, "the state store fails: lanes stop until it is mended, intake and sinks go on");
        self.view.send_replace(View::Restores(why));
        let Running { store, engine, deliveries, dumps, kept: _ } = *running;
        self.state = State::Failed { deliveries: Some(deliveries) };
        store.hurry();
        let ended = async {
            engine.abandon().await;
            dumps.end().await;
        };
        tokio::time::timeout(ABANDON_GRACE, ended).await.context("lanes do not let go of the state store")?;
        let mend = giving_room(self.journal.ballast.clone(), move || store.mend().map(|_| store.clone()));
        let opening = Opening::start(mend, self.view.clone());
        self.state = State::Opens { opening, deliveries: self.take_deliveries() };
        Ok(())
    }

    fn take_deliveries(&mut self) -> Option<Deliveries> {
        match &mut self.state {
            State::Opens { deliveries, .. } | State::Failed { deliveries } => deliveries.take(),
            State::Runs(_) => None,
        }
    }

    /// Starts deliveries, unless they go on, lanes and dumps on the opened store.
    ///
    /// # Errors
    /// Why the store cannot be used, or a sink or a lane cannot start.
    pub(super) async fn run(
        &mut self,
        opened: Result<Arc<Store>, StoreError>,
        config: &Arc<Config>,
    ) -> anyhow::Result<()> {
        self.state = State::Failed { deliveries: self.take_deliveries() };
        let (store, journal, metrics) = (opened?, &self.journal, &self.metrics);
        let ballast = journal.ballast.clone();
        store.when_full(move |error| _ = ballast.release(STORE, error));
        if let State::Failed { deliveries: deliveries @ None } = &mut self.state {
            *deliveries = Some(Deliveries::start(config, journal, &store, metrics).await?);
        }
        let engine = Engine::start(config, journal, &store, metrics, engine_settings()).await?;
        let deliveries = self.take_deliveries().expect("started above, or before the store was mended");
        let (journal, metrics) = (&self.journal, &self.metrics);
        // Before retention looks who needs what.
        self.view.send_replace(View::Runs(engine.lanes()));
        let dumps = Stage::default();
        dumps.tasks.spawn(dump_often(store.clone(), metrics.clone(), dumps.stop.clone()));
        let kept = watch::Sender::new(config.clone());
        let gateway = Gateway { config: kept.subscribe(), journal, metrics };
        let keeper = Keeper::new(gateway, &store, deliveries.progress());
        dumps.tasks.spawn(keeper.run(self.view.subscribe(), dumps.stop.clone()));
        self.state = State::Runs(Box::new(Running { store, engine, deliveries, dumps, kept }));
        if let Some(at) = self.mended_at {
            LanesRestarted { took: at.elapsed() }.record(&self.metrics);
        }
        Ok(())
    }

    /// What runs.
    ///
    /// # Errors
    /// That nothing does yet.
    pub(super) fn running(&mut self) -> anyhow::Result<&mut Running> {
        match &mut self.state {
            State::Runs(running) => Ok(running),
            State::Opens { deliveries: Some(_), .. } => {
                anyhow::bail!("the state store is being restored: try again when lanes run")
            }
            State::Opens { .. } | State::Failed { .. } => {
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
            State::Opens { opening, deliveries } => {
                opening.give_up().await;
                stop_deliveries(deliveries).await;
                Ok(())
            }
            State::Failed { deliveries } => {
                stop_deliveries(deliveries).await;
                Ok(())
            }
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

async fn stop_deliveries(deliveries: Option<Deliveries>) {
    if let Some(deliveries) = deliveries {
        deliveries.stop().await;
    }
}

/// `attempt`, and once more where the ballast made room on a full disk.
fn giving_room<T, A: Fn() -> Result<T, StoreError>>(
    ballast: Arc<Ballast>,
    attempt: A,
) -> impl Fn() -> Result<T, StoreError> + use<T, A> {
    move || match attempt() {
        Err(StoreError::Full(error)) if ballast.release(STORE, &error) => attempt(),
        done => done,
    }
}

/// The store's directory.
pub fn state_dir(config: &Config) -> std::path::PathBuf {
    config.gateway.data_dir.join("state")
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
    let emitted = journal.emitted();
    let lane = |name: Arc<str>| Reader {
        name: engine::cursor_name(&name),
        past: if emitted.contains_key(&name) { Past::HasRun } else { Past::Unknown },
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
