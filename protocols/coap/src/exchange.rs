//! The message layer of the server: which message ids were seen, and what is still to be sent for them.
//!
//! Stands between the guard and the host. A request is `open`ed once and `answer`ed once; in between its
//! duplicates are silent or get an empty ACK, afterwards they get the stored bytes (RFC 7252 §4.2, §4.3, §4.5).
//! An answer within the piggy-back time rides on the ACK (§5.2.1); a later one is a CON of its own (§5.2.2),
//! retransmitted until it is acknowledged, reset, or given up.
//!
//! Pure: time comes in as `now`, what is to be sent goes out as values. Invariants: an id in progress is never
//! forgotten; ids expire in the order of their arrival; every table stays within its limit.

mod separate;
mod store;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::block::{Block, Slice};
use crate::guard::Kind;
use crate::wire::{self, Head};
use crate::{Dropped, Reliability, Response, Settings, Timing, Token};
use separate::Separates;
use store::{Entry, Store};

/// Who sent which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub peer: SocketAddr,
    pub message_id: u16,
}

/// One datagram to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub peer: SocketAddr,
    pub datagram: Bytes,
}

/// What a message id is known for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A new request.
    Never,
    /// A duplicate, and what it gets.
    Before(Option<Outgoing>),
}

/// Every remembered id is in progress, and there is no room for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The answer to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply<'a> {
    /// The client does not want to hear it (RFC 7967): a CON gets an empty ACK, a NON nothing.
    Suppressed,
    /// The response, the upload block it acknowledges, the slice of it that is sent.
    Response { response: &'a Response, block1: Option<Block>, slice: Option<&'a Slice> },
}

/// All exchanges of one socket.
#[derive(Debug)]
pub(crate) struct Exchanges {
    timing: Timing,
    store: Store,
    separates: Separates,
    /// When to acknowledge what is still in progress, oldest first.
    acks_due: VecDeque<(Instant, Key)>,
    next_message_id: u16,
    dropped: Vec<Dropped>,
}

impl Exchanges {
    /// Starts empty, with message ids and timeouts derived from the seed.
    pub(crate) fn new(settings: &Settings, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            timing: settings.timing.clone(),
            store: Store::new(settings.exchanges_max, &settings.timing),
            acks_due: VecDeque::new(),
            next_message_id: random.u16(..),
            separates: Separates::new(settings.separates_max, random),
            dropped: Vec::new(),
        }
    }

    /// Looks a message id up.
    pub(crate) fn seen(&mut self, key: Key) -> Seen {
        let datagram = match self.store.get_mut(key) {
            None => return Seen::Never,
            Some(Entry::Pending { acknowledged: true, .. }) => Some(empty_ack(key)),
            Some(Entry::Pending { .. }) => None,
            Some(Entry::Answered(reply)) => reply.clone(),
        };
        Seen::Before(datagram.map(|datagram| Outgoing { peer: key.peer, datagram }))
    }

    /// Remembers a new request as in progress.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        key: Key,
        reliability: Reliability,
        token: Token,
    ) -> Result<(), Full> {
        if self.store.insert(now, key, reliability, token)?.is_some() {
            self.dropped.push(Dropped::ForgottenEarly);
        }
        if reliability == Reliability::Confirmable {
            self.forget_acks_done();
            self.acks_due.push_back((now + self.timing.piggyback, key));
        }
        Ok(())
    }

    /// Keeps the queue as short as the work in progress: what is answered in time leaves from the front.
    fn forget_acks_done(&mut self) {
        while let Some(&(_, key)) = self.acks_due.front() {
            if matches!(self.store.get_mut(key), Some(Entry::Pending { acknowledged: false, .. })) {
                return;
            }
            self.acks_due.pop_front();
        }
    }

    /// Ends a request in progress; the bytes are kept for its duplicates.
    pub(crate) fn answer(&mut self, now: Instant, key: Key, reply: Reply<'_>) -> Option<Outgoing> {
        let &mut Entry::Pending { reliability, token, acknowledged } = self.store.get_mut(key)? else {
            return None;
        };
        let (kind, message_id) = match (reliability, acknowledged) {
            (Reliability::Confirmable, false) => (Kind::Acknowledgement, key.message_id),
            (Reliability::Confirmable, true) => (Kind::Confirmable, self.take_message_id()),
            (Reliability::NonConfirmable, _) => (Kind::NonConfirmable, self.take_message_id()),
        };
        let sent = match reply {
            Reply::Response { response, block1, slice } => {
                Some(wire::encode_response(Head { kind, message_id, token }, response, block1, slice))
            }
            Reply::Suppressed => (kind == Kind::Acknowledgement).then(|| empty_ack(key)),
        };
        let stored = if acknowledged { Some(empty_ack(key)) } else { sent.clone() };
        self.store.answer(key, stored);
        let outgoing = Outgoing { peer: key.peer, datagram: sent? };
        if kind == Kind::Confirmable {
            self.track(now, Key { message_id, ..key }, &outgoing.datagram);
        }
        Some(outgoing)
    }

    fn track(&mut self, now: Instant, key: Key, datagram: &Bytes) {
        if self.separates.track(now, key, datagram.clone(), &self.timing).is_err() {
            self.dropped.push(Dropped::NotRetransmitted);
        }
    }

    /// The bytes of an answer that is not remembered: the next attempt is looked at anew.
    pub(crate) fn refuse(
        &mut self,
        key: Key,
        reliability: Reliability,
        token: Token,
        response: &Response,
    ) -> Outgoing {
        let (kind, message_id) = match reliability {
            Reliability::Confirmable => (Kind::Acknowledgement, key.message_id),
            Reliability::NonConfirmable => (Kind::NonConfirmable, self.take_message_id()),
        };
        let datagram = wire::encode_response(Head { kind, message_id, token }, response, None, None);
        Outgoing { peer: key.peer, datagram }
    }

    /// The same for a client that does not want to hear it (RFC 7967 §2.1): a CON is acknowledged all the same.
    pub(crate) fn refuse_silently(&self, key: Key, reliability: Reliability) -> Option<Outgoing> {
        (reliability == Reliability::Confirmable)
            .then(|| Outgoing { peer: key.peer, datagram: empty_ack(key) })
    }

    /// The receiver of a separate response has it.
    pub(crate) fn acknowledged(&mut self, key: Key) {
        self.separates.settle(key);
    }

    /// The receiver of a separate response does not want it.
    pub(crate) fn reset(&mut self, key: Key) {
        if self.separates.settle(key) {
            self.dropped.push(Dropped::Unanswered);
        }
    }

    /// Does what is due: empty ACKs, retransmissions, expiry.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Outgoing> {
        self.store.expire(now);
        let mut outgoing = Vec::new();
        while let Some((_, key)) = self.acks_due.pop_front_if(|(due, _)| *due <= now) {
            if let Some(Entry::Pending { acknowledged, .. }) = self.store.get_mut(key)
                && !std::mem::replace(acknowledged, true)
            {
                outgoing.push(Outgoing { peer: key.peer, datagram: empty_ack(key) });
            }
        }
        let given_up = self.separates.poll(now, self.timing.retransmits_max, &mut outgoing);
        self.dropped.extend(std::iter::repeat_n(Dropped::Unanswered, given_up));
        outgoing
    }

    /// When [`poll`](Self::poll) has something to send; expiry can wait for it or for the next second.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ack = self.acks_due.front().map(|&(due, _)| due);
        [ack, self.separates.deadline()].into_iter().flatten().min()
    }

    /// What was dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> std::vec::Drain<'_, Dropped> {
        self.dropped.drain(..)
    }

    /// One id space for all peers (RFC 7252 §4.4), from a random start.
    fn take_message_id(&mut self) -> u16 {
        let id = self.next_message_id;
        self.next_message_id = id.wrapping_add(1);
        id
    }
}

fn empty_ack(key: Key) -> Bytes {
    wire::encode_empty(Kind::Acknowledgement, key.message_id)
}
