//! Configurations by their texts: a lane follows the `Config` records of the journal, so it may be at an older text
//! than the newest one.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{Config, from_record};
use crate::engine::plan;
use crate::journal::{Content, Record, Stream};
use crate::model::Offset;

/// The newest configuration, and the way to older ones.
pub struct Texts {
    newest: Mutex<Newest>,
}

/// What the texts of the past say of a lane.
pub enum Naming {
    /// Nothing: none is kept.
    Unknown,
    /// The last one does not name it.
    NoMore,
    /// All since the record at this offset name it; the first of them.
    Since(Offset, Arc<Config>),
}

struct Newest {
    config: Arc<Config>,
    /// In force from here on.
    since: Offset,
    /// Lanes that have ended because it does not name them.
    retired: BTreeSet<Arc<str>>,
}

impl Texts {
    /// With `config` as the newest, in force from `since` on.
    pub fn new(config: Arc<Config>, since: Offset) -> Self {
        Self { newest: Mutex::new(Newest { config, since, retired: BTreeSet::new() }) }
    }

    /// The newest configuration.
    pub fn newest(&self) -> Arc<Config> {
        self.locked().config.clone()
    }

    /// Makes `config` the newest, in force from `since` on; lanes it names that have retired, which may begin again.
    pub fn exchange(&self, config: &Arc<Config>, since: Offset) -> Vec<Arc<str>> {
        let mut newest = self.locked();
        (newest.config, newest.since) = (config.clone(), since);
        let lanes = plan::lanes(config);
        lanes.into_iter().filter(|lane| newest.retired.remove(lane)).collect()
    }

    /// Whether `lane` has retired.
    pub fn is_retired(&self, lane: &str) -> bool {
        self.locked().retired.contains(lane)
    }

    /// Whether `lane`, which stands at `position`, has come to the newest configuration and is not named by it: it is
    /// taken for ended then. Before that, a text between may name it.
    pub fn retire(&self, lane: &Arc<str>, position: Offset) -> bool {
        let mut newest = self.locked();
        let is_over = position >= newest.since && !plan::lanes(&newest.config).contains(lane);
        if is_over {
            newest.retired.insert(lane.clone());
        }
        is_over
    }

    /// The configuration of `text`, as a `Config` record keeps it; `None`, said in the log, if this program does not
    /// understand it any more.
    pub fn find(&self, text: &str) -> Option<Arc<Config>> {
        let newest = self.newest();
        if *newest.text == *text {
            return Some(newest);
        }
        match from_record(text) {
            Ok(config) => Some(Arc::new(config)),
            Err(problems) => {
                tracing::warn!(%problems, "a configuration of the past is not understood any more");
                None
            }
        }
    }

    /// The configuration that the record at `at` holds, if it can still be read.
    ///
    /// # Errors
    /// IO errors of the journal.
    pub async fn at(&self, readings: &Stream, at: Offset) -> io::Result<Option<Arc<Config>>> {
        let chunk = readings.reader(at).try_next().await?;
        let content = chunk.filter(|chunk| chunk.base == at).map(|chunk| chunk.content);
        let Some(Content::Record(record)) = content else { return Ok(None) };
        let Record::Config { text, .. } = &*record else { return Ok(None) };
        Ok(self.find(text))
    }

    /// Since when, below `end`, all texts name `lane`.
    ///
    /// # Errors
    /// IO errors of the journal.
    pub async fn first_naming(&self, readings: &Stream, lane: &Arc<str>, end: Offset) -> io::Result<Naming> {
        let (mut reader, mut naming) = (readings.reader(readings.oldest()), Naming::Unknown);
        while reader.position() < end {
            let Some(chunk) = reader.try_next().await? else { break };
            let Content::Record(record) = &chunk.content else { continue };
            let Record::Config { text, .. } = &**record else { continue };
            let Some(config) = self.find(text) else { continue };
            naming = match naming {
                _ if !plan::lanes(&config).contains(lane) => Naming::NoMore,
                Naming::Since(at, first) => Naming::Since(at, first),
                Naming::Unknown | Naming::NoMore => Naming::Since(chunk.base, config),
            };
        }
        Ok(naming)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
