//! Deadlines of a connection, at the cost of a few relaxed atomics per request.
//!
//! Everything of a connection is polled by one task. So the stream and the exchange only note *where*
//! the connection stands ([`Watch`]); the [`Watchdog`], polled last, notes *since when*, and arms its
//! one timer. The timer is moved only when a deadline comes nearer or when it fires too early: a busy
//! connection touches the timer wheel about once per idle timeout, not once per request.
//!
//! A partial head that came together with an earlier request is not seen as such: it falls under the
//! idle timeout until its next byte.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::Settings;

const PHASE_MASK: u32 = 0b11;
const ONE_REQUEST: u32 = 0b100;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for a request.
    Idle = 0,
    /// Has seen the first bytes of a head.
    Head = 1,
    /// Reads a body (with a deadline of its own) or waits for the host.
    Busy = 2,
    /// Says goodbye.
    Closing = 3,
}

/// Where a connection stands, as its parts report it. Shared by them within one task.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Phase, and above it the number of requests, so that two idle times are told apart.
    step: AtomicU32,
    write_blocked: AtomicBool,
    linger: AtomicBool,
}

impl Watch {
    /// Returns the present phase.
    pub(crate) fn phase(&self) -> Phase {
        match self.step.load(Relaxed) & PHASE_MASK {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Busy,
            _ => Phase::Closing,
        }
    }

    fn enter(&self, phase: Phase) {
        let count = self.step.load(Relaxed) & !PHASE_MASK;
        self.step.store(count | phase as u32, Relaxed);
    }

    /// Bytes arrived: between requests they begin a head.
    pub(crate) fn received(&self) {
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// A head is complete.
    pub(crate) fn request_begins(&self) {
        self.step.store(self.step.load(Relaxed).wrapping_add(ONE_REQUEST), Relaxed);
        self.enter(Phase::Busy);
    }

    /// The answer is decided.
    pub(crate) fn response_begins(&self) {
        self.enter(Phase::Idle);
    }

    /// Notes whether the peer takes what is written.
    pub(crate) fn written<T>(&self, result: &Poll<T>) {
        self.write_blocked.store(result.is_pending(), Relaxed);
    }

    /// Something refused is still on its way: closing must wait for it.
    pub(crate) fn leave_unread(&self) {
        self.linger.store(true, Relaxed);
    }

    /// The stream is being closed. A head that never became a request was refused by hyper.
    pub(crate) fn closes(&self) {
        if self.phase() == Phase::Head {
            self.leave_unread();
        }
        self.enter(Phase::Closing);
    }

    /// Returns whether closing must still wait for refused bytes.
    pub(crate) fn lingers(&self) -> bool {
        self.linger.load(Relaxed)
    }

    /// The wait for refused bytes is over.
    pub(crate) fn stop_lingering(&self) {
        self.linger.store(false, Relaxed);
    }

    fn stand(&self) -> (u32, bool) {
        (self.step.load(Relaxed), self.write_blocked.load(Relaxed))
    }
}

/// Which deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    Idle,
    Head,
    Write,
    Closing,
}

/// Measures how long a connection stands where it stands.
#[derive(Debug)]
pub(crate) struct Watchdog<'c> {
    settings: &'c Settings,
    watch: &'c Watch,
    seen: (u32, bool),
    since: Instant,
}

impl<'c> Watchdog<'c> {
    pub(crate) fn new(settings: &'c Settings, watch: &'c Watch) -> Self {
        Self { settings, watch, seen: watch.stand(), since: Instant::now() }
    }

    /// Returns the timer this watchdog is polled with.
    pub(crate) fn timer(&self) -> Sleep {
        tokio::time::sleep_until(self.since + self.settings.idle_timeout)
    }

    /// Resolves when the connection stands too long in one place. Must be polled after the connection.
    pub(crate) fn poll(&mut self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Expired> {
        let stand = self.watch.stand();
        if stand != self.seen {
            self.seen = stand;
            self.since = Instant::now();
        }
        let Some((limit, expired)) = self.limit() else { return Poll::Pending };
        let deadline = self.since + limit;
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(expired);
            }
            timer.as_mut().reset(deadline);
        }
    }

    fn limit(&self) -> Option<(Duration, Expired)> {
        match (self.watch.phase(), self.seen.1) {
            (Phase::Closing, _) => Some((self.settings.linger_timeout, Expired::Closing)),
            (_, true) => Some((self.settings.response_write_timeout, Expired::Write)),
            (Phase::Idle, false) => Some((self.settings.idle_timeout, Expired::Idle)),
            (Phase::Head, false) => Some((self.settings.header_read_timeout, Expired::Head)),
            (Phase::Busy, false) => None,
        }
    }
}
