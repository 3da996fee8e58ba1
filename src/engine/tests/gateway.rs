//! A gateway's journal, store and engine in a directory, inside an actix system of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Given, batch, halts, line};
use crate::config::Config;
use crate::engine::checkpoint::Checkpoint;
use crate::engine::steps::Step;
use crate::engine::{Engine, EngineSettings};
use crate::journal::{self, Chunk, Clock, Content, Journal, Record, Stream, Work};
use crate::model::{DeadLetter, Offset, Output, StreamName, Timestamp};
use crate::store::{Manifest, Store};
use crate::telemetry::{Metrics, clock};

/// Never in a test.
pub(super) const NEVER: Duration = Duration::from_secs(86_400);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running engine on its disk.
pub(super) struct Gateway {
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) store: Arc<Store>,
    engine: Engine,
    settings: EngineSettings,
}

/// Runs `future` in a system of its own; every thread of it is told to end afterwards.
pub(super) fn in_system<F: Future>(future: F) -> F::Output {
    let system = actix::System::new();
    let output = system.block_on(future);
    actix::System::current().stop();
    system.run().expect("a system that was stopped");
    output
}

impl Gateway {
    pub(super) async fn start(dir: &Path, config: &Arc<Config>, settings: EngineSettings) -> Self {
        Self::start_halting(dir, config, settings, None).await
    }

    /// As [`Self::start`]; a lane is stopped at a step after so many others have passed it.
    pub(super) async fn start_halting(
        dir: &Path,
        config: &Arc<Config>,
        settings: EngineSettings,
        halt: Option<(Step, usize)>,
    ) -> Self {
        // The threads of the gateway before may still hold it.
        let store = Arc::new(eventually(async || Store::open(&dir.join("state")).ok()).await);
        Self::start_on(store, (dir, config), settings, halt).await
    }

    /// As [`Self::start_halting`], on this store.
    pub(super) async fn start_on(
        store: Arc<Store>,
        (dir, config): (&Path, &Arc<Config>),
        settings: EngineSettings,
        halt: Option<(Step, usize)>,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let known = Manifest::read(&dir.join("state")).unwrap();
        let settings_of_journal = journal::Settings {
            floors: known.map_or_else(Default::default, |known| {
                StreamName::ALL.map(|stream| (stream, known.floor(stream))).into()
            }),
            remember: NEVER,
            ..journal::Settings::new(dir.join("journal"))
        };
        let journal = Journal::open(&settings_of_journal, &metrics).unwrap();
        if let Some((step, others)) = halt {
            halts::halt(&journal.id, step, others);
        }
        name(&journal, config).await;
        let engine = Engine::start(config, &journal, &store, &metrics, settings).await.unwrap();
        Self { journal, metrics, store, engine, settings }
    }

    /// Ends the lanes where they are, mends the store and starts them again under `config`, as the application does.
    pub(super) async fn mended(self, config: &Arc<Config>) -> Self {
        let Self { journal, metrics, store, engine, settings } = self;
        tokio::time::timeout(PATIENCE, engine.abandon()).await.expect("lanes let go");
        store.mend().unwrap();
        let engine = Engine::start(config, &journal, &store, &metrics, settings).await.unwrap();
        Self { journal, metrics, store, engine, settings }
    }

    /// Waits until the lane has seen all that is durable.
    pub(super) async fn drained(&self) {
        eventually(async || {
            let position = self.engine.lanes()[0].position().position;
            (position == self.journal.readings.durable() && position > Offset(0)).then_some(())
        })
        .await;
    }

    /// Exchanges the lanes while they run; where the record stands.
    pub(super) async fn exchange(&mut self, config: &Arc<Config>) -> Offset {
        let record = name(&self.journal, config).await;
        self.engine.exchange(config, record).await.unwrap();
        record
    }

    /// Waits until the lane has come to the `Config` record at `record` and nothing in it is unborn.
    pub(super) async fn joined(&self, record: Offset) {
        eventually(async || {
            let row = Checkpoint::load(&self.store, "main").unwrap().unwrap();
            (row.config_at == Some(record) && row.birth.is_none()).then_some(())
        })
        .await;
    }

    /// The names of the running lanes.
    pub(super) fn lanes(&self) -> Vec<Arc<str>> {
        self.engine.lanes().into_iter().map(|lane| lane.name).collect()
    }

    /// Waits until a lane stands at the step it was to be stopped at.
    pub(super) async fn halted(&self) {
        eventually(async || (!halts::is_armed(&self.journal.id)).then_some(())).await;
    }

    pub(super) async fn send(&self, readings: &[Given]) {
        self.journal.readings.append(Work::Readings(batch(0, readings))).await.unwrap();
    }

    /// The clock shows `seconds` of service.
    pub(super) async fn tick(&self, seconds: u64) {
        let clock = Clock { wall: Timestamp::from_millis(1), service_ns: seconds * 1_000_000_000 };
        self.journal.readings.append(Work::Record(Record::Tick(clock))).await.unwrap();
    }

    /// Waits for `count` rows in `results`.
    pub(super) async fn rows(&self, count: usize) -> Vec<String> {
        let seen = std::cell::RefCell::default();
        let rows = async || {
            seen.replace(rows(&self.journal.results).await);
            let is_enough = seen.borrow().len() >= count;
            is_enough.then(|| seen.take())
        };
        tokio::time::timeout(PATIENCE, eventually(rows)).await.unwrap_or_else(|_| panic!("only {seen:#?}"))
    }

    /// Waits until a lane cannot go on; which ones, and why.
    pub(super) async fn failed(self) -> Vec<String> {
        tokio::time::timeout(PATIENCE, self.engine.failed()).await.expect("a lane fails");
        let failed = self.engine.stop().await;
        self.journal.close().await;
        failed.into_iter().map(|(lane, error)| format!("{lane}: {error}")).collect()
    }

    /// Lets the lanes finish.
    pub(super) async fn stop(self) {
        let failed = self.engine.stop().await;
        assert!(failed.is_empty(), "{failed:?}");
        self.journal.close().await;
    }
}

/// Journals that `config` is in force; where.
async fn name(journal: &Journal, config: &Config) -> Offset {
    let record = Record::Config { hash: config.hash.as_str().into(), text: config.text.clone() };
    journal.readings.append(Work::Record(record)).await.unwrap().first
}

/// Waits until `probe` finds something.
pub(super) async fn eventually<T>(probe: impl AsyncFn() -> Option<T>) -> T {
    let started = clock::monotonic();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(started.elapsed() < 2 * PATIENCE, "waited for too long");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(super) async fn chunks(stream: &Stream) -> Vec<Chunk> {
    let mut reader = stream.reader(stream.oldest());
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.try_next().await.unwrap() {
        chunks.push(chunk);
    }
    chunks
}

async fn contents(stream: &Stream) -> Vec<Content> {
    chunks(stream).await.into_iter().map(|chunk| chunk.content).collect()
}

/// Every output with its cause.
pub(super) async fn outputs(results: &Stream) -> Vec<(Offset, Output)> {
    let mut all = Vec::new();
    for content in contents(results).await {
        if let Content::Outputs(frame) = content {
            all.extend(frame.causes.iter().copied().zip(frame.outputs.iter().cloned()));
        }
    }
    all
}

/// Every output, a line each.
pub(super) async fn rows(results: &Stream) -> Vec<String> {
    outputs(results).await.iter().map(|(cause, output)| line(*cause, output)).collect()
}

/// Every dead letter.
pub(super) async fn letters(stream: &Stream) -> Vec<DeadLetter> {
    let mut all = Vec::new();
    for content in contents(stream).await {
        if let Content::DeadLetters(letters) = content {
            all.extend(letters.iter().cloned());
        }
    }
    all
}

/// What a power cut would leave of a gateway that has nothing under way, or soon has not.
pub(super) fn copy(from: &Path, to: &Path) {
    let started = clock::monotonic();
    loop {
        let before = files(from);
        let copied = copy_all(from, to);
        if copied.is_ok() && before == files(from) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{copied:?}, and files change all the time");
        std::fs::remove_dir_all(to).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_all(&path, &target)?;
        } else {
            std::fs::copy(path, target)?;
        }
    }
    Ok(())
}

/// Every file below `dir` that is there, with its length and when it was written last.
fn files(dir: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push((entry.path(), about.len(), about.modified().unwrap()));
        }
    }
    found.sort();
    found
}
