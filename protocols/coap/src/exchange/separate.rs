//! Separate responses on their way: retransmission with exponential back-off (RFC 7252 §4.2).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Full, Key, Outgoing};
use crate::Timing;

#[derive(Debug)]
struct Separate {
    datagram: Bytes,
    timeout: Duration,
    retransmits: u32,
}

/// Confirmable messages without an acknowledgement yet.
#[derive(Debug)]
pub(super) struct Separates {
    waiting: HashMap<Key, Separate>,
    /// One entry per retransmission due; those of settled messages are skipped when their time comes.
    due: BinaryHeap<Reverse<(Instant, Key)>>,
    waiting_max: usize,
    random: fastrand::Rng,
}

impl Separates {
    pub(super) fn new(waiting_max: usize, random: fastrand::Rng) -> Self {
        Self { waiting: HashMap::new(), due: BinaryHeap::new(), waiting_max, random }
    }

    /// Starts to watch over a message just sent.
    pub(super) fn track(
        &mut self,
        now: Instant,
        key: Key,
        datagram: Bytes,
        timing: &Timing,
    ) -> Result<(), Full> {
        // The heap holds settled messages for up to one timeout more, hence its own, equal bound.
        if self.due.len() >= self.waiting_max {
            return Err(Full);
        }
        let timeout = timing.ack_timeout.mul_f64(1.0 + self.random.f64() / 2.0);
        self.waiting.insert(key, Separate { datagram, timeout, retransmits: 0 });
        self.due.push(Reverse((now + timeout, key)));
        Ok(())
    }

    /// Stops watching; says whether the message was known.
    pub(super) fn settle(&mut self, key: Key) -> bool {
        self.waiting.remove(&key).is_some()
    }

    /// Sends again what is due; returns how many were given up.
    pub(super) fn poll(&mut self, now: Instant, retransmits_max: u32, outgoing: &mut Vec<Outgoing>) -> usize {
        let mut given_up = 0;
        while let Some(&Reverse((due, key))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            let Some(separate) = self.waiting.get_mut(&key) else { continue };
            if separate.retransmits == retransmits_max {
                self.waiting.remove(&key);
                given_up += 1;
                continue;
            }
            separate.retransmits += 1;
            separate.timeout *= 2;
            outgoing.push(Outgoing { peer: key.peer, datagram: separate.datagram.clone() });
            self.due.push(Reverse((now + separate.timeout, key)));
        }
        given_up
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }
}
