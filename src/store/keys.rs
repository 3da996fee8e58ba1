//! Names of rows: a sensor's state, and beside it in the same tree when it is due, so that one batch writes both.

use super::backend::Tree;
use super::ledger::Ledger;
use super::{DueRow, StoreError, pieces};

/// Before the names of due rows: no lane's name begins with it.
const DUE: u8 = 1;
/// Bytes of a grouping's number.
const KEYING_BYTES: usize = 8;

/// Which sensor's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateKey<'a> {
    /// The lane.
    pub lane: &'a str,
    /// The grouping.
    pub keying: u64,
    /// The key.
    pub key: &'a str,
}

impl StateKey<'_> {
    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.lane.as_bytes(), &[0], &self.keying.to_be_bytes(), self.key.as_bytes()].concat()
    }

    pub(super) fn due_bytes(&self) -> Vec<u8> {
        [&[DUE], self.bytes().as_slice()].concat()
    }
}

/// What the keys of all rows of `lane` in the states begin with.
pub(super) fn prefixes_of(lane: &str) -> [Vec<u8>; 2] {
    let states = [lane.as_bytes(), &[0]].concat();
    [[&[DUE], states.as_slice()].concat(), states]
}

/// Names of the cursors that begin with `prefix`.
pub(super) fn of_cursors(ledger: &Ledger, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for row in ledger.scan(Tree::Cursors, prefix.as_bytes()) {
        let (key, _) = row?;
        let name = pieces::name_of_head(&key).map(|name| String::from_utf8_lossy(name).into_owned());
        names.extend(name);
    }
    // The mark behind a name is greater than any letter.
    names.sort();
    Ok(names)
}

/// Grouping and key of every state of `lane`.
pub(super) fn of_states(ledger: &Ledger, lane: &str) -> Result<Vec<(u64, String)>, StoreError> {
    let [_, prefix] = prefixes_of(lane);
    let mut keys = Vec::new();
    for row in ledger.scan(Tree::States, &prefix) {
        let (key, _) = row?;
        if let Some(name) = pieces::name_of_head(&key) {
            keys.push(parse(&name[prefix.len()..])?);
        }
    }
    Ok(keys)
}

/// When the states of `lane` are due.
pub(super) fn dues(ledger: &Ledger, lane: &str) -> Result<Vec<DueRow>, StoreError> {
    let [prefix, _] = prefixes_of(lane);
    let mut dues = Vec::new();
    for row in ledger.scan(Tree::States, &prefix) {
        let (key, head) = row?;
        if let Some(name) = pieces::name_of_head(&key) {
            let (keying, text) = parse(&name[prefix.len()..])?;
            dues.push((keying, text, pieces::join(ledger, Tree::States, name, &head)?));
        }
    }
    Ok(dues)
}

fn parse(bytes: &[u8]) -> Result<(u64, String), StoreError> {
    let damaged = || StoreError::Damaged(format!("key {:?}", String::from_utf8_lossy(bytes)));
    let (keying, text) = bytes.split_first_chunk::<KEYING_BYTES>().ok_or_else(damaged)?;
    let text = std::str::from_utf8(text).map_err(|_| damaged())?;
    Ok((u64::from_be_bytes(*keying), text.to_owned()))
}
