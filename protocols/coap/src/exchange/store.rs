//! Message ids and what became of them, within a limit (RFC 7252 §4.5).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Full, Key};
use crate::{Reliability, Timing, Token};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// The host has it. `acknowledged`: an empty ACK was sent.
    Pending { reliability: Reliability, token: Token, acknowledged: bool },
    /// It was answered; what a duplicate gets, if anything.
    Answered(Option<Bytes>),
}

/// The bounded table.
#[derive(Debug)]
pub(super) struct Store {
    entries: HashMap<Key, Entry>,
    confirmable: Queue,
    non_confirmable: Queue,
    entries_max: usize,
    pending: usize,
}

/// Ids of one lifetime: sorted by expiry without a heap.
#[derive(Debug)]
struct Queue {
    lifetime: Duration,
    expiries: VecDeque<(Instant, Key)>,
}

impl Store {
    pub(super) fn new(entries_max: usize, timing: &Timing) -> Self {
        let queue = |lifetime| Queue { lifetime, expiries: VecDeque::new() };
        Self {
            entries: HashMap::new(),
            confirmable: queue(timing.exchange_lifetime),
            non_confirmable: queue(timing.non_lifetime),
            entries_max,
            pending: 0,
        }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries.get_mut(&key)
    }

    /// Adds a pending entry; returns the finished one that had to leave early, if there was no room.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        key: Key,
        reliability: Reliability,
        token: Token,
    ) -> Result<Option<Key>, Full> {
        self.expire(now);
        let evicted = if self.entries.len() < self.entries_max { None } else { Some(self.evict()?) };
        let queue = match reliability {
            Reliability::Confirmable => &mut self.confirmable,
            Reliability::NonConfirmable => &mut self.non_confirmable,
        };
        queue.expiries.push_back((now + queue.lifetime, key));
        self.entries.insert(key, Entry::Pending { reliability, token, acknowledged: false });
        self.pending += 1;
        Ok(evicted)
    }

    /// Ends a pending entry.
    pub(super) fn answer(&mut self, key: Key, reply: Option<Bytes>) {
        if let Some(entry @ Entry::Pending { .. }) = self.entries.get_mut(&key) {
            *entry = Entry::Answered(reply);
            self.pending -= 1;
        }
    }

    /// Forgets what has lived its time; what is still in progress then lives another one.
    pub(super) fn expire(&mut self, now: Instant) {
        for Queue { lifetime, expiries } in [&mut self.confirmable, &mut self.non_confirmable] {
            while let Some((_, key)) = expiries.pop_front_if(|(expiry, _)| *expiry <= now) {
                if matches!(self.entries.get(&key), Some(Entry::Pending { .. })) {
                    expiries.push_back((now + *lifetime, key));
                } else {
                    self.entries.remove(&key);
                }
            }
        }
    }

    /// Forgets the oldest finished entry, non-confirmable ones first: they carry no promise.
    fn evict(&mut self) -> Result<Key, Full> {
        // Only pending entries can stand before the oldest finished one, so the search is as short as they are few.
        let search = self.pending + 1;
        for Queue { expiries, .. } in [&mut self.non_confirmable, &mut self.confirmable] {
            let mut oldest = expiries.iter().take(search);
            let at = oldest.position(|(_, key)| matches!(self.entries.get(key), Some(Entry::Answered(_))));
            if let Some((_, key)) = at.and_then(|at| expiries.remove(at)) {
                self.entries.remove(&key);
                return Ok(key);
            }
        }
        Err(Full)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.confirmable.expiries.len() + self.non_confirmable.expiries.len());
        self.entries.len()
    }
}
