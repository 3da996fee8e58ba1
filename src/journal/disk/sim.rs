//! A simulated disk for tests: deterministic, in memory, and as unkind as a real one may be.
//!
//! What is written is seen at once and durable after a sync; names are durable after a sync of their directory.
//! [`SimDisk::power_cut`] gives the disk as a crash may leave it: of what was not synced any part, torn at
//! sectors. [`SimDisk::fail`] makes a chosen operation fail. After a failed sync the pages count as clean: what
//! of them reached the platter is chance, and later syncs succeed without them, as on Linux
//! (<https://lwn.net/Articles/752063/>). [`SimDisk::limit`] makes it fill up. Equal seeds give equal disks.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, Entry};

mod fault;
mod node;
mod tests;

use fault::Faults;
pub(crate) use fault::{Dice, Failure, Fault, Operation, Span};
use node::{Directory, FileNode, Node};

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    nodes: Vec<Node>,
    faults: Faults,
    dice: Dice,
    used_bytes: u64,
    bytes_max: u64,
}

const ROOT: usize = 0;

impl SimDisk {
    /// An empty disk without a limit; what chance decides follows from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(vec![Node::Directory(Directory::default())], seed)
    }

    fn with(nodes: Vec<Node>, seed: u64) -> Self {
        let named = nodes.iter().flat_map(Node::files);
        let used_bytes = named.map(|at| nodes[at].bytes()).sum();
        let (faults, dice) = (Faults::default(), Dice::new(seed));
        let state = State { nodes, faults, dice, used_bytes, bytes_max: u64::MAX };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The disk as it may be found after the power was cut now, without faults or limit. This one goes on as if
    /// nothing had happened, so one state gives many images.
    pub(crate) fn power_cut(&self, dice: &mut Dice) -> Self {
        let nodes = self.state().nodes.iter().map(|node| node.after_power_cut(dice)).collect();
        Self::with(nodes, dice.next())
    }

    /// The program was killed and the system runs on: everything seen stays, except that clean pages which a
    /// failed sync did not write may be read from the disk again, as it holds them.
    pub(crate) fn kill(&self) {
        let state = &mut *self.state();
        let (nodes, dice) = (&mut state.nodes, &mut state.dice);
        nodes.iter_mut().for_each(|node| node.evict(dice));
    }

    /// Lets an operation fail from now on; replaces the last one chosen. The count starts anew.
    pub(crate) fn fail(&self, fault: Fault) {
        self.state().faults.plan(Some(fault));
    }

    /// No more failures.
    pub(crate) fn heal(&self) {
        self.state().faults.plan(None);
    }

    /// Most bytes of all files together: beyond it writing fails with `ENOSPC`.
    pub(crate) fn limit(&self, bytes_max: u64) {
        self.state().bytes_max = bytes_max;
    }

    /// Bytes of all files.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.state().used_bytes
    }

    /// How many operations of each kind there were, in the order of [`Operation::ALL`].
    pub(crate) fn operations(&self) -> [u64; Operation::ALL.len()] {
        self.state().faults.counts()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("simulated disk: no {}", path.display()))
}

fn name_of(path: &Path) -> String {
    path.file_name().and_then(OsStr::to_str).expect("paths end in a name of text").to_owned()
}

impl State {
    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = ROOT;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let Node::Directory(directory) = &self.nodes[at] else { return Err(not_found(path)) };
            let name = name.to_str().ok_or_else(|| not_found(path))?;
            at = directory.find(name).ok_or_else(|| not_found(path))?;
        }
        Ok(at)
    }

    fn directory(&mut self, path: &Path) -> io::Result<&mut Directory> {
        let at = self.find(path)?;
        match &mut self.nodes[at] {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(not_found(path)),
        }
    }

    fn parent(&mut self, path: &Path) -> io::Result<&mut Directory> {
        self.directory(path.parent().unwrap_or(Path::new("/")))
    }

    fn file(&mut self, at: usize) -> &mut FileNode {
        let Node::File(file) = &mut self.nodes[at] else { unreachable!("handles are of files") };
        file
    }

    /// Takes room for a file that grows by `bytes`.
    fn take(&mut self, bytes: u64) -> io::Result<()> {
        if self.used_bytes + bytes > self.bytes_max {
            return Err(Failure::Full.error());
        }
        self.used_bytes += bytes;
        Ok(())
    }

    fn release(&mut self, at: usize) {
        self.used_bytes -= self.nodes[at].bytes();
    }

    fn write(&mut self, at: usize, bytes: &[u8], place: u64) -> io::Result<()> {
        let failed = self.faults.check(Operation::Write);
        let end = place + bytes.len() as u64;
        let grows = end.saturating_sub(self.file(at).bytes());
        let done = failed.and_then(|()| self.take(grows));
        if done.is_err() {
            // Part of it may have gone through.
            let part = self.dice.below(bytes.len() as u64 + 1) as usize;
            let grows = (place + part as u64).saturating_sub(self.file(at).bytes());
            if self.take(grows).is_ok() {
                self.file(at).write(&bytes[..part], place);
            }
            return done;
        }
        self.file(at).write(bytes, place);
        Ok(())
    }

    fn set_bytes(&mut self, at: usize, bytes: u64) -> io::Result<()> {
        self.faults.check(Operation::Write)?;
        let now = self.file(at).bytes();
        self.take(bytes.saturating_sub(now))?;
        self.used_bytes -= now.saturating_sub(bytes);
        self.file(at).set_bytes(bytes);
        Ok(())
    }

    fn sync(&mut self, at: usize) -> io::Result<()> {
        let done = self.faults.check(Operation::Sync);
        match &done {
            Ok(()) => self.nodes[at].sync(),
            Err(_) => self.nodes[at].fail_sync(&mut self.dice),
        }
        done
    }
}

impl Disk for SimDisk {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.state().find(path).is_ok())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        state.faults.check(Operation::Open)?;
        let at = state.nodes.len();
        state.parent(dir)?.set(name_of(dir), at);
        state.nodes.push(Node::Directory(Directory::default()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = &mut *self.state();
        let names: BTreeMap<String, usize> = state.directory(dir)?.names().clone();
        let files = names.into_iter().filter_map(|(name, at)| match &state.nodes[at] {
            Node::File(file) => Some(Entry { name, bytes: file.bytes() }),
            Node::Directory(_) => None,
        });
        Ok(files.collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = &mut *self.state();
        state.faults.check(Operation::Open)?;
        let node = state.find(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), node }))
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let state = &mut *self.state();
        state.faults.check(Operation::Open)?;
        let node = match state.find(path) {
            Ok(node) => {
                state.release(node);
                state.file(node).set_bytes(0);
                node
            }
            Err(_) => {
                let node = state.nodes.len();
                state.parent(path)?.set(name_of(path), node);
                state.nodes.push(Node::File(FileNode::default()));
                node
            }
        };
        if bytes > 0 {
            state.set_bytes(node, bytes)?;
        }
        Ok(Box::new(SimFile { disk: self.clone(), node }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        state.faults.check(Operation::Rename)?;
        assert_eq!(from.parent(), to.parent(), "the journal renames within a directory");
        if let Ok(replaced) = state.find(to) {
            state.release(replaced);
        }
        let renamed = state.parent(from)?.rename(&name_of(from), name_of(to));
        renamed.then_some(()).ok_or_else(|| not_found(from))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        state.faults.check(Operation::Remove)?;
        let node = state.find(path)?;
        state.release(node);
        state.parent(path)?.remove(name_of(path));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        let at = state.find(dir)?;
        state.sync(at)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let state = self.state();
        Ok(state.bytes_max.saturating_sub(state.used_bytes))
    }

    fn blocks(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    node: usize,
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().file(self.node).bytes())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        Ok(self.disk.state().file(self.node).read(buffer, at))
    }

    fn data_from(&self, at: u64) -> io::Result<Option<u64>> {
        Ok(self.disk.state().file(self.node).data_from(at))
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.disk.state().write(self.node, bytes, at)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let bytes = bytes.max(self.bytes()?);
        self.set_bytes(bytes)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.disk.state().set_bytes(self.node, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.state().sync(self.node)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.state().sync(self.node)
    }
}
