//! The gateway as a whole: built last stage first, drained first stage first.
//!
//! | thread | what runs there |
//! |---|---|
//! | `forebay-io` × cores | listeners, deliveries, admin, signals: everything that waits for sockets |
//! | one per stream | the journal's writers, which may block |
//! | one per partition | sensors |
//! | one | lanes |
//!
//! Stopping: listeners stop taking, what they hold is journalled and acknowledged; lanes finish the journal and
//! save their states; sinks deliver what is there for a moment; the journal closes.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::reload::Mode;
use crate::admin::{Admin, AdminSocket, Desk};
use crate::config::Config;
use crate::engine::EngineSettings;
use crate::intake::Intake;
use crate::journal::{self, Clock, Journal, Record, Work};
use crate::listen::{self, Door, Listening, Parts, Room, Rules, Serving};
use crate::model::StreamName;
use crate::store::Manifest;
use crate::telemetry::facts::{ConfigLoaded, Fact};
use crate::telemetry::{Metrics, clock};

mod deliveries;
pub mod pages;
pub mod ports;
pub mod processing;
mod reload;
mod retention;
mod room;

use pages::{AdminPages, Overview, Present};
use processing::{Event, Processing};
pub use reload::Origin;
use reload::{Broken, Ticket};

/// Time from one checkpoint of a lane to the next.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// A sensor that did nothing for so many checkpoints goes to sleep: about ten minutes.
const IDLE_SAVES: u64 = 20;
/// How long a message's identity is remembered over a restart.
const REMEMBER: Duration = Duration::from_secs(600);
/// How long lanes may take to finish what is durable; with a full disk they cannot.
const LANES_GRACE: Duration = Duration::from_secs(60);
/// Where the operating system keeps the machine's id.
const MACHINE_ID: &str = "/etc/machine-id";
/// How often the clock is journalled.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// A running gateway.
pub struct App {
    /// What it runs.
    pub config: Arc<Config>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Its journal.
    pub journal: Arc<Journal>,
    origin: Origin,
    overview: Arc<Overview>,
    door: Arc<Door>,
    listening: Vec<Listening>,
    serving: Serving,
    listeners: Stage,
    room: Arc<Room>,
    meter: Stage,
    ticks: Stage,
    processing: Processing,
    admin: Stage,
    /// Reloads that are asked for.
    requests: mpsc::Receiver<Ticket>,
    started: Instant,
    /// Held for as long as the data directory is ours.
    _lock: File,
}

/// Tasks that are told to end together.
#[derive(Clone, Default)]
struct Stage {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Stage {
    async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl App {
    /// Starts every stage, the last one first. Runs inside an actix system.
    ///
    /// # Errors
    /// Whatever keeps a stage from starting; nothing is acknowledged then.
    pub async fn start(config: Config, origin: Origin) -> anyhow::Result<Self> {
        let started = clock::monotonic();
        let config = Arc::new(config);
        let bound = listen::bind(&config.listeners)?;
        let metrics = Arc::new(Metrics::new());
        let data_dir = &config.gateway.data_dir;
        std::fs::create_dir_all(data_dir).with_context(|| format!("cannot create {}", data_dir.display()))?;
        let lock = lock(data_dir)?;
        let socket = admin_socket(&config.gateway.admin)?;
        let mut manifest = Manifest::read(&processing::state_dir(&config))?;
        let journal = Arc::new(open_journal(&config, manifest.as_ref(), &metrics)?);
        processing::note_beginnings(&config, &journal, &mut manifest)?;
        announce(&config, &journal, &metrics).await?;
        let parts = processing::Parts {
            config: config.clone(),
            journal: journal.clone(),
            metrics: metrics.clone(),
            manifest,
        };
        let processing = Processing::start(parts).await?;
        let ticks = start_ticks(&journal);
        let listening = bound.listening();
        let present = Present { config: config.clone(), listening: listening.clone() };
        let overview = Arc::new(Overview {
            metrics: metrics.clone(),
            journal: journal.clone(),
            processing: processing.view(),
            started,
            present: RwLock::new(Arc::new(present)),
        });
        let pages = Arc::new(Admin::new(metrics.clone(), overview.clone(), overview.clone()));
        let (listeners, admin) = (Stage::default(), Stage::default());
        let room = Arc::new(Room::default());
        let meter = room::start(&config, &journal, &room, &metrics);
        let (reload, requests) = reload::requests(&origin);
        let desk = Desk { pages: pages.clone(), reload: Arc::new(reload) };
        admin.tasks.spawn(socket.run(desk, admin.stop.clone()));
        let door = door(&config, &journal, &room, &metrics)?;
        let serving = bound.serve(Parts {
            door: door.clone(),
            pages: Arc::new(AdminPages(pages)),
            tracker: listeners.tasks.clone(),
            shutdown: listeners.stop.clone(),
        });
        Ok(Self {
            config,
            metrics,
            journal,
            origin,
            overview,
            door,
            listening,
            serving,
            listeners,
            room,
            meter,
            ticks,
            processing,
            admin,
            requests,
            started,
            _lock: lock,
        })
    }

    /// How long it has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The bound addresses, in the order of the configuration.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Drains every stage, the first one first.
    ///
    /// # Errors
    /// Why processing did not start, or the first lane that did not end well.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.listeners.end().await;
        // With its descriptors the sockets close: clients are refused, not left waiting.
        drop(self.serving);
        self.meter.end().await;
        self.ticks.end().await;
        let ended = self.processing.stop().await;
        self.journal.close().await;
        self.admin.end().await;
        ended
    }
}

fn engine_settings() -> EngineSettings {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    EngineSettings {
        partitions: (cores / 2).max(1),
        checkpoint_every: CHECKPOINT_EVERY,
        idle_saves: IDLE_SAVES,
    }
}

fn admin_socket(path: &Path) -> anyhow::Result<AdminSocket> {
    AdminSocket::bind(path).with_context(|| format!("gateway.admin: cannot open {}", path.display()))
}

/// One gateway a data directory.
fn lock(data_dir: &Path) -> anyhow::Result<File> {
    use rustix::fs::{FlockOperation, flock};
    let path = data_dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("{} is in use by another gateway", data_dir.display()))?;
    Ok(file)
}

fn open_journal(
    config: &Config,
    manifest: Option<&Manifest>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Journal> {
    let known = |manifest: &Manifest| StreamName::ALL.map(|stream| (stream, manifest.floor(stream)));
    let settings = journal::Settings {
        linger: config.journal.commit_linger,
        floors: manifest.map_or_else(BTreeMap::new, |manifest| known(manifest).into()),
        remember: remember(config),
        ballast_bytes: journal::BALLAST_BYTES,
        machine: journal::identity::machine(Path::new(MACHINE_ID)),
        ..journal::Settings::new(config.gateway.data_dir.join("journal"))
    };
    Journal::open(&settings, metrics)
        .with_context(|| format!("cannot open the journal in {}", settings.dir.display()))
}

/// As long as the longest-remembering source wants.
fn remember(config: &Config) -> Duration {
    let dedups = config.sources.iter().filter_map(|source| source.dedup.as_ref());
    let within_s = dedups.map(|dedup| dedup.within_s).max().unwrap_or_default();
    REMEMBER.max(Duration::from_secs(within_s.into()))
}

/// Writes down that and with what the gateway started: replay must know.
async fn announce(config: &Config, journal: &Journal, metrics: &Metrics) -> anyhow::Result<()> {
    let records = [
        Record::Start { wall: clock::now() },
        Record::Engine { version: env!("CARGO_PKG_VERSION").into() },
        Record::Config { hash: config.hash.as_str().into(), text: config.text.clone() },
    ];
    for record in records {
        journal.readings.append(Work::Record(record)).await.context("cannot write to the journal")?;
    }
    ConfigLoaded { hash: &config.hash }.record(metrics);
    Ok(())
}

fn door(
    config: &Config,
    journal: &Journal,
    room: &Arc<Room>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Arc<Door>> {
    Ok(Arc::new(Door::new(listen::Setup {
        rules: Rules {
            intake: Arc::new(Intake::new(&config.sources)?),
            sources: &config.sources,
            access: &config.access,
        },
        readings: journal.readings.clone(),
        dead_letters: journal.dead_letters.clone(),
        room: room.clone(),
        metrics: metrics.clone(),
    })))
}

/// Journals the clock once a second. Service time goes on where the last run left it.
fn start_ticks(journal: &Arc<Journal>) -> Stage {
    let stage = Stage::default();
    let (journal, stop) = (journal.clone(), stage.stop.clone());
    let before_ns = journal.last_clock.map_or(0, |clock| clock.service_ns);
    stage.tasks.spawn(async move {
        let open_since = clock::monotonic();
        let mut ticks = tokio::time::interval(TICK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let service_ns = before_ns + open_since.elapsed().as_nanos() as u64;
            let clock = Clock { wall: clock::now(), service_ns };
            if let Err(refused) = journal.readings.append(Work::Record(Record::Tick(clock))).await {
                tracing::debug!(%refused, "tick not journalled");
            }
        }
    });
    stage
}

/// Runs a gateway until it is told to stop (SIGTERM, SIGINT) or a lane cannot go on, then drains it. SIGHUP reads
/// the file of `origin` anew.
///
/// # Errors
/// As [`App::start`] and [`App::stop`]; a reload that failed half-way.
pub async fn run(config: Config, origin: Origin) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let mut app = App::start(config, origin).await?;
    for Listening { name, addr, .. } in app.listening() {
        tracing::info!(listener = &**name, %addr, "listening");
    }
    tracing::info!(took = ?app.uptime(), "ready");
    let mut broken = None;
    while broken.is_none() {
        let reloaded = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // Processing that stands still must not look alive: whoever supervises us starts us anew.
            event = app.processing.next() => match event {
                Event::Failed => break,
                Event::StoreFails(why) => app.processing.mend(why).await,
                Event::Opened(store) => app.processing.run(store, &app.config).await,
            },
            _ = hangup.recv() => app.reload(Mode::Apply).await.map(|_| ()).map_err(Broken::explained),
            Some(ticket) = app.requests.recv() => app.answer(ticket).await.map_err(Broken::explained),
        };
        broken = reloaded.err();
    }
    tracing::info!("stopping: finishing what was acknowledged");
    let stopped = app.stop().await;
    if let Some(error) = broken {
        return Err(error);
    }
    tracing::info!("stopped");
    stopped
}

/// Runs `future` in an actix system on a tokio runtime with one worker a core.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.enable_all().thread_name("forebay-io");
        builder.build().expect("the operating system gives threads to a starting program")
    };
    actix::System::with_tokio_rt(runtime).block_on(future)
}
