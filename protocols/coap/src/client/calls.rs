//! The client's outstanding calls: message ids, tokens, and who waits for what.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::{Response, Token};

/// How long a message id may not be used again (RFC 7252 §4.8.2, EXCHANGE_LIFETIME).
const ID_LIFETIME: Duration = Duration::from_secs(247);
/// Answered calls remembered, so that a separate response sent twice is acknowledged twice.
const ANSWERED_MAX: usize = 256;

/// How far a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing heard.
    Sent,
    /// An empty ACK: the answer comes by itself.
    Acknowledged,
    /// Rejected.
    Reset,
    /// Done.
    Answered(Response),
}

/// Whether a response was for one of our calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Expected,
    Unknown,
}

/// Shared by the callers and the reader.
#[derive(Debug)]
pub(super) struct Calls(Mutex<Table>);

#[derive(Debug)]
struct Table {
    waiting: HashMap<u16, (Token, watch::Sender<Progress>)>,
    answered: VecDeque<Token>,
    ids: Ids,
}

impl Default for Calls {
    fn default() -> Self {
        let ids = Ids { next: fastrand::u16(..), used_at: [None; 256] };
        Self(Mutex::new(Table { waiting: HashMap::new(), answered: VecDeque::new(), ids }))
    }
}

impl Calls {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an id and a token for a call; `None` if the ids are used up.
    pub(super) fn register(&self) -> Option<Waiting<'_>> {
        let mut table = self.table();
        let message_id = table.ids.take(Instant::now())?;
        // The id leads back to the call; the random rest keeps others from guessing the token.
        let [high, low] = message_id.to_be_bytes();
        let [a, b, c, d] = fastrand::u32(..).to_be_bytes();
        let token = Token::new(&[high, low, a, b, c, d]).expect("six bytes are at most eight");
        let (sender, progress) = watch::channel(Progress::Sent);
        table.waiting.insert(message_id, (token, sender));
        Some(Waiting { calls: self, message_id, token, progress })
    }

    /// Notes an ACK or RST by its message id.
    pub(super) fn progress(&self, message_id: u16, progress: Progress) {
        if let Some((_, sender)) = self.table().waiting.get(&message_id) {
            sender.send_if_modified(|current| {
                let is_first = *current == Progress::Sent;
                if is_first {
                    *current = progress;
                }
                is_first
            });
        }
    }

    /// Hands a response to its call.
    pub(super) fn deliver(&self, token: Token, response: Response) -> Delivery {
        let mut table = self.table();
        let message_id = token.as_slice().first_chunk().map(|id| u16::from_be_bytes(*id));
        match message_id.and_then(|id| table.waiting.get(&id)) {
            Some((expected, sender)) if *expected == token => {
                sender.send_replace(Progress::Answered(response));
                table.remember(token);
                Delivery::Expected
            }
            _ if table.answered.contains(&token) => Delivery::Expected,
            _ => Delivery::Unknown,
        }
    }
}

impl Table {
    fn remember(&mut self, token: Token) {
        if self.answered.len() == ANSWERED_MAX {
            self.answered.pop_front();
        }
        self.answered.push_back(token);
    }
}

/// A registered call; leaves the table when dropped.
pub(super) struct Waiting<'a> {
    calls: &'a Calls,
    pub(super) message_id: u16,
    pub(super) token: Token,
    progress: watch::Receiver<Progress>,
}

impl Waiting<'_> {
    /// Waits until the progress satisfies the condition.
    pub(super) async fn until(&mut self, condition: impl FnMut(&Progress) -> bool) -> Progress {
        self.progress.wait_for(condition).await.map(|progress| progress.clone()).unwrap_or(Progress::Reset)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.calls.table().waiting.remove(&self.message_id);
    }
}

/// Message ids in order, from a random start, none used twice within its lifetime.
#[derive(Debug)]
struct Ids {
    next: u16,
    /// When each run of 256 ids was last used; checked when the run is entered again.
    used_at: [Option<Instant>; 256],
}

impl Ids {
    fn take(&mut self, now: Instant) -> Option<u16> {
        let [run, within] = self.next.to_be_bytes();
        let used_at = &mut self.used_at[usize::from(run)];
        if within == 0 && used_at.is_some_and(|at| now.saturating_duration_since(at) < ID_LIFETIME) {
            return None;
        }
        *used_at = Some(now);
        let id = self.next;
        self.next = id.wrapping_add(1);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_are_not_used_twice_within_their_lifetime() {
        let start = Instant::now();
        let mut ids = Ids { next: 0, used_at: [None; 256] };
        let taken: Vec<_> = std::iter::from_fn(|| ids.take(start)).collect();
        assert_eq!(taken, (0..=u16::MAX).collect::<Vec<_>>());
        assert_eq!(ids.take(start + ID_LIFETIME - Duration::from_millis(1)), None);
        assert_eq!(ids.take(start + ID_LIFETIME), Some(0));
    }
}
