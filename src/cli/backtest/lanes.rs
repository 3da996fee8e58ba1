//! All lanes of a configuration in one thread: what a backtest runs instead of actors.

use std::sync::Arc;

use super::JOURNAL_ID;
use crate::config::Config;
use crate::engine::emission::Effects;
use crate::engine::offline::Offline;
use crate::engine::plan::{self, LanePlan};
use crate::model::{Batch, Offset};

/// Every lane, each with its own states.
pub struct Lanes(Vec<Offline>);

impl Lanes {
    /// The lanes of `config` before any reading.
    pub fn new(config: &Arc<Config>) -> Self {
        let plan = |lane: &Arc<str>| Offline::new(LanePlan::new(config, lane, JOURNAL_ID));
        Self(plan::lanes(config).iter().map(plan).collect())
    }

    /// Applies a batch. The effects are sorted, as if there were one lane.
    pub fn on_batch(&mut self, batch: &Batch) -> Effects {
        together(self.0.iter_mut().map(|lane| lane.on_batch(batch)))
    }

    /// The input ends after `end`: everything open fires.
    pub fn finish(&mut self, end: Offset) -> Effects {
        together(self.0.iter_mut().map(|lane| lane.finish(end)))
    }
}

fn together(mut effects: impl Iterator<Item = Effects>) -> Effects {
    let mut all = effects.next().unwrap_or_default();
    let mut is_sorted = true;
    for more in effects {
        all.merge(more);
        is_sorted = false;
    }
    if !is_sorted {
        all.sort();
    }
    all
}
