//! Opening, and what is done with a store that is not what it was: set aside, restored from the newest dump.
//!
//! sled panics on damaged files, hangs on them, or opens without some of its rows. So it is opened on a thread of
//! its own, with a time limit, and every row is checked ([`super::ledger`]) against what was durable before
//! ([`super::manifest`]). A thread that hangs is left behind. What lanes had done since the dump they do again: the
//! journal keeps all of it.
//!
//! A full disk is no damage: opening fails, and works again when there is room.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;

use super::backend::{Backend, Batch, Tree};
use super::home::Home;
use super::ledger::{Account, Accounts, Ledger, may_follow};
use super::manifest::Manifest;
use super::outside::Outside;
use super::{BATCH_KEYS_MAX, StoreError, dump, pieces};
use crate::telemetry::clock;
use crate::telemetry::facts::{Fact, StoreDamaged, StoreRestored};

/// A store that is open, and the manifest it agrees with.
pub(super) struct Opened {
    pub(super) ledger: Ledger,
    pub(super) outside: Outside,
    pub(super) found: Found,
}

/// What opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, and nothing is known of it: a new one, or one that was lost with everything beside it.
    Empty,
    /// What was written.
    Whole,
    /// Damage: it is a new store, filled from a dump if there was one.
    Restored,
}

/// Opens what is there. What is damaged is set aside and restored.
///
/// # Errors
/// [`StoreError::Full`] and the disk's errors: try again later. [`StoreError::Newer`]: nothing was touched.
pub(super) fn open(home: &Home, manifest: Manifest) -> Result<Opened, StoreError> {
    match check(home, &manifest) {
        Ok(ledger) => {
            let accounts = [ledger.accounts(), manifest.accounts];
            let is_empty = accounts.iter().all(|accounts| *accounts == Accounts::default());
            let mut outside = Outside::new(&home.manifest, manifest);
            outside.save(ledger.flush()?)?;
            Ok(Opened { ledger, outside, found: if is_empty { Found::Empty } else { Found::Whole } })
        }
        Err(StoreError::Damaged(why)) => rebuild(home, manifest, &why),
        Err(error) => Err(error),
    }
}

/// Opens what is there, compares it with what must be there, and adds what sinks have committed since.
///
/// # Errors
/// [`StoreError::Damaged`] also for a panic, a hang and what is missing.
pub(super) fn check(home: &Home, manifest: &Manifest) -> Result<Ledger, StoreError> {
    if let Some(why) = home.medium.condemned()? {
        return Err(StoreError::Damaged(why));
    }
    let ledger = open_in_time(home)?;
    let (found, known) = (ledger.accounts(), &manifest.accounts);
    if !may_follow(&found, known) {
        let what = format!("found {}, but {} was durable", said(&found), said(known));
        return Err(StoreError::Damaged(what));
    }
    // Nothing is known of it and nothing is in it: a new one, or one whose manifest is lost too.
    let is_blank = [&found, known].iter().all(|accounts| **accounts == Accounts::default());
    if is_blank && dump::newest(home)?.is_some_and(|dump| dump.rows > 0) {
        return Err(StoreError::Damaged("empty, though there is a dump of it".to_owned()));
    }
    put_sinks(&ledger, manifest)?;
    Ok(ledger)
}

fn said(accounts: &[Account]) -> String {
    let each = Tree::ALL.iter().zip(accounts);
    let each =
        each.map(|(tree, Account { epoch, rows, .. })| format!("{rows} {} of epoch {epoch}", tree.name()));
    each.collect::<Vec<_>>().join(" and ")
}

/// Opens and reads everything on a thread that may panic or hang.
fn open_in_time(home: &Home) -> Result<Ledger, StoreError> {
    let (done, opened) = sync_channel(1);
    let medium = home.medium.clone();
    // A panic ends the thread and drops `done`. Nobody listens only after the time limit.
    let open = move || drop(done.send(medium.open().and_then(Ledger::check)));
    thread::Builder::new().name("forebay-store-open".into()).spawn(open)?;
    opened.recv_timeout(home.open_limit).unwrap_or_else(|error| {
        Err(StoreError::Damaged(match error {
            RecvTimeoutError::Timeout => format!("opening took longer than {:?}", home.open_limit),
            RecvTimeoutError::Disconnected => "opening panicked".to_owned(),
        }))
    })
}

/// Sets what is there aside and fills an empty store from the newest dump that is whole; without one it stays
/// empty, and lanes rebuild all states from the journal. Sinks' cursors come from the manifest, which is newer.
///
/// # Errors
/// As [`open`]; asked again, it begins anew.
pub(super) fn rebuild(home: &Home, mut manifest: Manifest, why: &str) -> Result<Opened, StoreError> {
    let started = clock::monotonic();
    let place = home.medium.set_aside()?;
    StoreDamaged { why, place: place.as_deref() }.record(&home.metrics);
    let dump = dump::newest(home)?;
    let filled = fill(home, &manifest, dump.as_ref());
    let ledger = match filled {
        Ok(ledger) => ledger,
        Err(error) => {
            home.medium.discard()?;
            return Err(error);
        }
    };
    manifest.restored(dump.as_ref().map(|dump| dump.header.marks.clone()).unwrap_or_default());
    let mut outside = Outside::new(&home.manifest, manifest);
    outside.save(ledger.accounts())?;
    let (dump, rows) = (dump.map(|dump| dump.path.display().to_string()), said(&ledger.accounts()));
    StoreRestored { dump: dump.as_deref(), rows: &rows, took: started.elapsed() }.record(&home.metrics);
    Ok(Opened { ledger, outside, found: Found::Restored })
}

fn fill(home: &Home, manifest: &Manifest, dump: Option<&dump::Dump>) -> Result<Ledger, StoreError> {
    let backend: Arc<dyn Backend> = home.medium.open()?;
    let ledger = Ledger::filling(backend);
    if let Some(dump) = dump {
        let mut batches = Tree::ALL.map(|_| Batch::new());
        for row in dump.rows()? {
            let (tree, name, bytes) = row?;
            let batch = &mut batches[tree as usize];
            pieces::put(&ledger, tree, (&name, &bytes), batch)?;
            if batch.len() >= BATCH_KEYS_MAX {
                ledger.apply(tree, std::mem::take(batch))?;
            }
        }
        Tree::ALL.into_iter().zip(batches).try_for_each(|(tree, batch)| ledger.apply(tree, batch))?;
    }
    put_sinks(&ledger, manifest)?;
    let epoch = manifest.accounts.iter().map(|account| account.epoch).max().unwrap_or(0);
    ledger.filled(epoch)
}

/// What sinks committed is newer than any dump, and than a store that was not flushed since.
fn put_sinks(ledger: &Ledger, manifest: &Manifest) -> Result<(), StoreError> {
    let mut cursors = Batch::new();
    for (name, text) in &manifest.sinks {
        pieces::put(ledger, Tree::Cursors, (name.as_bytes(), text.as_bytes()), &mut cursors)?;
    }
    ledger.apply(Tree::Cursors, cursors)
}
