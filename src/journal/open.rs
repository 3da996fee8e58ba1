//! From a data directory to the writers of its streams: recovery, what is remembered, what is reported.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::Core;
use super::dedup::{self, Duplicates};
use super::disk::{self, Disk, RealDisk};
use super::recall::{self, Stored};
use super::record::Clock;
use super::recover::{self, Recovered};
use super::segment::{Folder, SEGMENT_BYTES};
use super::shared::Shared;
use super::{Writers, identity};
use crate::model::{Offset, StreamName, Timestamp};
use crate::telemetry::facts::{Fact, JournalRecovered, TornTail};
use crate::telemetry::{Metrics, clock};

/// How a journal is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory that holds the streams' directories.
    pub dir: PathBuf,
    /// Shortest time from one sync to the next.
    pub linger: Duration,
    /// The least next offset of `readings`: one more than any cursor outside the journal knows.
    pub readings_floor: Offset,
    /// How long a message's identity is remembered over a restart.
    pub remember: Duration,
    /// Size at which a segment is closed and the next one opened.
    pub segment_bytes: u64,
    /// The disk that holds `dir`.
    pub disk: Arc<dyn Disk>,
    /// On which threads the streams are written.
    pub writers: Writers,
}

impl Settings {
    /// A journal in `dir` on the real disk, each commit at once, nothing known from elsewhere.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            linger: Duration::ZERO,
            readings_floor: Offset(0),
            remember: Duration::from_secs(600),
            segment_bytes: SEGMENT_BYTES,
            disk: Arc::new(RealDisk),
            writers: Writers::OwnThreads,
        }
    }

    fn folder(&self, stream: StreamName) -> Folder {
        let dir = self.dir.join(stream.as_str());
        Folder { disk: self.disk.clone(), dir, segment_bytes: self.segment_bytes }
    }
}

/// The writers of all streams of a data directory, as yet without threads.
pub struct Cores {
    /// The identity of this journal.
    pub id: Arc<str>,
    /// Writes `readings`.
    pub readings: Core,
    /// Writes `results`.
    pub results: Core,
    /// Writes `dead-letters`.
    pub dead_letters: Core,
    /// As [`super::Journal::emitted`].
    pub emitted: BTreeMap<Arc<str>, Offset>,
    /// As [`super::Journal::last_clock`].
    pub last_clock: Option<Clock>,
}

impl Cores {
    /// Opens or creates the journal; what a crash left is recovered first.
    ///
    /// # Errors
    /// IO errors; [`io::ErrorKind::Unsupported`] if a newer program wrote it (nothing is touched).
    pub fn open(settings: &Settings, metrics: &Arc<Metrics>) -> io::Result<Self> {
        disk::ensure_path(&*settings.disk, &settings.dir)?;
        let id = identity::load_or_mint(&*settings.disk, &settings.dir.join("journal.id"))?;
        let results = Opening::recover(settings, StreamName::Results, Offset(0), metrics)?;
        let emitted = recall::emitted(&results.stored())?;
        let floor = emitted.values().copied().max().unwrap_or_default().max(settings.readings_floor);
        let readings = Opening::recover(settings, StreamName::Readings, floor, metrics)?;
        let last_clock = recall::last_clock(&readings.stored())?;
        let dead_letters = Opening::recover(settings, StreamName::DeadLetters, Offset(0), metrics)?;
        let core = |opening: Opening| opening.core(settings, &emitted, metrics);
        Ok(Self {
            id: id.into(),
            readings: core(readings)?,
            results: core(results)?,
            dead_letters: core(dead_letters)?,
            last_clock,
            emitted,
        })
    }
}

/// A stream between its recovery and its writer.
struct Opening {
    kind: StreamName,
    folder: Folder,
    recovered: Recovered,
    started: Instant,
}

impl Opening {
    fn recover(settings: &Settings, kind: StreamName, floor: Offset, metrics: &Metrics) -> io::Result<Self> {
        let started = clock::monotonic();
        let folder = settings.folder(kind);
        disk::ensure_dir(&*folder.disk, &folder.dir)?;
        let recovered = recover::open(&folder, floor)?;
        report(kind, &folder, &recovered, metrics);
        Ok(Self { kind, folder, recovered, started })
    }

    fn stored(&self) -> Stored<'_> {
        Stored { folder: &self.folder, bases: &self.recovered.bases, next: self.recovered.next }
    }

    fn core(
        self,
        settings: &Settings,
        emitted: &BTreeMap<Arc<str>, Offset>,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Core> {
        let duplicates = match self.kind {
            StreamName::Results => Duplicates::default(),
            StreamName::Readings | StreamName::DeadLetters => remembered(&self.stored(), settings.remember)?,
        };
        let Self { kind, folder, recovered, started } = self;
        let Recovered { segment, bases, next, .. } = recovered;
        let shared = Arc::new(Shared::new(kind, folder, bases, next, metrics));
        JournalRecovered { stream: kind.as_str(), next_offset: next.0, took: started.elapsed() }
            .record(metrics);
        Ok(Core::new(shared, segment, duplicates, emitted.clone()))
    }
}

fn report(kind: StreamName, folder: &Folder, recovered: &Recovered, metrics: &Metrics) {
    if recovered.torn_bytes > 0 {
        TornTail { stream: kind.as_str(), segment: &folder.dir.display(), bytes: recovered.torn_bytes }
            .record(metrics);
    }
    if recovered.damaged > 0 {
        tracing::error!(
            stream = kind.as_str(),
            places = recovered.damaged,
            "damaged frames below durable ones"
        );
    }
}

fn remembered(stream: &Stored, remember: Duration) -> io::Result<Duplicates> {
    let mut duplicates = Duplicates::default();
    let since = clock::now().nanos().saturating_sub(remember.as_nanos() as i64);
    let memory = recall::Memory { since: Timestamp::from_nanos(since), count_max: dedup::GENERATION_MAX };
    for (identity, original) in recall::identities(stream, memory)? {
        duplicates.insert(identity, original);
    }
    Ok(duplicates)
}
