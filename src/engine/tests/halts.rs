//! Lanes stopped between two steps of a change, as a crash would find them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::lane::Ground;
use crate::engine::steps::Step;

/// By journal: where its next lane to come there stops, after how many others, and whether it has.
static HALTS: Mutex<BTreeMap<Arc<str>, (Step, usize)>> = Mutex::new(BTreeMap::new());

/// Stops the lane of `journal` that is the one after `others` to reach `step`; it never goes on.
pub(super) fn halt(journal: &Arc<str>, step: Step, others: usize) {
    locked().insert(journal.clone(), (step, others));
}

/// Whether a lane of `journal` is still to be stopped.
pub(super) fn is_armed(journal: &Arc<str>) -> bool {
    locked().contains_key(journal)
}

/// Says that a step is done; stops there if a test wants it.
pub async fn reached(ground: &Ground, step: Step) {
    let is_halted = {
        let mut halts = locked();
        match halts.get_mut(&ground.journal_id) {
            Some((wanted, 0)) if *wanted == step => halts.remove(&ground.journal_id).is_some(),
            Some((wanted, others)) if *wanted == step => {
                *others -= 1;
                false
            }
            _ => false,
        }
    };
    if is_halted {
        std::future::pending::<()>().await;
    }
}

fn locked() -> std::sync::MutexGuard<'static, BTreeMap<Arc<str>, (Step, usize)>> {
    HALTS.lock().unwrap_or_else(PoisonError::into_inner)
}
