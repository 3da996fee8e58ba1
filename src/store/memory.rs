//! Rows in memory in sled's place, for tests: durable only as of the last flush, and breakable on purpose.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StoreError;
use super::backend::{Backend, Batch, Medium, Rows, Tree};

type Table = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

/// A disk with at most one store on it. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<Data>>);

#[derive(Clone, Default)]
struct Data {
    /// As of the last flush.
    durable: Table,
    rows: Table,
    /// Batches since the last flush, the oldest first.
    unflushed: Vec<(Tree, Batch)>,
    condemned: Option<String>,
    set_aside: usize,
    operations: u64,
    /// The operation that fails, and with what.
    failing: Option<(u64, Failure)>,
    opening: Opening,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// This one only.
    Once(io::ErrorKind),
    /// This one and all that follow.
    FromNowOn(io::ErrorKind),
}

/// What opening does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It opens.
    #[default]
    Works,
    /// It panics, until the data is set aside.
    Panics,
    /// It never returns, until the data is set aside.
    Hangs,
    /// The disk is full.
    IsFull,
}

impl Data {
    fn operate(&mut self) -> Result<(), StoreError> {
        let now = self.operations;
        self.operations += 1;
        let kind = match self.failing {
            Some((at, Failure::Once(kind))) if at == now => kind,
            Some((at, Failure::FromNowOn(kind))) if at <= now => kind,
            _ => return Ok(()),
        };
        Err(io::Error::new(kind, format!("planted at operation {now}")).into())
    }
}

fn apply(table: &mut Table, tree: Tree, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => drop(table.insert((tree, key.clone()), value.clone())),
            None => drop(table.remove(&(tree, key.clone()))),
        }
    }
}

impl MemoryDisk {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk after the power was cut: as of the last flush, and the first `survivors` batches behind it. The
    /// old one goes on as if nothing had happened.
    pub(crate) fn power_cut(&self, survivors: usize) -> Self {
        let mut data = self.data().clone();
        let unflushed = std::mem::take(&mut data.unflushed);
        for (tree, batch) in unflushed.iter().take(survivors) {
            apply(&mut data.durable, *tree, batch);
        }
        data.rows = data.durable.clone();
        Self(Arc::new(Mutex::new(data)))
    }

    /// Batches that a power cut may take.
    pub(crate) fn unflushed(&self) -> usize {
        self.data().unflushed.len()
    }

    /// Rows in those batches.
    pub(crate) fn unflushed_keys(&self) -> usize {
        self.data().unflushed.iter().map(|(_, batch)| batch.len()).sum()
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.data().operations
    }

    /// Makes the operation number `at` fail.
    pub(crate) fn fail(&self, at: u64, failure: Failure) {
        self.data().failing = Some((at, failure));
    }

    /// Nothing fails any more.
    pub(crate) fn heal(&self) {
        let mut data = self.data();
        (data.failing, data.opening) = (None, Opening::Works);
    }

    /// Determines how opening goes.
    pub(crate) fn opening(&self, opening: Opening) {
        self.data().opening = opening;
    }

    /// Rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.data().rows.len()
    }

    /// Changes the row number `at`, as a bad medium might: `None` takes it away.
    pub(crate) fn damage(&self, at: usize, change: impl FnOnce(&mut Option<Vec<u8>>)) {
        let mut data = self.data();
        let data = &mut *data;
        let (key, value) = data.rows.iter().nth(at).map(|(key, value)| (key.clone(), value.clone())).unwrap();
        let mut value = Some(value);
        change(&mut value);
        for table in [&mut data.rows, &mut data.durable] {
            match &value {
                Some(value) => drop(table.insert(key.clone(), value.clone())),
                None => drop(table.remove(&key)),
            }
        }
    }

    /// How often it was set aside.
    pub(crate) fn times_set_aside(&self) -> usize {
        self.data().set_aside
    }
}

impl Medium for MemoryDisk {
    fn open(&self) -> Result<Arc<dyn Backend>, StoreError> {
        let opening = self.data().opening;
        match opening {
            Opening::Works => Ok(Arc::new(self.clone())),
            Opening::Panics => panic!("planted"),
            Opening::Hangs => loop {
                std::thread::park();
            },
            Opening::IsFull => Err(io::Error::from(io::ErrorKind::StorageFull).into()),
        }
    }

    fn set_aside(&self) -> io::Result<Option<String>> {
        self.discard()?;
        let mut data = self.data();
        data.set_aside += 1;
        Ok(Some(format!("memory {}", data.set_aside)))
    }

    fn discard(&self) -> io::Result<()> {
        let mut data = self.data();
        let Data { set_aside, operations, failing, .. } = *data;
        *data = Data { set_aside, operations, failing, ..Data::default() };
        Ok(())
    }

    fn condemn(&self, why: &str) -> io::Result<()> {
        self.data().condemned = Some(why.to_owned());
        Ok(())
    }

    fn condemned(&self) -> io::Result<Option<String>> {
        Ok(self.data().condemned.clone())
    }
}

impl Backend for MemoryDisk {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut data = self.data();
        data.operate()?;
        Ok(data.rows.get(&(tree, key.to_vec())).cloned())
    }

    fn scan(&self, tree: Tree, prefix: &[u8]) -> Rows {
        let mut data = self.data();
        if let Err(error) = data.operate() {
            return Box::new(std::iter::once(Err(error)));
        }
        let rows: Vec<_> = data
            .rows
            .range((tree, prefix.to_vec())..)
            .take_while(|((of, key), _)| *of == tree && key.starts_with(prefix))
            .map(|((_, key), value)| Ok((key.clone(), value.clone())))
            .collect();
        Box::new(rows.into_iter())
    }

    fn apply(&self, tree: Tree, batch: Batch) -> Result<(), StoreError> {
        let mut data = self.data();
        data.operate()?;
        apply(&mut data.rows, tree, &batch);
        data.unflushed.push((tree, batch));
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut data = self.data();
        data.operate()?;
        data.durable = data.rows.clone();
        data.unflushed.clear();
        Ok(())
    }
}
