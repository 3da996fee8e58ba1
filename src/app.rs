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

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{Admin, AdminSocket};
use crate::config::Config;
use crate::deliver::{Courier, Ports};
use crate::engine::{self, Engine, EngineSettings};
use crate::http_client::HttpClient;
use crate::intake::Intake;
use crate::journal::{self, Clock, Journal, Record, Work};
use crate::listen::{self, Door, Listening, Parts, Room};
use crate::model::{Offset, ResultId, StreamName};
use crate::outbox::Stream;
use crate::route::Routes;
use crate::store::Store;
use crate::telemetry::facts::{ConfigLoaded, Fact};
use crate::telemetry::{Metrics, clock};

pub mod pages;
pub mod ports;
mod room;

use pages::{AdminPages, Overview};
use ports::{DeliveryMetrics, Graveyard, JournalStream, StoreCursors};
use room::Meter;

/// Time from one checkpoint of a lane to the next.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// A sensor that did nothing for so many checkpoints goes to sleep: about ten minutes.
const IDLE_SAVES: u64 = 20;
/// How long a message's identity is remembered over a restart.
const REMEMBER: Duration = Duration::from_secs(600);
/// How long lanes may take to finish what is durable; with a full disk they cannot.
const LANES_GRACE: Duration = Duration::from_secs(60);
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
    listening: Vec<Listening>,
    listeners: Stage,
    ticks: Stage,
    engine: Engine,
    deliveries: Stage,
    admin: Stage,
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
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let started = clock::monotonic();
        let config = Arc::new(config);
        let bound = listen::bind(&config.listeners)?;
        let metrics = Arc::new(Metrics::new());
        let data_dir = &config.gateway.data_dir;
        std::fs::create_dir_all(data_dir).with_context(|| format!("cannot create {}", data_dir.display()))?;
        let lock = lock(data_dir)?;
        let socket = admin_socket(&config.gateway.admin)?;
        let store = Arc::new(Store::open(&data_dir.join("state"))?);
        let journal = Arc::new(open_journal(&config, &store, &metrics)?);
        announce(&config, &journal, &metrics).await?;
        let deliveries = start_deliveries(&config, &journal, &store, &metrics).await?;
        let engine = Engine::start(&config, &journal, &store, &metrics, engine_settings()).await?;
        let ticks = start_ticks(&journal);
        let listening = bound.listening();
        let overview = Arc::new(Overview {
            config: config.clone(),
            metrics: metrics.clone(),
            journal: journal.clone(),
            listening: listening.clone(),
            lanes: engine.lanes(),
            started,
        });
        let pages = Arc::new(Admin::new(metrics.clone(), overview.clone(), overview));
        let (listeners, admin) = (Stage::default(), Stage::default());
        let room = Arc::new(Room::default());
        ticks.tasks.spawn(Meter::new(&config, &room, &metrics).run(ticks.stop.clone()));
        admin.tasks.spawn(socket.run(pages.clone(), admin.stop.clone()));
        bound.serve(&Parts {
            door: door(&config, &journal, &room, &metrics)?,
            pages: Arc::new(AdminPages(pages)),
            tracker: listeners.tasks.clone(),
            shutdown: listeners.stop.clone(),
        });
        Ok(Self {
            config,
            metrics,
            journal,
            listening,
            listeners,
            ticks,
            engine,
            deliveries,
            admin,
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
    /// The first lane that did not end well.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.listeners.end().await;
        self.ticks.end().await;
        let failed = tokio::time::timeout(LANES_GRACE, self.engine.stop()).await;
        let failed =
            failed.context("lanes did not end in time; their input is processed at the next start")?;
        self.deliveries.end().await;
        self.journal.close().await;
        self.admin.end().await;
        match failed.into_iter().next() {
            Some((lane, error)) => Err(error).with_context(|| format!("lane {lane}")),
            None => Ok(()),
        }
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

fn open_journal(config: &Config, store: &Store, metrics: &Arc<Metrics>) -> anyhow::Result<Journal> {
    let mut readings_floor = Offset(0);
    for lane in engine::plan::lanes(config) {
        readings_floor = readings_floor.max(engine::checkpoint_position(store, &lane)?.unwrap_or_default());
    }
    let settings = journal::Settings {
        linger: config.journal.commit_linger,
        readings_floor,
        remember: remember(config),
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
        intake: Arc::new(Intake::new(&config.sources)?),
        sources: &config.sources,
        access: &config.access,
        readings: journal.readings.clone(),
        dead_letters: journal.dead_letters.clone(),
        room: room.clone(),
        metrics: metrics.clone(),
    })))
}

async fn start_deliveries(
    config: &Config,
    journal: &Arc<Journal>,
    store: &Arc<Store>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Stage> {
    let stage = Stage::default();
    let routes = Routes::of(config);
    let ports = Ports {
        cursors: Arc::new(StoreCursors(store.clone())),
        dead_letters: Arc::new(Graveyard(journal.dead_letters.clone())),
        observer: Arc::new(DeliveryMetrics(metrics.clone())),
        http: HttpClient::default(),
        now: Arc::new(clock::now),
        journal: ResultId::EMPTY.with_text(&journal.id),
    };
    for sink in &config.sinks {
        let wants = routes.wants(&sink.name);
        let streams = wants.streams().into_iter().map(|name| stream(journal, name)).collect();
        let mut courier = Courier::open(sink, wants, streams, ports.clone())?;
        courier.begin().await?;
        stage.tasks.spawn(courier.run(stage.stop.clone()));
    }
    Ok(stage)
}

fn stream(journal: &Journal, name: StreamName) -> Box<dyn Stream> {
    let stream = match name {
        StreamName::Readings => &journal.readings,
        StreamName::Results => &journal.results,
        StreamName::DeadLetters => &journal.dead_letters,
    };
    Box::new(JournalStream::new(name, stream.clone()))
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

/// Runs a gateway until it is told to stop (SIGTERM, SIGINT) or a lane cannot go on, then drains it. SIGHUP
/// changes nothing: a changed configuration takes a restart.
///
/// # Errors
/// As [`App::start`] and [`App::stop`].
pub async fn run(config: Config) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let app = App::start(config).await?;
    for Listening { name, addr, .. } in app.listening() {
        tracing::info!(listener = &**name, %addr, "listening");
    }
    tracing::info!(
        "the journal is kept whole: this version does not enforce max_bytes, max_age and min_free"
    );
    tracing::info!(took = ?app.uptime(), "ready");
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // Processing that stands still must not look alive: whoever supervises us starts us anew.
            () = app.engine.failed() => break,
            _ = hangup.recv() => tracing::warn!("reload is not in this version: restart for a changed configuration"),
        }
    }
    tracing::info!("stopping: finishing what was acknowledged");
    app.stop().await?;
    tracing::info!("stopped");
    Ok(())
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
