//! Files and directories of a simulated disk: what is seen, what is durable, and what is between.

use std::collections::BTreeMap;

use super::fault::Dice;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// How much of what was not synced a crash leaves: real ones leave nothing, all or a mixture.
#[derive(Clone, Copy)]
enum Leaves {
    Nothing,
    Everything,
    /// The first so many changes.
    First(usize),
    /// Each with even odds.
    Some,
}

impl Leaves {
    fn roll(dice: &mut Dice, changes: usize) -> Self {
        match dice.below(6) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 | 3 => Self::First(dice.below(changes as u64 + 1) as usize),
            _ => Self::Some,
        }
    }

    fn keeps(self, change: usize, dice: &mut Dice) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::First(count) => change < count,
            Self::Some => dice.once_in(2),
        }
    }
}

/// A file or a directory.
pub(super) enum Node {
    Directory(Directory),
    File(FileNode),
}

impl Node {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Directory(_) => 0,
            Self::File(file) => file.bytes(),
        }
    }

    /// The nodes that a directory names; directories have no bytes and do no harm.
    pub(super) fn files(&self) -> Vec<usize> {
        match self {
            Self::Directory(directory) => directory.seen.values().copied().collect(),
            Self::File(_) => Vec::new(),
        }
    }

    pub(super) fn sync(&mut self) {
        match self {
            Self::Directory(directory) => directory.durable.clone_from(&directory.seen),
            Self::File(file) => file.sync(),
        }
        self.forget();
    }

    /// What was not synced counts as written now; what of it is on the disk is chance.
    pub(super) fn fail_sync(&mut self, dice: &mut Dice) {
        match self {
            Self::Directory(directory) => directory.durable = directory.image(dice),
            Self::File(file) => file.durable = file.image(dice),
        }
        self.forget();
    }

    fn forget(&mut self) {
        match self {
            Self::Directory(directory) => directory.changes.clear(),
            Self::File(file) => file.changes.clear(),
        }
    }

    pub(super) fn evict(&mut self, dice: &mut Dice) {
        let Self::File(file) = self else { return };
        if file.changes.is_empty() && dice.once_in(2) {
            file.seen.clone_from(&file.durable);
        }
    }

    pub(super) fn after_power_cut(&self, dice: &mut Dice) -> Self {
        match self {
            Self::Directory(directory) => {
                let names = directory.image(dice);
                Self::Directory(Directory { seen: names.clone(), durable: names, changes: Vec::new() })
            }
            Self::File(file) => {
                let content = file.image(dice);
                Self::File(FileNode { seen: content.clone(), durable: content, changes: Vec::new() })
            }
        }
    }
}

type Names = BTreeMap<String, usize>;

/// Names and what they stand for.
#[derive(Default)]
pub(super) struct Directory {
    seen: Names,
    durable: Names,
    changes: Vec<NameChange>,
}

enum NameChange {
    Set(String, usize),
    Rename { from: String, to: String, node: usize },
    Remove(String),
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Set(name, node) => drop(names.insert(name.clone(), *node)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Directory {
    pub(super) fn names(&self) -> &Names {
        &self.seen
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.seen.get(name).copied()
    }

    pub(super) fn set(&mut self, name: String, node: usize) {
        self.change(NameChange::Set(name, node));
    }

    pub(super) fn remove(&mut self, name: String) {
        self.change(NameChange::Remove(name));
    }

    pub(super) fn rename(&mut self, from: &str, to: String) -> bool {
        let Some(node) = self.find(from) else { return false };
        self.change(NameChange::Rename { from: from.to_owned(), to, node });
        true
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.seen);
        self.changes.push(change);
    }

    fn image(&self, dice: &mut Dice) -> Names {
        let mut names = self.durable.clone();
        let leaves = Leaves::roll(dice, self.changes.len());
        for (at, change) in self.changes.iter().enumerate() {
            if leaves.keeps(at, dice) {
                change.apply(&mut names);
            }
        }
        names
    }
}

/// Bytes up to the last that was ever written, and zeros up to the length.
#[derive(Clone, Default)]
struct Bytes {
    written: Vec<u8>,
    length: u64,
}

impl Bytes {
    fn write(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        if self.written.len() < end {
            self.written.resize(end, 0);
        }
        self.written[at..end].copy_from_slice(bytes);
        self.length = self.length.max(end as u64);
    }

    fn set_length(&mut self, length: u64) {
        self.written.truncate(length as usize);
        self.length = length;
    }
}

/// A file's content.
#[derive(Default)]
pub(super) struct FileNode {
    seen: Bytes,
    durable: Bytes,
    changes: Vec<FileChange>,
}

enum FileChange {
    Write { at: usize, bytes: Vec<u8> },
    Length(u64),
}

impl FileNode {
    pub(super) fn bytes(&self) -> u64 {
        self.seen.length
    }

    pub(super) fn read(&self, buffer: &mut [u8], at: u64) -> usize {
        let there = (buffer.len() as u64).min(self.seen.length.saturating_sub(at)) as usize;
        let written = self.seen.written.get(at as usize..).unwrap_or_default();
        let known = written.len().min(there);
        buffer[..known].copy_from_slice(&written[..known]);
        buffer[known..there].fill(0);
        there
    }

    pub(super) fn data_from(&self, at: u64) -> Option<u64> {
        (at < self.seen.written.len() as u64).then_some(at)
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: u64) {
        self.seen.write(bytes, at as usize);
        self.changes.push(FileChange::Write { at: at as usize, bytes: bytes.to_vec() });
    }

    pub(super) fn set_bytes(&mut self, bytes: u64) {
        self.seen.set_length(bytes);
        self.changes.push(FileChange::Length(bytes));
    }

    /// Only what was written since the last sync: bytes that a failed sync left behind are not tried again.
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            match change {
                FileChange::Write { at, bytes } => self.durable.write(&bytes, at),
                FileChange::Length(length) => self.durable.set_length(length),
            }
        }
    }

    /// The durable content and, of what came after it, whole sectors and lengths as chance has it.
    fn image(&self, dice: &mut Dice) -> Bytes {
        let mut image = self.durable.clone();
        let leaves = Leaves::roll(dice, self.changes.len());
        let mut lengths = vec![image.length];
        for (n, change) in self.changes.iter().enumerate() {
            match change {
                FileChange::Length(length) if leaves.keeps(n, dice) => image.set_length(*length),
                FileChange::Length(_) => {}
                FileChange::Write { at, bytes } => {
                    for (place, part) in sectors(*at, bytes) {
                        if leaves.keeps(n, dice) {
                            image.write(part, place);
                        }
                    }
                }
            }
            lengths.push(image.length);
        }
        if matches!(leaves, Leaves::Some) && dice.once_in(2) {
            let length = lengths[dice.below(lengths.len() as u64) as usize];
            image.set_length(length);
        }
        image
    }
}

/// The parts of a write that reach the disk each on its own.
fn sectors(at: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let first = bytes.len().min(SECTOR_BYTES - at % SECTOR_BYTES);
    let rest = bytes[first..].chunks(SECTOR_BYTES).enumerate();
    let rest = rest.map(move |(n, part)| (at + first + n * SECTOR_BYTES, part));
    std::iter::once((at, &bytes[..first])).chain(rest)
}
