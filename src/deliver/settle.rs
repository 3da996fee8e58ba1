//! What is still worth saying of alerts that had to wait (pure): an episode's current state, nothing too old.

use std::collections::HashSet;
use std::time::Duration;

use crate::model::{Output, ResultId, RowView, Timestamp};
use crate::outbox::{Delivery, age};

/// An alert that has waited less is sent whatever came after it: a firing and its end may share a batch
/// although nothing was held up.
const WAITED: Duration = Duration::from_secs(10);

/// How many alerts are not sent, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// A later row of their episode tells more.
    pub superseded: usize,
    /// Older than `max_age`.
    pub expired: usize,
}

/// Takes out of `rows` the alerts that waited and are superseded by a later row among them, and those that
/// waited longer than `max_age`. Other rows stay.
pub fn settle(rows: &mut Vec<Delivery>, now: Timestamp, max_age: Duration) -> Settled {
    let mut settled = Settled::default();
    let mut later: HashSet<ResultId> = HashSet::new();
    // From the end, so that an episode's last row comes first.
    let mut keep: Vec<bool> =
        rows.iter().rev().map(|row| is_current(row, now, max_age, &mut later, &mut settled)).collect();
    rows.retain(|_| keep.pop().unwrap_or(true));
    settled
}

fn is_current(
    row: &Delivery,
    now: Timestamp,
    max_age: Duration,
    later: &mut HashSet<ResultId>,
    settled: &mut Settled,
) -> bool {
    let RowView::Output(Output::Alert(alert)) = row.row.view() else { return true };
    let waited = age(row.written, now);
    let is_last = later.insert(alert.episode);
    if waited > max_age {
        settled.expired += 1;
    } else if !is_last && waited >= WAITED {
        settled.superseded += 1;
    } else {
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::AlertState::{self, Firing, Resolved};
    use crate::model::{Offset, Row, StreamName};
    use crate::outbox::test_stream::{alert, result};

    const NOW_S: i64 = 10_000;

    fn delivery(waited_s: i64, output: Output) -> Delivery {
        Delivery {
            id: ResultId::EMPTY,
            stream: StreamName::Results,
            offset: Offset(0),
            written: Timestamp::from_millis((NOW_S - waited_s) * 1_000),
            row: Row::Output(Arc::new([output]), 0),
        }
    }

    fn check(rows: &[(i64, &str, AlertState)], expected: &[usize], superseded: usize, expired: usize) {
        let mut deliveries: Vec<_> = (0..)
            .zip(rows)
            .map(|(at, (waited_s, episode, state))| Delivery {
                offset: Offset(at),
                ..delivery(*waited_s, alert(episode, *state))
            })
            .collect();
        let now = Timestamp::from_millis(NOW_S * 1_000);
        let settled = settle(&mut deliveries, now, Duration::from_secs(3_600));
        let left: Vec<_> = deliveries.iter().map(|row| row.offset.0 as usize).collect();
        assert_eq!((left.as_slice(), settled), (expected, Settled { superseded, expired }), "{rows:?}");
    }

    #[test]
    fn only_the_current_state_of_an_episode_is_left_after_an_outage() {
        check(&[(60, "a", Firing), (50, "b", Firing), (40, "a", Resolved)], &[1, 2], 1, 0);
        check(&[(60, "a", Firing), (50, "a", Firing), (1, "a", Resolved)], &[2], 2, 0);
        check(&[(3_601, "a", Firing), (3_600, "b", Firing)], &[1], 0, 1);
        check(&[(4_000, "a", Firing), (10, "a", Resolved)], &[1], 0, 1);
    }

    #[test]
    fn without_an_outage_everything_is_sent() {
        check(&[(9, "a", Firing), (0, "a", Resolved), (-5, "a", Firing)], &[0, 1, 2], 0, 0);
    }

    #[test]
    fn results_are_left_alone() {
        let mut rows = vec![delivery(9_000, result("k", 1)), delivery(9_000, result("k", 2))];
        let now = Timestamp::from_millis(NOW_S * 1_000);
        assert_eq!(settle(&mut rows, now, Duration::ZERO), Settled::default());
        assert_eq!(rows.len(), 2);
    }
}
