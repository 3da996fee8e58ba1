//! Working with an open store, and what becomes of it after an error: closed, or damaged until it is mended.
//!
//! sled returns errors, panics or returns something else than was written. Whatever it does, the caller gets an
//! error, nobody uses those files again, and whoever waits in [`Store::damaged`] is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ledger::Ledger;
use super::opening::{self, Found};
use super::{State, Store, StoreError, lock};

impl Store {
    /// Why the store must be restored; `None` while it is well.
    pub fn damage(&self) -> Option<String> {
        self.damage.borrow().clone()
    }

    /// Waits until the store must be restored: why. Cancel safe.
    pub async fn damaged(&self) -> String {
        let mut damage = self.damage.subscribe();
        let found = damage.wait_for(Option::is_some).await.map(|why| why.clone());
        found.ok().flatten().expect("its sender is the store's, which is borrowed")
    }

    /// Opens a store anew that was closed after an error; sets a damaged one aside and restores it. Whatever works
    /// with states and lanes' cursors must have stopped, and begins again from its cursor; sinks go on.
    ///
    /// # Errors
    /// As [`Self::open_with`]; asked again, it begins anew.
    pub fn mend(&self) -> Result<Found, StoreError> {
        let found = match self.reopened() {
            Ok(_) => Found::Whole,
            Err(StoreError::Damaged(_)) => self.rebuild()?,
            Err(error) => return Err(error),
        };
        self.home.is_hurried.store(false, Ordering::Relaxed);
        *lock(&self.found) = found;
        Ok(found)
    }

    fn rebuild(&self) -> Result<Found, StoreError> {
        let mut state = lock(&self.state);
        let State::Damaged(why) = &*state else { return Ok(Found::Whole) };
        let mut outside = lock(&self.outside);
        let opened = opening::rebuild(&self.home, outside.manifest.clone(), why)?;
        *outside = opened.outside;
        self.turn(&mut state, State::Open(Arc::new(opened.ledger)));
        Ok(opened.found)
    }

    /// Works with the open store. After an error of the disk it is closed; the next call opens it anew, which fails
    /// for as long as somebody else still works with the old one.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let ledger = self.reopened().inspect_err(|error| self.tell_full(error))?;
        let result = catch_unwind(AssertUnwindSafe(|| work(&ledger)))
            .unwrap_or_else(|_| Err(StoreError::Damaged("using it panicked".to_owned())))
            .inspect_err(|error| self.tell_full(error));
        let after = match &result {
            Err(StoreError::Damaged(why)) => self.condemned(why),
            Err(StoreError::Full(_) | StoreError::Io(_)) => State::Closed,
            Err(StoreError::Newer { .. }) | Ok(_) => return result,
        };
        let mut state = lock(&self.state);
        if matches!(&*state, State::Open(current) if Arc::ptr_eq(current, &ledger)) {
            self.turn(&mut state, after);
        }
        result
    }

    fn tell_full(&self, error: &StoreError) {
        if let (StoreError::Full(error), Some(tell)) = (error, self.when_full.get()) {
            tell(error);
        }
    }

    fn reopened(&self) -> Result<Arc<Ledger>, StoreError> {
        let mut state = lock(&self.state);
        match &*state {
            State::Open(ledger) => return Ok(ledger.clone()),
            State::Damaged(why) => return Err(StoreError::Damaged(why.clone())),
            State::Closed => {}
        }
        let manifest = lock(&self.outside).manifest.clone();
        let checked = opening::check(&self.home, &manifest).inspect_err(|error| {
            if let StoreError::Damaged(why) = error {
                let damaged = self.condemned(why);
                self.turn(&mut state, damaged);
            }
        });
        let ledger = Arc::new(checked?);
        self.turn(&mut state, State::Open(ledger.clone()));
        Ok(ledger)
    }

    /// Changes the state, then tells of it: whoever hears of damage finds the store so.
    fn turn(&self, state: &mut State, to: State) {
        let why = if let State::Damaged(why) = &to { Some(why.clone()) } else { None };
        *state = to;
        self.damage.send_replace(why);
    }

    /// Sees to it that the next start does not use the store either.
    fn condemned(&self, why: &str) -> State {
        if let Err(error) = self.home.medium.condemn(why) {
            tracing::error!(%error, why, "cannot note that the state store is damaged");
        }
        State::Damaged(why.to_owned())
    }
}
