//! The deliveries of the gateway: a courier for each sink, started, exchanged and ended.
//!
//! A reload opens new sinks before anything is changed ([`Deliveries::prepare`]). A sink that changes hands its
//! cursors from the courier before to the one after; one that goes delivers what is there and loses its cursor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::ports::{DeliveryMetrics, Graveyard, JournalStream, StoreCursors, cursor_name, forget_cursor};
use crate::config::{self, Config};
use crate::deliver::{Courier, Ports, Stop};
use crate::http_client::HttpClient;
use crate::journal::Journal;
use crate::model::{Offset, ResultId, StreamName};
use crate::outbox::{Progress, Stream};
use crate::route::Routes;
use crate::sink;
use crate::store::Store;
use crate::telemetry::{Metrics, clock};

/// How long couriers may take to end: twice what each allows its counterpart, and some.
const END_MAX: Duration = Duration::from_secs(15);

/// Every courier.
pub(super) struct Deliveries {
    journal: Arc<Journal>,
    store: Arc<Store>,
    ports: Ports,
    tasks: TaskTracker,
    couriers: BTreeMap<Arc<str>, Running>,
    progress: SinksProgress,
}

/// How far each sink has come, shared with retention.
pub(super) type SinksProgress = Arc<Mutex<BTreeMap<Arc<str>, Arc<Progress>>>>;

struct Running {
    stop: Stop,
    task: JoinHandle<()>,
}

/// Couriers of new sinks: where they begin is written down.
#[derive(Default)]
pub(super) struct Begun(Vec<(Arc<str>, Courier)>);

impl Deliveries {
    /// Starts a courier for each sink of `config`.
    ///
    /// # Errors
    /// A sink that can never work, or whose cursor cannot be read or written.
    pub(super) async fn start(
        config: &Config,
        journal: &Arc<Journal>,
        store: &Arc<Store>,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let ports = Ports {
            cursors: Arc::new(StoreCursors(store.clone())),
            dead_letters: Arc::new(Graveyard(journal.dead_letters.clone())),
            observer: Arc::new(DeliveryMetrics(metrics.clone())),
            http: HttpClient::default(),
            now: Arc::new(clock::now),
            journal: ResultId::EMPTY.with_text(&journal.id),
        };
        let (journal, store) = (journal.clone(), store.clone());
        let (tasks, couriers) = (TaskTracker::new(), BTreeMap::new());
        let progress = SinksProgress::default();
        let mut deliveries = Self { journal, store, ports, tasks, couriers, progress };
        for sink in &config.sinks {
            let mut courier = deliveries.open(config, sink)?;
            courier.begin().await?;
            deliveries.run(&sink.name, courier);
        }
        Ok(deliveries)
    }

    fn open(&self, config: &Config, sink: &config::Sink) -> anyhow::Result<Courier> {
        let wants = Routes::of(config).wants(&sink.name);
        let begin = |name| self.store.begin(&cursor_name(&sink.name), name);
        let streams = wants.streams().into_iter();
        let streams = streams.map(|name| stream(&self.journal, name, begin(name))).collect();
        Ok(Courier::open(sink, wants, streams, self.ports.clone())?)
    }

    fn run(&mut self, name: &Arc<str>, courier: Courier) {
        let stop = Stop::default();
        lock(&self.progress).insert(name.clone(), courier.progress());
        let task = self.tasks.spawn(courier.run(stop.clone()));
        self.couriers.insert(name.clone(), Running { stop, task });
    }

    /// Opens the `new` sinks of `config` and writes down where they begin; sees that the `changed` ones can work.
    ///
    /// # Errors
    /// The first that cannot work; then no new one has begun.
    pub(super) async fn prepare(
        &self,
        config: &Config,
        new: &[&config::Sink],
        changed: &[&config::Sink],
    ) -> anyhow::Result<Begun> {
        for sink in changed {
            sink::open(sink, &self.ports.http, &self.ports.cursors)?;
        }
        let opened = new.iter().map(|sink| Ok((sink.name.clone(), self.open(config, sink)?)));
        let mut begun = Begun(opened.collect::<anyhow::Result<_>>()?);
        for (name, courier) in &mut begun.0 {
            let written = courier.begin().await;
            if let Err(error) = written.with_context(|| format!("sink.{name}")) {
                self.abandon(begun);
                return Err(error);
            }
        }
        Ok(begun)
    }

    /// Forgets where new sinks would have begun.
    pub(super) fn abandon(&self, begun: Begun) {
        begun.0.iter().for_each(|(name, _)| self.forget(name));
    }

    /// Ends the couriers of these sinks where they stand, for others to go on.
    ///
    /// # Errors
    /// A courier that does not end.
    pub(super) async fn pause(&mut self, names: &[Arc<str>]) -> anyhow::Result<()> {
        self.end(names.iter().map(|name| &**name), Stop::hand_over).await
    }

    /// Goes on with these sinks as `config` has them, where they stood.
    ///
    /// # Errors
    /// A sink whose cursor cannot be read.
    pub(super) fn resume(&mut self, config: &Config, names: &[Arc<str>]) -> anyhow::Result<()> {
        for sink in config.sinks.iter().filter(|sink| names.contains(&sink.name)) {
            let courier = self.open(config, sink)?;
            self.run(&sink.name, courier);
        }
        Ok(())
    }

    /// Starts what has begun.
    pub(super) fn add(&mut self, begun: Begun) {
        for (name, courier) in begun.0 {
            self.run(&name, courier);
        }
    }

    /// Ends the couriers of sinks that are no more; their cursors go.
    ///
    /// # Errors
    /// A courier that does not end.
    pub(super) async fn remove(&mut self, names: &[&str]) -> anyhow::Result<()> {
        self.end(names.iter().copied(), Stop::drain).await?;
        names.iter().for_each(|name| self.forget(name));
        Ok(())
    }

    /// How far each sink has come, also those that come later.
    pub(super) fn progress(&self) -> SinksProgress {
        self.progress.clone()
    }

    fn forget(&self, name: &str) {
        lock(&self.progress).remove(name);
        if let Err(error) = forget_cursor(&self.store, name) {
            tracing::error!(sink = name, %error, "a removed sink's cursor stays: if it comes back, it goes on there");
        }
    }

    async fn end<'a>(
        &mut self,
        names: impl Iterator<Item = &'a str>,
        tell: impl Fn(&Stop),
    ) -> anyhow::Result<()> {
        let ending: Vec<_> = names.filter_map(|name| self.couriers.remove_entry(name)).collect();
        ending.iter().for_each(|(_, running)| tell(&running.stop));
        for (name, running) in ending {
            let ended = timeout(END_MAX, running.task).await;
            ended
                .with_context(|| format!("sink.{name}: a delivery does not end"))?
                .with_context(|| format!("sink.{name}"))?;
        }
        Ok(())
    }

    /// Lets every courier deliver what is there, and end.
    pub(super) async fn stop(&self) {
        self.couriers.values().for_each(|running| running.stop.drain());
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stream(journal: &Journal, name: StreamName, begin: Option<Offset>) -> Box<dyn Stream> {
    let stream = match name {
        StreamName::Readings => &journal.readings,
        StreamName::Results => &journal.results,
        StreamName::DeadLetters => &journal.dead_letters,
    };
    Box::new(JournalStream::new(name, stream.clone(), begin))
}
