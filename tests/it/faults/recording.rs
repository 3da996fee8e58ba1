//! A run of the daemon with everything it asked of the disk, and every acknowledgement in its place among it.
//!
//! `tests/faults/recorder.c`, preloaded into the daemon, appends a record for each write, sync and name; the
//! clients append theirs for each acknowledgement to the same file. It says why that order can be trusted.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::clients::Diary;
use crate::harness::{Site, tool};

/// A file or directory; the folder of the site is [`ROOT`].
pub type Node = usize;
pub const ROOT: Node = 0;

/// One thing done to the disk, or known to be done.
#[derive(Debug)]
pub enum Op {
    Write {
        node: Node,
        at: u64,
        bytes: Vec<u8>,
    },
    /// Cut, or made longer with zeros.
    Length {
        node: Node,
        bytes: u64,
    },
    /// A sync that returned: everything done to the node before `begun` (an index of operations) is durable.
    Synced {
        node: Node,
        begun: usize,
    },
    Created {
        folder: Node,
        name: String,
        node: Node,
        kind: Kind,
    },
    Renamed {
        from: Node,
        old: String,
        to: Node,
        new: String,
        node: Node,
    },
    Removed {
        folder: Node,
        name: String,
        node: Node,
    },
    Acknowledged {
        device: usize,
        message: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
}

/// The recorder, compiled. `None` where there is no C compiler.
pub fn recorder() -> Option<PathBuf> {
    let compiler = tool::find("cc")?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/recorder.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("recorder-{}.so", std::process::id()));
    let mut command = Command::new(compiler);
    command.args(["-O2", "-fPIC", "-shared", "-o"]).arg(&library).arg(source).arg("-ldl");
    tool::succeed(&mut command);
    Some(library)
}

/// Makes the daemon of `site` write down what it does; the log.
pub fn record(site: &mut Site, recorder: &Path) -> PathBuf {
    let log = site.path("operations");
    site.set_env("LD_PRELOAD", recorder);
    site.set_env("RECORDER_LOG", &log);
    site.set_env("RECORDER_ROOT", root(site));
    log
}

fn root(site: &Site) -> OsString {
    fs::canonicalize(site.path("")).unwrap().into_os_string()
}

/// Appends acknowledgements to the log, after they were read and before anything else is done.
pub fn diary(log: &Path) -> Diary {
    let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
    Arc::new(move |device, messages| {
        let record = |message: &u64| {
            let mut record = vec![b'A'];
            [device as u64, *message, 0].iter().for_each(|number| record.extend(number.to_ne_bytes()));
            record.extend(0_u32.to_ne_bytes());
            record
        };
        let records: Vec<u8> = messages.iter().flat_map(record).collect();
        (&log).write_all(&records).unwrap();
    })
}

/// Numbers nodes: inodes are used again, and a path leads to one file after the other.
#[derive(Default)]
struct Nodes {
    by_inode: HashMap<u64, Node>,
    names: HashMap<(Node, String), Node>,
    count: Node,
}

impl Nodes {
    fn fresh(&mut self, inode: u64) -> Node {
        self.by_inode.insert(inode, self.count);
        self.count += 1;
        self.count - 1
    }

    fn of(&mut self, inode: u64) -> Node {
        self.by_inode.get(&inode).copied().unwrap_or_else(|| self.fresh(inode))
    }
}

/// Reads the log of a run in `site`.
pub fn read(site: &Site, log: &Path) -> Vec<Op> {
    let bytes = fs::read(log).unwrap();
    let (mut nodes, mut begun, mut ops) = (Nodes::default(), HashMap::new(), Vec::new());
    nodes.fresh(fs::metadata(site.path("")).unwrap().ino());
    let mut rest = bytes.as_slice();
    while let Some((head, tail)) = rest.split_at_checked(29) {
        let number = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
        let length = u32::from_ne_bytes(head[25..29].try_into().unwrap()) as usize;
        let (data, tail) = tail.split_at(length);
        rest = tail;
        let record = Record { kind: head[0], a: number(1), b: number(9), c: number(17), data };
        if record.kind == b'B' {
            // A length that grew unseen (a raw fallocate) grew before.
            ops.push(Op::Length { node: nodes.of(record.a), bytes: u64::MAX - record.b });
            begun.insert(record.c, ops.len());
        } else {
            ops.extend(record.op(&mut nodes, &mut begun));
        }
    }
    assert!(rest.is_empty(), "the log ends in the middle of a record");
    only_growth(&mut ops);
    ops
}

/// Lengths seen at syncs (marked by their complement) count only where they tell of growth.
fn only_growth(ops: &mut Vec<Op>) {
    let mut lengths: HashMap<Node, u64> = HashMap::new();
    for op in ops {
        match op {
            Op::Write { node, at, bytes } => {
                let length = lengths.entry(*node).or_default();
                *length = (*at + bytes.len() as u64).max(*length);
            }
            Op::Length { node, bytes } if *bytes > u64::MAX / 2 => {
                let length = lengths.entry(*node).or_default();
                *bytes = (u64::MAX - *bytes).max(*length);
                *length = *bytes;
            }
            Op::Length { node, bytes } => {
                lengths.insert(*node, *bytes);
            }
            _ => {}
        }
    }
}

struct Record<'a> {
    kind: u8,
    a: u64,
    b: u64,
    c: u64,
    data: &'a [u8],
}

impl Record<'_> {
    fn op(&self, nodes: &mut Nodes, begun: &mut HashMap<u64, usize>) -> Option<Op> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let &Self { kind, a, b, c, data } = self;
        Some(match kind {
            b'A' => Op::Acknowledged { device: a as usize, message: b },
            b'W' => Op::Write { node: nodes.of(a), at: b, bytes: data.to_vec() },
            b'T' => Op::Length { node: nodes.of(a), bytes: b },
            b'E' => Op::Synced { node: nodes.of(a), begun: begun.remove(&c).expect("a sync begins first") },
            b'C' | b'M' => {
                let (folder, node, name) = (nodes.of(a), nodes.fresh(b), text(data));
                nodes.names.insert((folder, name.clone()), node);
                let kind = if kind == b'C' { Kind::File } else { Kind::Folder };
                Op::Created { folder, name, node, kind }
            }
            b'R' => {
                let split = data.iter().position(|byte| *byte == 0).unwrap();
                let (from, to, old, new) =
                    (nodes.of(a), nodes.of(b), text(&data[..split]), text(&data[split + 1..]));
                let node = nodes.names.remove(&(from, old.clone()))?;
                nodes.names.insert((to, new.clone()), node);
                Op::Renamed { from, old, to, new, node }
            }
            b'U' => {
                let (folder, name) = (nodes.of(a), text(data));
                let node = nodes.names.remove(&(folder, name.clone()))?;
                Op::Removed { folder, name, node }
            }
            other => panic!("record of kind {other}"),
        })
    }
}

/// The file of a path below the site's folder as it was last, if it still is there.
pub fn last_node(ops: &[Op], name: &str) -> Option<Node> {
    ops.iter().rev().find_map(|op| match op {
        Op::Created { folder: ROOT, name: created, node, .. } if created == name => Some(*node),
        _ => None,
    })
}

/// What a log holds, in a line.
pub fn summary(ops: &[Op]) -> String {
    let count = |is: fn(&Op) -> bool| ops.iter().filter(|op| is(op)).count();
    format!(
        "{} writes, {} syncs, {} names, {} acknowledgements",
        count(|op| matches!(op, Op::Write { .. })),
        count(|op| matches!(op, Op::Synced { .. })),
        count(|op| matches!(op, Op::Created { .. } | Op::Renamed { .. } | Op::Removed { .. })),
        count(|op| matches!(op, Op::Acknowledged { .. }))
    )
}

/// Opens or creates a file for writing at places.
pub fn open_for_writing(path: &Path) -> File {
    OpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap()
}
