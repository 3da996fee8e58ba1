//! Which operation of a simulated disk fails, and the chance in it.

use std::io;

/// A kind of operation. Reading is none: only what changes the disk, or opens a file, can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Bytes into a file, room given beforehand, a length set.
    Write,
    /// A file's or a directory's sync.
    Sync,
    /// A file's name changed.
    Rename,
    /// A file removed.
    Remove,
    /// A file opened or created, a directory created.
    Open,
}

impl Operation {
    /// Every kind.
    pub(crate) const ALL: [Self; 5] = [Self::Write, Self::Sync, Self::Rename, Self::Remove, Self::Open];
}

/// What the operating system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// `EIO`.
    Broken,
    /// `ENOSPC`.
    Full,
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        let errno = match self {
            Self::Broken => rustix::io::Errno::IO,
            Self::Full => rustix::io::Errno::NOSPC,
        };
        errno.into()
    }
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// One operation.
    Once,
    /// That one and every later one of the kind.
    Onwards,
}

/// A chosen failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Which kind of operation; `None`: any.
    pub(crate) on: Option<Operation>,
    /// The first that fails, counted from 1.
    pub(crate) nth: u64,
    /// How.
    pub(crate) failure: Failure,
    /// How long.
    pub(crate) span: Span,
}

/// Operations counted, and the failure that waits for one of them.
#[derive(Default)]
pub(super) struct Faults {
    counts: [u64; Operation::ALL.len()],
    plan: Option<Fault>,
    seen: u64,
}

impl Faults {
    pub(super) fn plan(&mut self, fault: Option<Fault>) {
        self.plan = fault;
        self.seen = 0;
    }

    pub(super) fn counts(&self) -> [u64; Operation::ALL.len()] {
        self.counts
    }

    /// Counts an operation, and fails it if it is its turn.
    pub(super) fn check(&mut self, operation: Operation) -> io::Result<()> {
        self.counts[operation as usize] += 1;
        let Some(fault) = &self.plan else { return Ok(()) };
        if fault.on.is_some_and(|on| on != operation) {
            return Ok(());
        }
        self.seen += 1;
        let fails = match fault.span {
            Span::Once => self.seen == fault.nth,
            Span::Onwards => self.seen >= fault.nth,
        };
        if fails { Err(fault.failure.error()) } else { Ok(()) }
    }
}

/// Seeded chance: splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
