//! Who is connected under which client id: a newcomer ends the connection before it.
//!
//! The newcomer never waits for the old connection, which may be stuck in a write; it only cancels it.
//! Invariant: an entry belongs to the latest connection of its id; a leaving connection removes only
//! its own entry.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Connected client ids of one server.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: Mutex<HashMap<String, Entry>>,
    next_ticket: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    ticket: u64,
    stop: CancellationToken,
}

impl Registry {
    /// Enters a connection under its client id and cancels the one that held it.
    pub fn enter(&self, client_id: String, stop: CancellationToken) -> Registration<'_> {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let before = self.lock().insert(client_id.clone(), Entry { ticket, stop });
        if let Some(before) = before {
            before.stop.cancel();
        }
        Registration { registry: self, client_id, ticket }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // No call made under the lock can leave the map half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the registry; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Registration<'a> {
    registry: &'a Registry,
    client_id: String,
    ticket: u64,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let mut entries = self.registry.lock();
        if entries.get(&self.client_id).is_some_and(|entry| entry.ticket == self.ticket) {
            entries.remove(&self.client_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_stops_the_holder_and_survives_its_leaving() {
        let registry = Registry::default();
        let (first_stop, second_stop) = (CancellationToken::new(), CancellationToken::new());
        let first = registry.enter("a".into(), first_stop.clone());
        let _other = registry.enter("b".into(), CancellationToken::new());
        assert!(!first_stop.is_cancelled());
        let second = registry.enter("a".into(), second_stop.clone());
        assert!(first_stop.is_cancelled() && !second_stop.is_cancelled());
        drop(first);
        assert_eq!(registry.lock().len(), 2);
        drop(second);
        assert_eq!(registry.lock().len(), 1);
    }
}
