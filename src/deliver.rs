//! One task a sink: lease, deliver, confirm; or back off and try again.
//!
//! On the data's path this joins an outbox to a sink. A dead sink stops only its own task: rows wait in the
//! journal. Rows that a counterpart refuses for good go to the dead letters and the rest goes on.
//!
//! Invariants: a row is confirmed only once it is delivered, dead-lettered, or (alerts) outdated; cursors are
//! durable at most [`SAVE_EVERY`] later, so that much is repeated after a crash, unless the sink keeps the
//! cursor itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::config;
use crate::model::RowView;
use crate::outbox::{Delivery, Lease, LeaseLimits, Outbox, OutboxSettings, Progress, Stream};
use crate::route::Wants;
use crate::sink::{
    self, CursorKeeper, OpenError, Profile, Rejected, RetryRows, Sink, SinkError, WaitedAlerts,
};

pub mod ports;
pub mod retry;
pub mod settle;
pub mod stop;

pub use ports::{BuryError, DeadLetters, Observer, Ports, Undeliverable};
use retry::{Breaker, Retrier};
use settle::{Settled, settle};
pub use stop::Stop;

/// How late cursors may be made durable.
pub const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How long a delivery in flight may take to end after the shutdown began.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How often a waiting delivery says how far it is behind.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// How long to wait after a stream could not be read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Rows of an outage looked at together, to find each episode's current state.
const OUTAGE_ROWS_MAX: usize = 10_000;
/// Bytes of such rows, roughly.
const OUTAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The delivery of one sink.
pub struct Courier {
    name: Arc<str>,
    max_age: Duration,
    outbox: Outbox,
    sink: Box<dyn Sink>,
    profile: Profile,
    retrier: Retrier,
    ports: Ports,
}

/// What a sink reads.
struct Outlet {
    wants: Wants,
    streams: Vec<Box<dyn Stream>>,
}

/// Why an attempt is to be repeated.
struct Failed {
    reason: String,
    asked: Option<Duration>,
}

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Every row is dealt with.
    Done,
    /// The shutdown came first; the rows are leased again after a restart.
    Stopped,
}

impl Courier {
    /// Opens the sink that `config` describes, over one cursor for each stream that `wants` names.
    ///
    /// # Errors
    /// [`OpenError`] where it can never work, or its state cannot be read.
    pub fn open(
        config: &config::Sink,
        wants: Wants,
        streams: Vec<Box<dyn Stream>>,
        ports: Ports,
    ) -> Result<Self, OpenError> {
        let sink = sink::open(config, &ports.http, &ports.cursors)?;
        Self::with_sink(config, sink, Outlet { wants, streams }, ports)
    }

    fn with_sink(
        config: &config::Sink,
        sink: Box<dyn Sink>,
        outlet: Outlet,
        ports: Ports,
    ) -> Result<Self, OpenError> {
        let (name, profile) = (Arc::clone(&config.name), sink.profile());
        let known = match profile.cursor {
            CursorKeeper::Outbox => Outbox::load(&name, &*ports.cursors)?,
            CursorKeeper::Sink => sink.positions(),
        };
        let settings = OutboxSettings {
            sink: Arc::clone(&name),
            wants: outlet.wants,
            start: config.start,
            journal: ports.journal,
        };
        let outbox = Outbox::open(settings, outlet.streams, known);
        // Sinks of one gateway differ in their jitter by their names, gateways by their journals.
        let retrier = Retrier::new(ports.journal.with_text(&name).short());
        Ok(Self { name, max_age: config.max_age, outbox, sink, profile, retrier, ports })
    }

    /// The durable positions, for retention.
    pub fn progress(&self) -> Arc<Progress> {
        self.outbox.progress()
    }

    /// Writes down where a new sink begins, so that a crash before its first delivery does not move the
    /// beginning. To be awaited before anything new can come.
    ///
    /// # Errors
    /// [`OpenError::Cursor`] where the store does not take it. A sink that keeps its cursor with what it writes and
    /// cannot write now only warns: it must not keep the devices out.
    pub async fn begin(&mut self) -> Result<(), OpenError> {
        if !self.outbox.is_dirty() {
            return Ok(());
        }
        match self.profile.cursor {
            CursorKeeper::Outbox => Ok(self.outbox.save(&*self.ports.cursors).await?),
            CursorKeeper::Sink => {
                let beginning = *self.outbox.confirmed();
                match self.sink.deliver(&[], &beginning).await {
                    Ok(()) => self.outbox.saved(),
                    Err(error) => warn!(sink = %self.name, ?error, "cannot write yet"),
                }
                Ok(())
            }
        }
    }

    /// Delivers until it is told to stop, and then what is there unless another courier takes over; makes the cursors
    /// durable.
    pub async fn run(mut self, stop: Stop) {
        let fate = self.deliver_all(&stop).await;
        if fate == Fate::Stopped {
            // Whoever goes on with this sink must find it at rest.
            self.sink.idle().await;
        }
        // A sink that keeps the cursor itself and was cut short knows more than we do: hands off.
        if fate == Fate::Stopped && self.profile.cursor == CursorKeeper::Sink {
            return;
        }
        if self.outbox.is_dirty() && timeout(SHUTDOWN_GRACE, self.save()).await.is_err() {
            warn!(sink = %self.name, "cursor not saved in time: the last second's rows are delivered again");
        }
    }

    /// `Done` where everything was delivered that was there when the shutdown came.
    async fn deliver_all(&mut self, stop: &Stop) -> Fate {
        let mut save_at = Instant::now();
        loop {
            let lease = tokio::select! {
                biased;
                () = stop.told() => {
                    return if stop.has_heir() { Fate::Done } else { self.deliver_rest(stop).await };
                }
                () = sleep_until(save_at), if self.outbox.is_dirty() => {
                    self.save().await;
                    save_at = Instant::now() + SAVE_EVERY;
                    continue;
                }
                lease = self.outbox.lease(self.profile.limits) => lease,
            };
            match lease {
                Ok(lease) => {
                    if self.deliver(lease, stop).await == Fate::Stopped {
                        return Fate::Stopped;
                    }
                }
                Err(error) => {
                    warn!(sink = %self.name, %error, "cannot read on");
                    let _ = timeout(READ_AGAIN_AFTER, stop.told()).await;
                }
            }
        }
    }

    /// Delivers what is there when the shutdown comes, for as long as a counterpart takes it at once.
    async fn deliver_rest(&mut self, stop: &Stop) -> Fate {
        let deadline = Instant::now() + SHUTDOWN_GRACE;
        while Instant::now() < deadline {
            // What cannot be read now is read after the next start.
            let Some(Ok(lease)) = self.outbox.lease(self.profile.limits).now_or_never() else { break };
            if self.deliver(lease, stop).await == Fate::Stopped {
                return Fate::Stopped;
            }
        }
        Fate::Done
    }

    async fn deliver(&mut self, mut lease: Lease, stop: &Stop) -> Fate {
        let had_rows = !lease.rows.is_empty();
        loop {
            self.report_lost(&mut lease);
            self.drop_outdated(&mut lease);
            self.observe_lag(&lease.rows);
            if lease.rows.is_empty() {
                break;
            }
            let Some((count, outcome)) = self.attempt(&lease, stop).await else { return Fate::Stopped };
            if let Some(failed) = self.settle_accounts(&mut lease.rows, count, outcome).await {
                if self.wait(failed, &lease.rows, stop).await == Fate::Stopped {
                    return Fate::Stopped;
                }
                self.look_ahead(&mut lease);
            }
        }
        self.outbox.confirm(&lease.after);
        if had_rows && self.profile.cursor == CursorKeeper::Sink {
            self.outbox.saved();
        }
        self.observe_lag(&[]);
        Fate::Done
    }

    /// Delivers the first rows of `lease`; returns how many it tried. `None`: the shutdown did not wait.
    async fn attempt(&mut self, lease: &Lease, stop: &Stop) -> Option<(usize, Result<(), SinkError>)> {
        let is_probe =
            self.retrier.breaker() == Breaker::HalfOpen && self.profile.cursor == CursorKeeper::Outbox;
        let count = if is_probe { 1 } else { lease.rows.len().min(self.profile.limits.rows_max) };
        let out_of_time = async {
            stop.told().await;
            sleep(SHUTDOWN_GRACE).await;
        };
        let started = Instant::now();
        let outcome = tokio::select! {
            biased;
            outcome = self.sink.deliver(&lease.rows[..count], &lease.after) => outcome,
            () = out_of_time => return None,
        };
        let delivered = count - outcome.as_ref().err().map_or(0, |error| error.rows_left(count));
        self.ports.observer.attempted(&self.name, delivered, started.elapsed());
        Some((count, outcome))
    }

    /// Takes out of `rows` those of the first `count` that are dealt with. `None` where nothing is to be tried
    /// again.
    async fn settle_accounts(
        &mut self,
        rows: &mut Vec<Delivery>,
        count: usize,
        outcome: Result<(), SinkError>,
    ) -> Option<Failed> {
        let SinkError { rejected, retry } = outcome.err().unwrap_or_default();
        let mut failed =
            retry.as_ref().map(|retry| Failed { reason: retry.reason.clone(), asked: retry.after });
        let mut is_left = vec![false; count];
        match retry.map(|retry| retry.rows) {
            None => {}
            Some(RetryRows::All) => is_left.fill(true),
            Some(RetryRows::Only(left)) => left.into_iter().for_each(|at| is_left[at] = true),
        }
        for Rejected { row, reason } in rejected {
            let buried = self.bury(&rows[row], reason).await;
            is_left[row] = buried.is_err();
            failed = buried.err().map(|error| Failed { reason: error.to_string(), asked: None }).or(failed);
        }
        let mut at = 0..;
        rows.retain(|_| at.next().and_then(|at| is_left.get(at).copied()).unwrap_or(true));
        if failed.is_none() {
            self.note_success();
        }
        failed
    }

    fn note_success(&mut self) {
        if self.retrier.failures() > 0 {
            info!(sink = %self.name, failures = self.retrier.failures(), "delivers again");
        }
        self.retrier.succeeded();
        self.ports.observer.breaker(&self.name, Breaker::Closed);
    }

    /// Gives a row to the dead letters. One that is a dead letter itself is not kept twice: a sink of dead
    /// letters that refuses everything would breed them without end.
    async fn bury(&mut self, row: &Delivery, reason: String) -> Result<(), BuryError> {
        self.ports.observer.rejected(&self.name, 1);
        if let RowView::DeadLetter(_) = row.row.view() {
            error!(sink = %self.name, id = %row.id, reason, "dead letter refused, not delivered");
            return Ok(());
        }
        warn!(sink = %self.name, id = %row.id, reason, "row refused, goes to the dead letters");
        let json = serde_json::to_vec(&row.json()).map_err(|error| BuryError(error.to_string()))?;
        let row = Undeliverable { sink: Arc::clone(&self.name), id: row.id, detail: reason, row: json };
        self.ports.dead_letters.bury(row).await
    }

    /// Backs off after a failure.
    async fn wait(&mut self, failed: Failed, rows: &[Delivery], stop: &Stop) -> Fate {
        let wait = self.retrier.failed(failed.asked);
        self.note_failure(&failed, wait);
        // What was delivered before must not be repeated because the next rows have to wait.
        if self.profile.cursor == CursorKeeper::Outbox && self.outbox.is_dirty() {
            self.save().await;
        }
        let until = Instant::now() + wait;
        while Instant::now() < until {
            tokio::select! {
                biased;
                () = stop.told() => return Fate::Stopped,
                () = sleep_until(until.min(Instant::now() + OBSERVE_EVERY)) => self.observe_lag(rows),
            }
        }
        self.retrier.waited();
        self.ports.observer.breaker(&self.name, self.retrier.breaker());
        Fate::Done
    }

    /// Logs what is new: the first failure, and the breaker's opening.
    fn note_failure(&self, failed: &Failed, wait: Duration) {
        let (reason, wait_ms) = (&failed.reason, wait.as_millis() as u64);
        match (self.retrier.failures(), self.retrier.breaker()) {
            (1, _) => warn!(sink = %self.name, reason, wait_ms, "cannot deliver, will try again"),
            (retry::FAILURES_TO_OPEN, _) => {
                warn!(sink = %self.name, reason, wait_ms, "still cannot deliver, the breaker opens");
            }
            _ => {}
        }
        self.ports.observer.failed(&self.name);
        self.ports.observer.breaker(&self.name, self.retrier.breaker());
    }

    /// After a failure, reads on for sinks that send only current alerts: what comes may supersede what waits.
    fn look_ahead(&mut self, lease: &mut Lease) {
        if self.profile.waited_alerts == WaitedAlerts::Current {
            let limits = LeaseLimits { rows_max: OUTAGE_ROWS_MAX, bytes_max: OUTAGE_BYTES_MAX };
            if let Err(error) = self.outbox.extend(lease, limits) {
                warn!(sink = %self.name, %error, "cannot read on");
            }
        }
    }

    fn drop_outdated(&mut self, lease: &mut Lease) {
        if self.profile.waited_alerts == WaitedAlerts::All {
            return;
        }
        let Settled { superseded, expired } = settle(&mut lease.rows, (self.ports.now)(), self.max_age);
        if superseded + expired > 0 {
            self.ports.observer.outdated(&self.name, superseded + expired);
            warn!(sink = %self.name, superseded, expired, "alerts of an outage are not sent");
        }
    }

    fn report_lost(&self, lease: &mut Lease) {
        let lost = std::mem::take(&mut lease.lost);
        if lost > 0 {
            error!(sink = %self.name, records = lost, "records were gone before they could be delivered");
            self.ports.observer.lost(&self.name, lost);
        }
    }

    fn observe_lag(&self, rows: &[Delivery]) {
        self.ports.observer.lag(&self.name, self.outbox.lag(rows, (self.ports.now)()));
    }

    async fn save(&mut self) {
        match self.profile.cursor {
            CursorKeeper::Outbox => {
                if let Err(error) = self.outbox.save(&*self.ports.cursors).await {
                    warn!(sink = %self.name, %error, "cursor not saved, will try again");
                }
            }
            CursorKeeper::Sink => match self.sink.deliver(&[], self.outbox.confirmed()).await {
                Ok(()) => self.outbox.saved(),
                Err(error) => warn!(sink = %self.name, %error, "cursor not saved, will try again"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
