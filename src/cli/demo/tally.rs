//! The accounts of a run (pure): what was sent, acknowledged, counted in windows, alerted; and the verdict.
//!
//! Nothing is lost when every reading sent is acknowledged, and every acknowledged one is counted by exactly one
//! window row of the machine's, but for those after the last full hour: their window is still open.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::machine::MACHINES;
use super::series::{Failure, Series};
use crate::model::{AlertRow, AlertState, Output, ResultRow, Timestamp};

/// Nanoseconds of a window of the configuration's pipeline.
const WINDOW_NS: i64 = 3_600_000_000_000;
/// The column that counts readings.
const COUNT_COLUMN: &str = "n";

/// One machine's account.
#[derive(Debug, Default)]
pub struct Account {
    /// Readings handed to the socket.
    pub sent: u64,
    /// Readings acknowledged.
    pub acknowledged: u64,
    /// Result rows.
    pub rows: u64,
    /// When alerts began to fire, in event time.
    pub fired: Vec<Timestamp>,
    /// When alerts were resolved.
    pub resolved: Vec<Timestamp>,
    /// Per window, by its start: readings by the newest revision.
    counted: BTreeMap<Timestamp, u64>,
}

impl Account {
    /// Readings that window rows hold.
    pub fn counted(&self) -> u64 {
        self.counted.values().sum()
    }
}

/// A labelled failure and who noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// The failure.
    pub failure: Failure,
    /// Per machine of [`MACHINES`]: when the first alert in the window fired.
    pub at: [Option<Timestamp>; MACHINES.len()],
}

impl Noticed {
    /// Whether every machine's alert fired.
    pub fn by_all(&self) -> bool {
        self.at.iter().all(Option::is_some)
    }
}

/// All accounts.
#[derive(Debug)]
pub struct Tally {
    /// As in [`MACHINES`].
    pub accounts: [Account; MACHINES.len()],
    failures: Vec<Failure>,
    /// Start of the window that is open at the end.
    open: Timestamp,
    /// Readings of one machine in that window.
    left_open: u64,
}

impl Tally {
    /// Empty accounts for playing `series`.
    pub fn new(series: &Series) -> Self {
        let last = series.samples.iter().map(|sample| sample.time.nanos()).max().unwrap_or_default();
        let open = Timestamp::from_nanos(last - last.rem_euclid(WINDOW_NS));
        let left_open = series.samples.iter().filter(|sample| sample.time >= open).count() as u64;
        Self { accounts: Default::default(), failures: series.failures.clone(), open, left_open }
    }

    /// Books a row of the results; rows of other keys are not ours.
    pub fn output(&mut self, output: &Output) {
        match output {
            Output::Result(row) => {
                if let Some(account) = self.account(&row.key) {
                    account.rows += 1;
                    account.counted.insert(row.start, count(row));
                }
            }
            Output::Alert(row) => self.alert(row),
            Output::Late(_) => {}
        }
    }

    fn alert(&mut self, row: &AlertRow) {
        // A reason says that it is not new: escalated, repeated.
        let is_news = row.reason.is_none();
        let Some(account) = self.account(&row.key) else { return };
        match row.state {
            AlertState::Firing if is_news => account.fired.push(row.time),
            AlertState::Firing => {}
            AlertState::Resolved => account.resolved.push(row.time),
        }
    }

    fn account(&mut self, key: &Arc<str>) -> Option<&mut Account> {
        let place = MACHINES.iter().position(|machine| machine.name == &**key)?;
        Some(&mut self.accounts[place])
    }

    /// Result rows of the machine called `key` so far.
    pub fn rows_of(&mut self, key: &Arc<str>) -> u64 {
        self.account(key).map_or(0, |account| account.rows)
    }

    /// Whether the row of every machine's last full window is there.
    pub fn is_complete(&self) -> bool {
        let last = Timestamp::from_nanos(self.open.nanos() - WINDOW_NS);
        self.accounts.iter().all(|account| account.counted.contains_key(&last))
    }

    /// Readings of all machines acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.accounts.iter().map(|account| account.acknowledged).sum()
    }

    /// Alerts firing now.
    pub fn firing(&self) -> usize {
        self.accounts.iter().map(|account| account.fired.len().saturating_sub(account.resolved.len())).sum()
    }

    /// Readings of one machine whose window is still open at the end.
    pub fn left_open(&self) -> u64 {
        self.left_open
    }

    /// Every labelled failure.
    pub fn noticed(&self) -> Vec<Noticed> {
        let first = |account: &Account, failure: &Failure| {
            account.fired.iter().copied().find(|time| failure.holds(*time))
        };
        let noticed = |failure: &Failure| Noticed {
            failure: *failure,
            at: std::array::from_fn(|place| first(&self.accounts[place], failure)),
        };
        self.failures.iter().map(noticed).collect()
    }

    /// When alerts fired although nothing is labelled, by time and how many machines said so.
    pub fn outside(&self) -> BTreeMap<Timestamp, usize> {
        let is_labelled = |time: &Timestamp| self.failures.iter().any(|failure| failure.holds(*time));
        let fired = self.accounts.iter().flat_map(|account| &account.fired);
        let mut outside = BTreeMap::new();
        for time in fired.filter(|time| !is_labelled(time)) {
            *outside.entry(*time).or_default() += 1;
        }
        outside
    }

    /// What is missing after a run that was played to the end, a text each.
    pub fn losses(&self) -> Vec<String> {
        let mut losses = Vec::new();
        for (machine, account) in MACHINES.iter().zip(&self.accounts) {
            let (sent, acknowledged) = (account.sent, account.acknowledged);
            if sent != acknowledged {
                let name = machine.name;
                losses.push(format!("{name}: {acknowledged} of {sent} readings were acknowledged"));
            }
            let (counted, expected) = (account.counted(), acknowledged.saturating_sub(self.left_open));
            if counted != expected {
                let name = machine.name;
                losses
                    .push(format!("{name}: the windows hold {counted} of {expected} acknowledged readings"));
            }
        }
        losses
    }
}

fn count(row: &ResultRow) -> u64 {
    let count = row.values.get(COUNT_COLUMN).and_then(|value| value.cell().as_number());
    count.map_or(0, |count| count as u64)
}

#[cfg(test)]
mod tests;
