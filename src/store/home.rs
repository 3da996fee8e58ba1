//! Where a store lies: its engine's files, the manifest and the dumps beside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::backend::Medium;
use super::sled::SledDir;
use crate::telemetry::Metrics;

/// How long opening may take. sled has been seen to hang on damaged files; a large store that is whole opens in
/// seconds.
const OPEN_LIMIT: Duration = Duration::from_secs(60);

/// What a store is opened with.
#[derive(Clone)]
pub struct Setup {
    /// The store's directory; the manifest and the dumps lie beside it.
    pub dir: PathBuf,
    /// The journal that positions in the store refer to: a dump of another journal's store is not used.
    pub journal: Arc<str>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// All places of one store.
#[derive(Clone)]
pub(crate) struct Home {
    pub(super) medium: Arc<dyn Medium>,
    pub(super) manifest: PathBuf,
    /// The dumps' names without their numbers.
    pub(super) dumps: PathBuf,
    pub(super) journal: Arc<str>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) open_limit: Duration,
    /// Whether somebody waits for a dump under way.
    pub(super) is_hurried: Arc<AtomicBool>,
}

/// The manifest of the store in `dir`.
pub(super) fn manifest(dir: &Path) -> PathBuf {
    dir.with_extension("manifest")
}

impl Home {
    pub(super) fn new(Setup { dir, journal, metrics }: Setup) -> Self {
        Self {
            manifest: manifest(&dir),
            dumps: dir.with_file_name("dumps").join("dump"),
            medium: Arc::new(SledDir(dir)),
            journal,
            metrics,
            open_limit: OPEN_LIMIT,
            is_hurried: Arc::default(),
        }
    }

    /// A store on another medium; `setup.dir` says only where the manifest and the dumps lie.
    #[cfg(test)]
    pub(crate) fn on(medium: Arc<dyn Medium>, setup: Setup, open_limit: Duration) -> Self {
        Self { medium, open_limit, ..Self::new(setup) }
    }
}
