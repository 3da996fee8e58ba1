//! Disks as a power cut could leave them: what was synced is there, of the rest whatever chance leaves.
//!
//! The model is crueller than any file system. A file's bytes and length are durable up to where its last completed
//! sync began; a name (creation, renaming, removal) up to where its folder's last completed sync began. Of what came
//! later nothing, all, the first so many operations, or any of them are there; the last one, or any, torn at
//! sectors of 512 bytes, or as a length without its bytes. `sync_file_range` makes nothing durable.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::Dice;
use super::recording::{Kind, Node, Op, ROOT, open_for_writing};

const SECTOR_BYTES: u64 = 512;

/// What becomes of operations that no sync covers.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Nothing,
    Everything,
    /// Those before this index, the last of them torn.
    First(usize),
    /// Each by chance, and some of them torn.
    Any,
}

/// What becomes of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    No,
    Whole,
    Torn,
}

impl Fate {
    fn draw(dice: &mut Dice, cut: usize) -> Self {
        match dice.below(100) {
            0..8 => Self::Nothing,
            8..16 => Self::Everything,
            // Most of what is open is near the end.
            16..50 => Self::First(cut.saturating_sub(dice.below(40.min(cut as u64 + 1)) as usize)),
            _ => Self::Any,
        }
    }

    fn of(self, index: usize, dice: &mut Dice) -> Kept {
        match self {
            Self::Nothing => Kept::No,
            Self::Everything => Kept::Whole,
            Self::First(end) if index + 1 == end => Kept::Torn,
            Self::First(end) if index < end => Kept::Whole,
            Self::First(_) => Kept::No,
            Self::Any => match dice.below(100) {
                0..40 => Kept::No,
                40..60 => Kept::Torn,
                _ => Kept::Whole,
            },
        }
    }
}

/// A power cut after so many operations of a recording.
pub struct Image<'a> {
    ops: &'a [Op],
    /// Per node: operations before this index are durable.
    durable: HashMap<Node, usize>,
    names: BTreeMap<Node, BTreeMap<String, Node>>,
    data_fate: Fate,
}

impl<'a> Image<'a> {
    pub fn new(ops: &'a [Op], cut: usize, dice: &mut Dice) -> Self {
        let ops = &ops[..cut];
        let mut durable = HashMap::new();
        for op in ops {
            if let Op::Synced { node, begun } = op {
                let known = durable.entry(*node).or_insert(0);
                *known = (*begun).max(*known);
            }
        }
        let (data_fate, name_fate) = (Fate::draw(dice, cut), Fate::draw(dice, cut));
        let mut image = Self { ops, durable, names: BTreeMap::new(), data_fate };
        for (index, op) in ops.iter().enumerate() {
            image.name(index, op, name_fate, dice);
        }
        image
    }

    /// In a line, for a failure's text.
    pub fn summary(&self) -> String {
        format!("cut after {} operations, unsynced data {:?}", self.ops.len(), self.data_fate)
    }

    /// Messages acknowledged before the cut, by device; each device's come in order.
    pub fn acknowledged(&self, names: &[String]) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for op in self.ops {
            let Op::Acknowledged { device, message } = op else { continue };
            let count = counts.entry(names[*device].clone()).or_insert(0);
            assert_eq!(*count, *message, "{} was acknowledged out of order", names[*device]);
            *count += 1;
        }
        counts
    }

    fn is_durable(&self, node: Node, index: usize) -> bool {
        self.durable.get(&node).is_some_and(|durable| index < *durable)
    }

    fn name(&mut self, index: usize, op: &Op, fate: Fate, dice: &mut Dice) {
        let folders = match op {
            Op::Created { folder, .. } | Op::Removed { folder, .. } => [*folder; 2],
            Op::Renamed { from, to, .. } => [*from, *to],
            _ => return,
        };
        let is_durable = folders.iter().any(|folder| self.is_durable(*folder, index));
        if !is_durable && fate.of(index, dice) == Kept::No {
            return;
        }
        match op {
            Op::Created { folder, name, node, .. } => self.link(*folder, name, *node),
            Op::Removed { folder, name, node } => self.unlink(*folder, name, *node),
            Op::Renamed { from, old, to, new, node } => {
                self.unlink(*from, old, *node);
                self.link(*to, new, *node);
            }
            _ => {}
        }
    }

    fn link(&mut self, folder: Node, name: &str, node: Node) {
        self.names.entry(folder).or_default().insert(name.to_owned(), node);
    }

    fn unlink(&mut self, folder: Node, name: &str, node: Node) {
        let names = self.names.entry(folder).or_default();
        if names.get(name) == Some(&node) {
            names.remove(name);
        }
    }

    /// Builds the disk in `folder`. A file in `kept` is not created but moved there from its place, and given the
    /// image's bytes: it keeps its inode, by which the file sink knows it.
    pub fn build(&self, folder: &Path, kept: Option<(Node, &Path)>, dice: &mut Dice) {
        let mut paths = HashMap::new();
        self.place(ROOT, folder, &mut paths);
        if let Some((node, at)) = kept
            && let Some(path) = paths.get(&node)
        {
            fs::rename(at, path).unwrap();
            open_for_writing(path).set_len(0).unwrap();
        }
        let mut files: HashMap<Node, File> =
            paths.iter().map(|(node, path)| (*node, open_for_writing(path))).collect();
        for (index, op) in self.ops.iter().enumerate() {
            let (Op::Write { node, .. } | Op::Length { node, .. }) = op else { continue };
            let kept = match self.is_durable(*node, index) {
                true => Kept::Whole,
                false => self.data_fate.of(index, dice),
            };
            if let Some(file) = files.get_mut(node) {
                apply(file, op, kept, dice);
            }
        }
    }

    /// Where the files below a folder are; the folders themselves are created.
    fn place(&self, folder: Node, path: &Path, paths: &mut HashMap<Node, PathBuf>) {
        let is_folder: HashSet<Node> = self
            .ops
            .iter()
            .filter_map(|op| match op {
                Op::Created { node, kind: Kind::Folder, .. } => Some(*node),
                _ => None,
            })
            .collect();
        let mut open = vec![(folder, path.to_owned())];
        while let Some((folder, path)) = open.pop() {
            fs::create_dir_all(&path).unwrap();
            for (name, node) in self.names.get(&folder).into_iter().flatten() {
                if is_folder.contains(node) {
                    open.push((*node, path.join(name)));
                } else {
                    paths.insert(*node, path.join(name));
                }
            }
        }
    }
}

fn apply(file: &File, op: &Op, kept: Kept, dice: &mut Dice) {
    match (op, kept) {
        (Op::Length { bytes, .. }, Kept::Whole) => file.set_len(*bytes).unwrap(),
        (Op::Write { at, bytes, .. }, Kept::Whole) => file.write_all_at(bytes, *at).unwrap(),
        (Op::Write { at, bytes, .. }, Kept::Torn) => tear(file, *at, bytes, dice),
        _ => {}
    }
}

/// Writes some of the sectors; the length may be there without them.
fn tear(file: &File, at: u64, bytes: &[u8], dice: &mut Dice) {
    let end = at + bytes.len() as u64;
    let length = file.metadata().unwrap().len();
    if length < end && dice.chance(50) {
        file.set_len(end).unwrap();
    }
    let last = at + dice.below(bytes.len() as u64 + 1);
    let is_prefix = dice.chance(50);
    let mut from = at;
    while from < end {
        let to = ((from / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
        let is_there = if is_prefix { to <= last } else { dice.chance(50) };
        if is_there {
            file.write_all_at(&bytes[(from - at) as usize..(to - at) as usize], from).unwrap();
        }
        from = to;
    }
}
