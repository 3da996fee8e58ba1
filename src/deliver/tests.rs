//! Deliveries over real streams, sinks that fail, and the shutdown.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

use super::*;
use crate::config::{FileSink, MaxLag, OnMaxLag, OutputKind, Route, SinkKind, Start, WebhookSink};
use crate::http_client::HttpClient;
use crate::http_client::test_server::{TestServer, status};
use crate::model::AlertState::{Firing, Resolved};
use crate::model::{Output, ResultId, Timestamp};
use crate::outbox::test_stream::{TestCursors, TestLog, alert, result};
use crate::outbox::{Lag, Positions};
use crate::route::Routes;
use crate::sink::{Guarantee, Retry};

mod real_sinks;

/// A counterpart that fails as told, then takes everything.
struct Scripted {
    script: Arc<Mutex<VecDeque<Answer>>>,
    seen: Arc<Seen>,
    waited_alerts: WaitedAlerts,
}

enum Answer {
    Fails(SinkError),
    Hangs,
}

#[derive(Default)]
struct Seen {
    /// Offsets that were taken.
    taken: Mutex<Vec<u64>>,
    /// Rows of each attempt.
    attempts: Mutex<Vec<usize>>,
}

impl Sink for Scripted {
    fn profile(&self) -> Profile {
        Profile {
            guarantee: Guarantee::AtLeastOnce,
            cursor: CursorKeeper::Outbox,
            waited_alerts: self.waited_alerts,
            limits: LeaseLimits { rows_max: 4, bytes_max: 1 << 20 },
        }
    }

    fn deliver<'a>(
        &'a mut self,
        rows: &'a [Delivery],
        _: &'a Positions,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        async {
            self.seen.attempts.lock().unwrap().push(rows.len());
            let answer = self.script.lock().unwrap().pop_front();
            let error = match answer {
                Some(Answer::Fails(error)) => error,
                Some(Answer::Hangs) => return std::future::pending().await,
                None => SinkError::default(),
            };
            let is_left = |at: &usize| {
                let retried = error.retry.as_ref().is_some_and(|retry| match &retry.rows {
                    RetryRows::All => true,
                    RetryRows::Only(rows) => rows.contains(at),
                });
                retried || error.rejected.iter().any(|rejected| rejected.row == *at)
            };
            let taken = (0..rows.len()).filter(|at| !is_left(at)).map(|at| rows[at].offset.0);
            self.seen.taken.lock().unwrap().extend(taken);
            if error == SinkError::default() { Ok(()) } else { Err(error) }
        }
        .boxed()
    }
}

/// Counts what is observed, and takes dead letters.
#[derive(Default)]
struct Watcher {
    breakers: Mutex<Vec<Breaker>>,
    lag: Mutex<Option<Lag>>,
    rows: Mutex<usize>,
    retries: Mutex<usize>,
    outdated: Mutex<usize>,
    buried: Mutex<Vec<Undeliverable>>,
    bury_failures: Mutex<usize>,
}

impl Observer for Watcher {
    fn lag(&self, _: &str, lag: Lag) {
        *self.lag.lock().unwrap() = Some(lag);
    }
    fn breaker(&self, _: &str, breaker: Breaker) {
        let mut breakers = self.breakers.lock().unwrap();
        if breakers.last() != Some(&breaker) {
            breakers.push(breaker);
        }
    }
    fn attempted(&self, _: &str, delivered: usize, _: Duration) {
        *self.rows.lock().unwrap() += delivered;
    }
    fn failed(&self, _: &str) {
        *self.retries.lock().unwrap() += 1;
    }
    fn rejected(&self, _: &str, _: usize) {}
    fn outdated(&self, _: &str, rows: usize) {
        *self.outdated.lock().unwrap() += rows;
    }
    fn lost(&self, _: &str, _: u64) {}
}

impl DeadLetters for Watcher {
    fn bury(&self, row: Undeliverable) -> BoxFuture<'_, Result<(), BuryError>> {
        async {
            let mut failures = self.bury_failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(BuryError("disk full".into()));
            }
            self.buried.lock().unwrap().push(row);
            Ok(())
        }
        .boxed()
    }
}

/// One sink and all around it.
struct World {
    log: TestLog,
    cursors: Arc<TestCursors>,
    watcher: Arc<Watcher>,
    seen: Arc<Seen>,
    script: Arc<Mutex<VecDeque<Answer>>>,
    now_ms: Arc<AtomicI64>,
    waited_alerts: WaitedAlerts,
}

struct Running {
    stop: Stop,
    tasks: TaskTracker,
}

impl Running {
    async fn stop(self) {
        self.stop.drain();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn config(kind: SinkKind) -> config::Sink {
    config::Sink {
        name: "s".into(),
        kind,
        max_lag: MaxLag::HalfOfStream,
        on_max_lag: OnMaxLag::Gap,
        max_age: Duration::from_secs(3_600),
        start: Start::Now,
    }
}

fn webhook(url: String) -> config::Sink {
    let timeout = Duration::from_secs(5);
    config(SinkKind::Webhook(WebhookSink { url, headers: Vec::new(), secret: None, timeout }))
}

fn wants() -> Wants {
    let (from, alert, severity, to) = (Vec::new(), Vec::new(), Vec::new(), vec!["s".into()]);
    let of: Option<OutputKind> = None;
    Routes::new(&[Route { of, from, alert, severity, to, is_final: false }], &[]).wants("s")
}

impl World {
    fn new(script: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            log: TestLog::default(),
            cursors: Arc::default(),
            watcher: Arc::default(),
            seen: Arc::default(),
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            now_ms: Arc::default(),
            waited_alerts: WaitedAlerts::All,
        }
    }

    fn ports(&self) -> Ports {
        let now_ms = Arc::clone(&self.now_ms);
        Ports {
            cursors: Arc::clone(&self.cursors) as Arc<dyn crate::outbox::Cursors>,
            dead_letters: Arc::clone(&self.watcher) as Arc<dyn DeadLetters>,
            observer: Arc::clone(&self.watcher) as Arc<dyn Observer>,
            http: HttpClient::default(),
            now: Arc::new(move || Timestamp::from_millis(now_ms.load(Ordering::Relaxed))),
            journal: ResultId::EMPTY,
        }
    }

    fn courier(&self) -> Courier {
        let sink = Scripted {
            script: Arc::clone(&self.script),
            seen: Arc::clone(&self.seen),
            waited_alerts: self.waited_alerts,
        };
        let outlet = Outlet { wants: wants(), streams: vec![self.log.reader()] };
        Courier::with_sink(&webhook("http://unused".into()), Box::new(sink), outlet, self.ports()).unwrap()
    }

    fn run(&self, courier: Courier) -> Running {
        let (stop, tasks) = (Stop::default(), TaskTracker::new());
        tasks.spawn(courier.run(stop.clone()));
        Running { stop, tasks }
    }

    fn saved(&self) -> Option<u64> {
        let positions = Outbox::load("s", &*self.cursors).unwrap()?;
        positions.get(crate::model::StreamName::Results).map(|offset| offset.0)
    }

    fn taken(&self) -> Vec<u64> {
        self.seen.taken.lock().unwrap().clone()
    }
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn fails(reason: &str) -> Answer {
    Answer::Fails(SinkError::retry_all(reason))
}

fn results(count: u32) -> impl Iterator<Item = Output> {
    (0..count).map(|n| result("k", n))
}

#[tokio::test(start_paused = true)]
async fn delivers_in_order_and_goes_on_after_a_restart() {
    let world = World::new([]);
    let running = world.run(world.courier());
    eventually("the start is saved", || world.saved() == Some(0)).await;
    world.log.append(0, results(10));
    eventually("all are taken", || world.taken().len() == 10).await;
    sleep(SAVE_EVERY * 2).await;
    assert_eq!(world.saved(), Some(10));
    world.log.append(0, results(1));
    eventually("one more", || world.taken().len() == 11).await;
    running.stop().await;
    assert_eq!(world.saved(), Some(11), "a shutdown saves");
    world.log.append(0, results(2));
    let running = world.run(world.courier());
    eventually("the rest", || world.taken().len() == 13).await;
    running.stop().await;
    assert_eq!(world.taken(), (0..13).collect::<Vec<_>>());
    assert!(world.seen.attempts.lock().unwrap().iter().all(|rows| *rows <= 4));
    assert_eq!(*world.watcher.rows.lock().unwrap(), 13);
}

#[tokio::test(start_paused = true)]
async fn an_outage_opens_the_breaker_and_one_row_probes() {
    let world = World::new((0..6).map(|_| fails("down")));
    let running = world.run(world.courier());
    world.log.append(0, results(4));
    eventually("all are taken", || world.taken().len() == 4).await;
    running.stop().await;
    use Breaker::{Closed, HalfOpen, Open};
    assert_eq!(*world.watcher.breakers.lock().unwrap(), [Closed, Open, HalfOpen, Open, HalfOpen, Closed]);
    assert_eq!(*world.seen.attempts.lock().unwrap(), [4, 4, 4, 4, 4, 1, 1, 3]);
    assert_eq!(*world.watcher.retries.lock().unwrap(), 6);
    assert_eq!(world.taken(), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_is_saved_although_the_next_rows_wait() {
    let world = World::new([]);
    let running = world.run(world.courier());
    world.log.append(0, results(4));
    eventually("the first are taken", || world.taken().len() == 4).await;
    world.script.lock().unwrap().extend((0..100).map(|_| fails("down")));
    world.now_ms.store(9_000, Ordering::Relaxed);
    world.log.append(2_000, results(3));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.saved(), Some(4));
    assert_eq!(*world.watcher.lag.lock().unwrap(), Some(Lag { records: 3, age: Duration::from_secs(7) }));
    running.stop().await;
    assert_eq!(world.saved(), Some(4));
}

#[tokio::test(start_paused = true)]
async fn refused_rows_are_buried_and_the_others_go_on() {
    let reject =
        |rows: &[usize]| rows.iter().map(|row| Rejected { row: *row, reason: "bad".into() }).collect();
    let retry = Retry { rows: RetryRows::Only(vec![3]), reason: "busy".into(), after: None };
    let world = World::new([
        Answer::Fails(SinkError { rejected: reject(&[0, 2]), retry: Some(retry) }),
        Answer::Fails(SinkError { rejected: reject(&[0]), retry: None }),
    ]);
    *world.watcher.bury_failures.lock().unwrap() = 1;
    let running = world.run(world.courier());
    world.log.append(0, results(4));
    eventually("the start and the rows", || world.saved() == Some(4)).await;
    running.stop().await;
    // Row 0 could not be buried at first and was refused again; rows 1 and 3 are delivered.
    assert_eq!(world.taken(), [1, 3]);
    let buried = world.watcher.buried.lock().unwrap();
    let ids: Vec<_> = buried
        .iter()
        .map(|row| serde_json::from_slice::<serde_json::Value>(&row.row).unwrap()["values"]["n"].clone())
        .collect();
    assert_eq!(ids, [2, 0]);
    assert_eq!((&*buried[0].sink, &buried[0].detail[..]), ("s", "bad"));
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_a_pager_gets_only_what_is_current() {
    let mut world = World::new((0..4).map(|_| fails("down")));
    world.waited_alerts = WaitedAlerts::Current;
    let running = world.run(world.courier());
    world.log.append(0, [alert("a", Firing), result("k", 0), alert("old", Firing)]);
    eventually("it failed", || *world.watcher.retries.lock().unwrap() == 1).await;
    world.now_ms.store(3_601_000, Ordering::Relaxed);
    world.log.append(3_000_000, [alert("b", Firing), alert("a", Resolved), alert("b", Firing)]);
    eventually("the rest is taken", || world.taken().len() == 3).await;
    running.stop().await;
    // 0 and 2 are too old, 3 is superseded by 5; the result stays.
    assert_eq!(world.taken(), [1, 4, 5]);
    assert_eq!(*world.watcher.outdated.lock().unwrap(), 3);
    assert_eq!(world.saved(), Some(6));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_delivers_what_is_there() {
    let world = World::new([]);
    let running = world.run(world.courier());
    eventually("the start is saved", || world.saved() == Some(0)).await;
    world.log.append(0, results(40));
    running.stop().await;
    assert_eq!(world.taken(), (0..40).collect::<Vec<_>>());
    assert_eq!(world.saved(), Some(40));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_counterpart_that_hangs_or_is_down() {
    for answer in [Answer::Hangs, fails("down")] {
        let world = World::new([answer]);
        let running = world.run(world.courier());
        world.log.append(0, results(2));
        eventually("an attempt", || !world.seen.attempts.lock().unwrap().is_empty()).await;
        let began = Instant::now();
        running.stop().await;
        assert!(began.elapsed() <= SHUTDOWN_GRACE, "{:?}", began.elapsed());
        assert_eq!(world.saved(), Some(0));
        let running = world.run(world.courier());
        eventually("delivered after the restart", || world.taken() == [0, 1]).await;
        running.stop().await;
    }
}

/// A crash between the start and the first delivery: what came meanwhile is not behind the new sink's back.
#[tokio::test(start_paused = true)]
async fn a_new_sink_begins_where_it_began_before_the_crash() {
    let world = World::new([]);
    world.log.append(0, results(3));
    world.courier().begin().await.unwrap();
    world.log.append(0, results(2));
    let running = world.run(world.courier());
    eventually("the two are taken", || world.taken().len() == 2).await;
    running.stop().await;
    assert_eq!(world.taken(), [3, 4]);
}
