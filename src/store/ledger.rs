//! Keeps account of what is stored, because sled does not notice when rows are gone, old or changed.
//!
//! Each tree has one more row, its [`Account`]: how many rows there are, a digest of all keys and values, and an
//! epoch that every batch raises. It is written in the batch that it accounts for, so after any crash rows and
//! account agree; where they do not, or where the epoch is below one that was durable before ([`super::manifest`]),
//! the engine has lost or changed something. All rows are read for that at every opening.
//!
//! The digest is the sum of a hash per row, so that a batch costs its own rows only, in any order. It guards
//! against media and engines, not against people.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::backend::{Backend, Batch, Rows, Tree};
use crate::model::bytes::{Input, Truncated, put_varint};

/// The format of rows that this program writes; it reads this one, and stores without accounts from before it.
/// Raised with every change to any row in the store, also to those that only lanes and sinks understand.
pub(crate) const FORMAT: u64 = 1;
/// Behind every name: no UTF-8 text begins with it.
const ACCOUNT_KEY: &[u8] = &[0xff];

/// What a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Rises with every batch; 0 while a tree is being filled from a dump.
    pub(crate) epoch: u64,
    /// Rows, this one not among them.
    pub(crate) rows: u64,
    digest: u64,
}

impl Account {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.digest = self.digest.wrapping_add(hash(key, value));
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(hash(key, value));
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        put_varint(&mut bytes, FORMAT);
        put_varint(&mut bytes, self.epoch);
        put_varint(&mut bytes, self.rows);
        bytes.extend_from_slice(&self.digest.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(tree: Tree, bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |_: Truncated| StoreError::Damaged(format!("account of {}", tree.name()));
        let (rest, crc) = bytes.split_last_chunk::<4>().ok_or(Truncated).map_err(damaged)?;
        if crc32c::crc32c(rest) != u32::from_le_bytes(*crc) {
            return Err(damaged(Truncated));
        }
        let mut input = Input(rest);
        let format = input.varint().map_err(damaged)?;
        if format > FORMAT {
            return Err(StoreError::Newer { what: tree.name().into(), format, reads: FORMAT });
        }
        let mut decode = || Ok(Self { epoch: input.varint()?, rows: input.varint()?, digest: input.u64()? });
        decode().map_err(damaged)
    }
}

/// Two checksums, mixed (the finalizer of splitmix64) so that they may be added up.
fn hash(key: &[u8], value: &[u8]) -> u64 {
    let of_key = crc32c::crc32c(key);
    let both = u64::from(of_key) << 32 | u64::from(crc32c::crc32c_append(of_key, value));
    let mixed = (both ^ both >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The accounts of all trees, in the order of [`Tree::ALL`].
pub(crate) type Accounts = [Account; Tree::ALL.len()];

/// A backend whose rows are accounted for.
pub(super) struct Ledger {
    backend: Arc<dyn Backend>,
    accounts: [Mutex<Account>; Tree::ALL.len()],
    /// Whether batches raise the epoch.
    phase: Phase,
    /// After an error nobody knows what was applied: only opening anew tells.
    is_broken: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Rows of a dump come in; without the end of it they are worth nothing.
    Filling,
    Live,
}

impl Ledger {
    /// Reads every row of `backend` and compares with the accounts.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if they differ, [`StoreError::Newer`], or what the backend says.
    pub(super) fn check(backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        let mut accounts = Accounts::default();
        let mut adopted = Vec::new();
        for (tree, account) in Tree::ALL.into_iter().zip(&mut accounts) {
            let (counted, noted) = count(&*backend, tree)?;
            *account = noted.unwrap_or(counted);
            // A store from before there were accounts, or a new one.
            let is_old = noted.is_none() && counted.rows > 0;
            adopted.extend(is_old.then_some(tree));
            let is_cut_short = noted.is_some_and(|noted| noted.epoch == 0);
            if (counted.rows, counted.digest) != (account.rows, account.digest) || is_cut_short {
                return Err(StoreError::Damaged(format!(
                    "{}: {} rows found, {} accounted for at epoch {}",
                    tree.name(),
                    counted.rows,
                    account.rows,
                    account.epoch
                )));
            }
        }
        let ledger = Self::over(backend, accounts, Phase::Live);
        adopted.into_iter().try_for_each(|tree| ledger.raise(tree, 1))?;
        Ok(ledger)
    }

    /// An empty backend that is filled: unless [`Self::filled`] follows it is taken for damaged later.
    pub(super) fn filling(backend: Arc<dyn Backend>) -> Self {
        Self::over(backend, Accounts::default(), Phase::Filling)
    }

    /// Ends the filling, durably, with epochs above `epoch`.
    pub(super) fn filled(mut self, epoch: u64) -> Result<Self, StoreError> {
        self.phase = Phase::Live;
        Tree::ALL.into_iter().try_for_each(|tree| self.raise(tree, epoch + 1))?;
        self.flush()?;
        Ok(self)
    }

    fn over(backend: Arc<dyn Backend>, accounts: Accounts, phase: Phase) -> Self {
        Self { backend, accounts: accounts.map(Mutex::new), phase, is_broken: AtomicBool::new(false) }
    }

    fn raise(&self, tree: Tree, epoch: u64) -> Result<(), StoreError> {
        let mut account = self.account(tree);
        account.epoch = epoch;
        self.backend.apply(tree, Batch::from([(ACCOUNT_KEY.to_vec(), Some(account.encode()))]))
    }

    fn account(&self, tree: Tree) -> MutexGuard<'_, Account> {
        self.accounts[tree as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is applied now.
    pub(super) fn accounts(&self) -> Accounts {
        Tree::ALL.map(|tree| *self.account(tree))
    }

    /// The value at `key`.
    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.backend.get(tree, key)
    }

    /// The rows whose keys begin with `prefix`.
    pub(super) fn scan(&self, tree: Tree, prefix: &[u8]) -> Rows {
        self.backend.scan(tree, prefix)
    }

    /// Applies those rows of `batch` that differ from what is there.
    pub(super) fn apply(&self, tree: Tree, batch: Batch) -> Result<(), StoreError> {
        let mut account = self.account(tree);
        self.unless_broken(|| {
            let (mut after, mut changes) = (*account, Batch::new());
            for (key, new) in batch {
                let old = self.backend.get(tree, &key)?;
                if old != new {
                    old.iter().for_each(|old| after.remove(&key, old));
                    new.iter().for_each(|new| after.add(&key, new));
                    changes.insert(key, new);
                }
            }
            if changes.is_empty() {
                return Ok(());
            }
            after.epoch += u64::from(self.phase == Phase::Live);
            changes.insert(ACCOUNT_KEY.to_vec(), Some(after.encode()));
            self.backend.apply(tree, changes)?;
            *account = after;
            Ok(())
        })
    }

    /// Makes everything applied durable; the accounts of at least that much.
    pub(super) fn flush(&self) -> Result<Accounts, StoreError> {
        let accounts = self.accounts();
        self.unless_broken(|| self.backend.flush())?;
        Ok(accounts)
    }

    /// Works while nobody writes to `tree`.
    pub(super) fn while_still<T>(
        &self,
        tree: Tree,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _account = self.account(tree);
        work()
    }

    fn unless_broken<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.is_broken.load(Ordering::Acquire) {
            return Err(StoreError::Io(std::io::Error::other("closed after an error")));
        }
        work().inspect_err(|_| self.is_broken.store(true, Ordering::Release))
    }
}

/// What is in `tree`, and what its account says.
fn count(backend: &dyn Backend, tree: Tree) -> Result<(Account, Option<Account>), StoreError> {
    let (mut counted, mut noted) = (Account::default(), None);
    for row in backend.scan(tree, &[]) {
        let (key, value) = row?;
        match key.as_slice() {
            ACCOUNT_KEY => noted = Some(Account::decode(tree, &value)?),
            key => counted.add(key, &value),
        }
    }
    Ok((counted, noted))
}

/// Whether `found` may come after `known`, which was durable.
pub(super) fn may_follow(found: &Accounts, known: &Accounts) -> bool {
    found.iter().zip(known).all(|(found, known)| found.epoch > known.epoch || found == known)
}
