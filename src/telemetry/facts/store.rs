//! Facts of the state store: damage, restoring, dumps.

use std::fmt::Display;
use std::time::Duration;

use tracing::{error, info, warn};

use super::Fact;
use crate::telemetry::{Metrics, clock};

/// The store was not what had been written and was taken out of use.
pub struct StoreDamaged<'a> {
    /// What was found.
    pub why: &'a str,
    /// Where it was moved; `None` if nothing was there.
    pub place: Option<&'a str>,
}

impl Fact for StoreDamaged<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.store_damaged.inc();
        let why = self.why;
        match self.place {
            Some(place) => error!(
                why,
                place,
                "state store damaged, set aside and restored; nothing acknowledged is lost. Check the disk, then delete the directory"
            ),
            None => warn!(why, "the state store is gone, it is restored"),
        }
    }
}

/// A new store was filled and is in use.
pub struct StoreRestored<'a> {
    /// The dump it was filled from; `None`: lanes compute all states anew from the journal.
    pub dump: Option<&'a str>,
    /// What is in it.
    pub rows: &'a str,
    /// How long it took.
    pub took: Duration,
}

impl Fact for StoreRestored<'_> {
    fn record(&self, _: &Metrics) {
        let (rows, took) = (self.rows, self.took);
        match self.dump {
            Some(dump) => {
                warn!(dump, rows, ?took, "state store restored from a dump, lanes go on from there")
            }
            None => warn!(rows, ?took, "no dump to restore, lanes go on from the journal's oldest record"),
        }
    }
}

/// Lanes run again on a store that was mended while the gateway ran.
pub struct LanesRestarted {
    /// How long no lane ran.
    pub took: Duration,
}

impl Fact for LanesRestarted {
    fn record(&self, metrics: &Metrics) {
        metrics.lanes_restarted.inc();
        warn!(took = ?self.took, "lanes run again, they catch up from the journal; nothing is lost or put out twice");
    }
}

/// A dump of the store was written and read back.
pub struct StoreDumped<'a> {
    /// Its file.
    pub path: &'a dyn Display,
    /// Rows in it.
    pub rows: u64,
    /// How long it took.
    pub took: Duration,
}

impl Fact for StoreDumped<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.store_dump_seconds.observe(self.took.as_secs_f64());
        metrics.store_last_dump_timestamp_seconds.set(clock::now().nanos() / 1_000_000_000);
        info!(path = %self.path, rows = self.rows, took = ?self.took, "state store dumped");
    }
}

/// A dump could not be written; the older ones stay.
pub struct StoreDumpFailed<'a> {
    /// What went wrong.
    pub error: &'a dyn Display,
}

impl Fact for StoreDumpFailed<'_> {
    fn record(&self, metrics: &Metrics) {
        metrics.store_dump_failures.inc();
        warn!(error = %self.error, "state store not dumped, the older dump stays and will be tried again");
    }
}
