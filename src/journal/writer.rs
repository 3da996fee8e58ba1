//! `JournalActor`: a stream's [`Core`] behind a mailbox, on a thread that may block.
//!
//! Appends wait in the mailbox while a sync runs and form the next group. Two syncs start at least `linger`
//! apart, so a quiet stream commits at once and a busy one in groups.
//!
//! The mailbox is bounded by bytes: an append carries a permit of the stream's budget and gives it back
//! when it is committed or refused.

use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;

use super::Refused;
use super::budget::Permit;
use super::core::{Core, Now};
use super::group::{Receipt, Work};
use super::retention::Limits;
use crate::telemetry::clock;

/// Mailbox capacity. The byte budget is the real bound: an append takes at least `1/MAILBOX_MAX` of it.
pub const MAILBOX_MAX: usize = 65_536;

/// From one look at what may be removed to the next.
const TRIM_EVERY: Duration = Duration::from_secs(5);

/// On which threads writers run.
#[derive(Clone, Debug, Default)]
pub enum Writers {
    /// Each on one of its own: a stream whose disk stands still does not stop the others.
    #[default]
    OwnThreads,
    /// All on this one, for tests in virtual time.
    On(ArbiterHandle),
}

/// One append on its way to the disk.
pub struct Append {
    pub(super) work: Work,
    pub(super) done: oneshot::Sender<Result<Receipt, Refused>>,
    pub(super) permit: Permit,
}

impl Message for Append {
    type Result = ();
}

/// Commits what waits.
pub struct Settle;

impl Message for Settle {
    type Result = ();
}

/// Commits what waits and stops the writer.
pub struct Close;

impl Message for Close {
    type Result = ();
}

/// From now on the stream is kept within these limits.
pub struct Retain(pub(super) Limits);

impl Message for Retain {
    type Result = ();
}

/// Where a stream's appends go.
pub type Address = Addr<JournalActor>;

/// The writer of one stream.
pub struct JournalActor {
    core: Core,
    linger: Duration,
    waiting: Vec<Append>,
    commit_is_due: bool,
    committed_at: Option<Instant>,
    trims: bool,
}

impl JournalActor {
    /// Starts the writer and returns its address.
    pub fn spawn(core: Core, linger: Duration, threads: &Writers) -> Addr<Self> {
        let arbiter = match threads {
            Writers::OwnThreads => Arbiter::new().handle(),
            Writers::On(arbiter) => arbiter.clone(),
        };
        Self::start_in_arbiter(&arbiter, move |ctx| {
            ctx.set_mailbox_capacity(MAILBOX_MAX);
            Self { core, linger, waiting: Vec::new(), commit_is_due: false, committed_at: None, trims: false }
        })
    }

    /// Runs when the mailbox is drained (actix polls spawned futures after it), or when the linger is over.
    fn schedule(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.commit_is_due, true) {
            return;
        }
        let rest = self.committed_at.map_or(Duration::ZERO, |at| self.linger.saturating_sub(at.elapsed()));
        if rest.is_zero() {
            ctx.spawn(async {}.into_actor(self).map(|(), actor, _| actor.commit()));
        } else {
            ctx.run_later(rest, |actor, _| actor.commit());
        }
    }

    fn commit(&mut self) {
        self.commit_is_due = false;
        if self.waiting.is_empty() {
            return;
        }
        self.committed_at = Some(clock::monotonic());
        let waiting = std::mem::take(&mut self.waiting);
        let (works, senders): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|append| (append.work, (append.done, append.permit))).unzip();
        let receipts = self.core.commit(works, Now::read());
        for (receipt, (done, _permit)) in receipts.into_iter().zip(senders) {
            // Whoever appended may have gone; what is durable stays so.
            let _ = done.send(receipt);
        }
        self.core.upkeep(Now::read());
    }
}

impl Actor for JournalActor {
    type Context = Context<Self>;
}

impl Handler<Append> for JournalActor {
    type Result = ();

    fn handle(&mut self, append: Append, ctx: &mut Context<Self>) {
        self.waiting.push(append);
        self.schedule(ctx);
    }
}

impl Handler<Retain> for JournalActor {
    type Result = ();

    fn handle(&mut self, Retain(limits): Retain, ctx: &mut Context<Self>) {
        self.core.retain(limits);
        self.core.trim(Now::read());
        if !std::mem::replace(&mut self.trims, true) {
            ctx.run_interval(TRIM_EVERY, |actor, _| actor.core.trim(Now::read()));
        }
    }
}

impl Handler<Settle> for JournalActor {
    type Result = ();

    fn handle(&mut self, _: Settle, _: &mut Context<Self>) {
        self.commit();
    }
}

impl Handler<Close> for JournalActor {
    type Result = ();

    fn handle(&mut self, _: Close, ctx: &mut Context<Self>) {
        self.commit();
        self.core.close();
        ctx.stop();
    }
}
