//! Cursors over streams: lease, confirm, restart.

use futures_util::FutureExt;
use proptest::prelude::*;

use super::test_stream::{TestCursors, TestLog, alert, result};
use super::*;
use crate::config::{OutputKind, Route};
use crate::model::AlertState;
use crate::route::Routes;

const ALL: LeaseLimits = LeaseLimits { rows_max: 100, bytes_max: 1 << 20 };

fn wants(of: Option<OutputKind>) -> Wants {
    let to = vec!["s".into()];
    let (from, alert, severity) = (Vec::new(), Vec::new(), Vec::new());
    Routes::new(&[Route { of, from, alert, severity, to, is_final: false }], &[]).wants("s")
}

fn open(log: &TestLog, of: Option<OutputKind>, start: Start, cursors: &TestCursors) -> Outbox {
    let settings = OutboxSettings { sink: "s".into(), wants: wants(of), start, journal: ResultId::EMPTY };
    Outbox::open(settings, vec![log.reader()], Outbox::load("s", cursors).unwrap())
}

fn offsets(lease: &Lease) -> Vec<u64> {
    lease.rows.iter().map(|row| row.offset.0).collect()
}

#[tokio::test]
async fn a_new_sink_starts_at_the_tail_or_at_the_oldest_and_goes_on_where_it_was_saved() {
    let (log, cursors) = (TestLog::default(), TestCursors::default());
    log.append(0, (0..4).map(|n| result("k", n)));
    let mut late = open(&log, None, Start::Now, &cursors);
    let mut early = open(&log, None, Start::Earliest, &cursors);
    log.append(0, [result("k", 4)]);
    assert_eq!(offsets(&late.lease(ALL).await.unwrap()), [4]);
    let lease = early.lease(ALL).await.unwrap();
    assert_eq!(offsets(&lease), [0, 1, 2, 3, 4]);
    assert!(!early.is_dirty() || cursors.load("s").unwrap().is_none(), "a lease alone moves nothing");
    early.confirm(&lease.after);
    early.save(&cursors).await.unwrap();
    assert_eq!(early.progress().saved(StreamName::Results), Some(Offset(5)));
    log.append(0, [result("k", 5)]);
    let mut again = open(&log, None, Start::Now, &cursors);
    assert_eq!(
        again.progress().saved(StreamName::Results),
        Some(Offset(5)),
        "kept before anything is confirmed"
    );
    assert_eq!(offsets(&again.lease(ALL).await.unwrap()), [5]);
}

#[tokio::test]
async fn positions_move_over_rows_nobody_wants() {
    let (log, cursors) = (TestLog::default(), TestCursors::default());
    let mut outbox = open(&log, Some(OutputKind::Alert), Start::Now, &cursors);
    log.append(0, (0..10).map(|n| result("k", n)));
    let lease = outbox.lease(ALL).await.unwrap();
    assert!(lease.rows.is_empty());
    assert_eq!(lease.after.get(StreamName::Results), Some(Offset(10)));
    let now = Timestamp::from_millis(7_000);
    assert_eq!(outbox.lag(&lease.rows, now), Lag { records: 10, age: Duration::ZERO });
    outbox.confirm(&lease.after);
    log.append(2_000, [alert("e", AlertState::Firing)]);
    let lease = outbox.lease(ALL).await.unwrap();
    assert_eq!(offsets(&lease), [10]);
    assert_eq!(outbox.lag(&lease.rows, now), Lag { records: 1, age: Duration::from_secs(5) });
}

#[tokio::test]
async fn a_failed_save_leaves_the_cursor_dirty() {
    let (log, cursors) = (TestLog::default(), TestCursors::default());
    let mut outbox = open(&log, None, Start::Now, &cursors);
    *cursors.failures.lock().unwrap() = 1;
    assert!(outbox.is_dirty(), "a new sink's start is to be saved");
    outbox.save(&cursors).await.unwrap_err();
    assert!(outbox.is_dirty());
    outbox.save(&cursors).await.unwrap();
    assert!(!outbox.is_dirty());
}

#[test]
fn a_state_of_a_newer_version_is_refused() {
    let cursors = TestCursors::default();
    cursors.save("s", br#"{"version":2,"positions":{}}"#.to_vec()).now_or_never();
    let error = Outbox::load("s", &cursors).unwrap_err();
    assert_eq!(error.to_string(), "cursor of sink s: version 2 is not 1");
}

proptest! {
    #[test]
    fn leases_hold_every_wanted_row_once_and_in_order(
        bursts in prop::collection::vec(prop::collection::vec(any::<bool>(), 1..8), 1..8),
        rows_max in 1_usize..6,
        bytes_max in prop_oneof![Just(1_usize), Just(500), Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (log, cursors) = (TestLog::default(), TestCursors::default());
        let mut outbox = open(&log, Some(OutputKind::Alert), Start::Now, &cursors);
        let (mut expected, mut got, mut next) = (Vec::new(), Vec::new(), 0);
        for burst in bursts {
            for is_alert in burst {
                log.append(0, [if is_alert { alert("e", AlertState::Firing) } else { result("k", 0) }]);
                expected.extend(is_alert.then_some(next));
                next += 1;
            }
            while outbox.confirmed().get(StreamName::Results) != Some(Offset(next)) {
                let limits = LeaseLimits { rows_max, bytes_max };
                let lease = runtime.block_on(outbox.lease(limits)).unwrap();
                prop_assert!(lease.rows.len() <= rows_max);
                got.extend(offsets(&lease));
                outbox.confirm(&lease.after);
            }
        }
        prop_assert_eq!(got, expected);
    }
}
