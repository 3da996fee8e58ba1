//! From a data directory to the writers of its streams: recovery, what is remembered, what is reported.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ballast::{self, Ballast};
use super::core::Core;
use super::dedup::{self, Duplicates};
use super::disk::{self, Disk, RealDisk};
use super::emitted::Emitted;
use super::extents::{Extent, Extents, Opened};
use super::last_clock::LastClock;
use super::pins::Pins;
use super::recall::{self, Stored};
use super::record::Clock;
use super::recover::{self, Recovered};
use super::segment::{Folder, SEGMENT_BYTES, Spares};
use super::shared::{Common, OnDisk, Shared};
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
    /// The least next offset of each stream: one more than any cursor outside the journal knows.
    pub floors: BTreeMap<StreamName, Offset>,
    /// How long a message's identity is remembered over a restart.
    pub remember: Duration,
    /// Size at which a segment is closed and the next one opened.
    pub segment_bytes: u64,
    /// Room kept back for a full disk; 0: none.
    pub ballast_bytes: u64,
    /// The id of the machine, if it has one: a journal that comes from another takes a new id.
    pub machine: Option<String>,
    /// The disk that holds `dir`.
    pub disk: Arc<dyn Disk>,
    /// On which threads the streams are written.
    pub writers: Writers,
}

impl Settings {
    /// A journal in `dir` on the real disk, each commit at once, no ballast, nothing known from elsewhere.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            linger: Duration::ZERO,
            floors: BTreeMap::new(),
            remember: Duration::from_secs(600),
            segment_bytes: SEGMENT_BYTES,
            ballast_bytes: 0,
            machine: None,
            disk: Arc::new(RealDisk),
            writers: Writers::OwnThreads,
        }
    }

    fn floor(&self, stream: StreamName) -> Offset {
        self.floors.get(&stream).copied().unwrap_or_default()
    }

    fn ballast(&self, metrics: &Arc<Metrics>) -> Arc<Ballast> {
        let sizes = ballast::Sizes { ballast_bytes: self.ballast_bytes, reserve_bytes: self.segment_bytes };
        Arc::new(Ballast::find(&self.disk, &self.dir, sizes, metrics))
    }

    fn folder(&self, stream: StreamName, ballast: &Arc<Ballast>) -> Folder {
        let dir = self.dir.join(stream.as_str());
        let spares = match self.writers {
            Writers::OwnThreads if self.disk.blocks() => Spares::Aside,
            Writers::OwnThreads | Writers::On(_) => Spares::Inline,
        };
        let (disk, segment_bytes, ballast) = (self.disk.clone(), self.segment_bytes, ballast.clone());
        Folder { disk, dir, segment_bytes, spares, ballast }
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
    /// As [`super::Journal::emitted`], when it was opened.
    pub emitted: BTreeMap<Arc<str>, Offset>,
    /// As [`super::Journal::last_clock`].
    pub last_clock: Option<Clock>,
    /// As [`super::Journal::pins`].
    pub pins: Arc<Pins>,
    /// As [`super::Journal::ballast`].
    pub ballast: Arc<Ballast>,
}

impl Cores {
    /// Opens or creates the journal; what a crash left is recovered first. Where the disk is full the ballast makes
    /// room for that.
    ///
    /// # Errors
    /// IO errors; [`io::ErrorKind::Unsupported`] if a newer program wrote it (nothing is touched).
    pub fn open(settings: &Settings, metrics: &Arc<Metrics>) -> io::Result<Self> {
        disk::ensure_path(&*settings.disk, &settings.dir)?;
        let ballast = settings.ballast(metrics);
        let cores = match Self::recover(settings, metrics, &ballast) {
            // From now on segments get no room beforehand: that alone may be enough.
            Err(error) if ballast::is_full(&error) => {
                ballast.release("recovery", &error);
                Self::recover(settings, metrics, &ballast)?
            }
            recovered => recovered?,
        };
        ballast.settle();
        Ok(cores)
    }

    fn recover(settings: &Settings, metrics: &Arc<Metrics>, ballast: &Arc<Ballast>) -> io::Result<Self> {
        let id = identity::on_machine(&*settings.disk, &settings.dir, settings.machine.as_deref())?;
        let recover =
            |stream, floor| Opening::recover((stream, settings.folder(stream, ballast)), floor, metrics);
        let results = recover(StreamName::Results, settings.floor(StreamName::Results))?;
        let emitted = recall::emitted(&results.stored())?;
        let floor =
            emitted.values().copied().max().unwrap_or_default().max(settings.floor(StreamName::Readings));
        let readings = recover(StreamName::Readings, floor)?;
        let last_clock = recall::last_clock(&readings.stored())?;
        let dead_letters = recover(StreamName::DeadLetters, settings.floor(StreamName::DeadLetters))?;
        let clock = Arc::new(LastClock::new(last_clock.unwrap_or_default()));
        let common = Common {
            metrics: metrics.clone(),
            clock,
            emitted: Arc::new(Emitted::new(emitted.clone())),
            pins: Arc::default(),
            ballast: ballast.clone(),
        };
        let core = |opening: Opening| opening.core(settings, &common);
        Ok(Self {
            pins: common.pins.clone(),
            ballast: common.ballast.clone(),
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
    fn recover((kind, folder): (StreamName, Folder), floor: Offset, metrics: &Metrics) -> io::Result<Self> {
        let started = clock::monotonic();
        disk::ensure_dir(&*folder.disk, &folder.dir)?;
        let recovered = recover::open(&folder, floor)?;
        report(kind, &folder, &recovered, metrics);
        Ok(Self { kind, folder, recovered, started })
    }

    fn stored(&self) -> Stored<'_> {
        Stored { folder: &self.folder, bases: &self.recovered.bases, next: self.recovered.next }
    }

    fn core(self, settings: &Settings, common: &Common) -> io::Result<Core> {
        let duplicates = match self.kind {
            StreamName::Results => Duplicates::default(),
            StreamName::Readings | StreamName::DeadLetters => remembered(&self.stored(), settings.remember)?,
        };
        let extents = self.extents(common)?;
        let Self { kind, folder, recovered, started } = self;
        let Recovered { segment, next, .. } = recovered;
        let shared = Arc::new(Shared::new(kind, OnDisk { folder, extents, next }, common));
        JournalRecovered { stream: kind.as_str(), next_offset: next.0, took: started.elapsed() }
            .record(&common.metrics);
        Ok(Core::new(shared, segment, duplicates))
    }

    /// The segments as retention sees them: when earlier ones were begun is read once that matters.
    fn extents(&self, common: &Common) -> io::Result<Extents> {
        let Recovered { segment, bases, .. } = &self.recovered;
        let sizes = self.folder.sizes()?;
        let earlier = bases.iter().filter(|base| **base != segment.base()).map(|base| {
            let bytes = sizes.get(base).copied().unwrap_or_default();
            Extent { base: *base, bytes, opened: Opened::Unread }
        });
        let mut extents = Extents::new(earlier.collect());
        extents.open(segment.base(), Duration::from_nanos(common.clock.get().service_ns));
        extents.grow(segment.bytes());
        Ok(extents)
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
