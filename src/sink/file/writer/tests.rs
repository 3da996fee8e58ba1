//! Crash and fault tests: every row exactly once, whichever step is the last or fails.

use std::sync::{Arc, Mutex};

use super::super::disk::RealDisk;
use super::*;
use crate::model::{Offset, StreamName};

/// What happens at the chosen step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The process is gone before the step.
    CrashBefore,
    /// The process is gone in the middle: half of an append, a commit that reached the disk.
    CrashWithin,
    /// The machine is gone before the step: what was not synced is lost.
    PowerCut,
    /// The step fails, half done, and the process goes on.
    Error,
    /// The step is done and says it failed, and the process goes on.
    FalseError,
}

const FAULTS: [Fault; 5] =
    [Fault::CrashBefore, Fault::CrashWithin, Fault::PowerCut, Fault::Error, Fault::FalseError];

/// Counts steps; shared by the disk and the store of a run.
struct Plan {
    path: PathBuf,
    step: usize,
    faults: Vec<(usize, Fault)>,
    is_dead: bool,
    /// Length of the live file that a power cut leaves.
    synced: u64,
}

/// How a step goes.
#[derive(PartialEq)]
enum Step {
    Whole,
    Half,
    Nothing,
    WholeButFails,
}

impl Plan {
    fn next(&mut self) -> Step {
        if self.is_dead {
            return Step::Nothing;
        }
        self.step += 1;
        let due = self.faults.iter().find(|(step, _)| *step == self.step);
        let Some(&(_, fault)) = due else { return Step::Whole };
        self.is_dead = matches!(fault, Fault::CrashBefore | Fault::CrashWithin | Fault::PowerCut);
        if fault == Fault::PowerCut && self.path.exists() {
            let file = std::fs::OpenOptions::new().write(true).open(&self.path).unwrap();
            file.set_len(self.synced.min(file.metadata().unwrap().len())).unwrap();
        }
        match fault {
            Fault::CrashBefore | Fault::PowerCut => Step::Nothing,
            Fault::CrashWithin | Fault::Error => Step::Half,
            Fault::FalseError => Step::WholeButFails,
        }
    }
}

#[derive(Clone)]
struct FaultyDisk(Arc<Mutex<Plan>>);

impl FaultyDisk {
    fn run(&self, whole: impl FnOnce() -> io::Result<()>, half: impl FnOnce()) -> io::Result<()> {
        let step = self.0.lock().unwrap().next();
        match step {
            Step::Whole => return whole(),
            Step::WholeButFails => whole()?,
            Step::Half => half(),
            Step::Nothing => {}
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    fn note_synced(&self) {
        let mut plan = self.0.lock().unwrap();
        plan.synced = std::fs::metadata(&plan.path).map_or(0, |metadata| metadata.len());
    }
}

impl Disk for FaultyDisk {
    fn find(&mut self, path: &Path) -> io::Result<Option<Found>> {
        RealDisk.find(path)
    }

    fn create(&mut self, path: &Path) -> io::Result<()> {
        self.run(|| RealDisk.create(path), || {})?;
        self.note_synced();
        Ok(())
    }

    fn ends_with_line(&mut self, path: &Path) -> io::Result<bool> {
        RealDisk.ends_with_line(path)
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let half = || RealDisk.append(path, &bytes[..bytes.len() / 2]).unwrap();
        self.run(|| RealDisk.append(path, bytes), half)
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.run(|| RealDisk.sync(path), || {})?;
        self.note_synced();
        Ok(())
    }

    fn truncate(&mut self, path: &Path, length: u64) -> io::Result<()> {
        self.run(|| RealDisk.truncate(path, length), || {})?;
        self.note_synced();
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(|| RealDisk.rename(from, to), || {})
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.run(|| RealDisk.remove(path), || {})
    }
}

#[derive(Clone)]
struct FaultyStore {
    plan: Arc<Mutex<Plan>>,
    state: Arc<Mutex<Option<Vec<u8>>>>,
}

impl StateStore for FaultyStore {
    fn save(&self, state: Vec<u8>) -> Result<(), CursorError> {
        let step = self.plan.lock().unwrap().next();
        if step != Step::Nothing {
            *self.state.lock().unwrap() = Some(state);
        }
        if step == Step::Whole {
            return Ok(());
        }
        Err(CursorError { sink: "s".into(), reason: "told to fail".into() })
    }
}

/// One sink with what outlives its process.
struct World {
    folder: tempfile::TempDir,
    state: Arc<Mutex<Option<Vec<u8>>>>,
    keep: usize,
}

const ROTATE_BYTES: u64 = 64;

impl World {
    fn new(keep: usize) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), state: Arc::default(), keep }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("rows.ndjson")
    }

    /// Starts the process anew.
    fn start(&self, faults: impl IntoIterator<Item = (usize, Fault)>) -> (Writer, Arc<Mutex<Plan>>) {
        let synced = std::fs::metadata(self.path()).map_or(0, |metadata| metadata.len());
        let plan =
            Plan { path: self.path(), step: 0, faults: faults.into_iter().collect(), is_dead: false, synced };
        let plan = Arc::new(Mutex::new(plan));
        let known = self.state.lock().unwrap().clone();
        let state = known.map_or_else(State::default, |bytes| State::decode("s", &bytes).unwrap());
        let store = FaultyStore { plan: Arc::clone(&plan), state: Arc::clone(&self.state) };
        let rotation = Rotation { bytes: ROTATE_BYTES, keep: self.keep };
        let disk = Box::new(FaultyDisk(Arc::clone(&plan)));
        (Writer::new(self.path(), rotation, state, disk, Box::new(store)), plan)
    }

    /// Delivers row after row up to `end` as the courier does; `false` when the process died on the way.
    fn deliver(&self, (mut writer, plan): (Writer, Arc<Mutex<Plan>>), end: u64) -> bool {
        let mut next = writer.state.positions.get(StreamName::Results).unwrap_or_default().0;
        while next < end {
            let upto = (next + 3).min(end);
            let lines: String = (next..upto).map(|row| format!("row {row:06}\n")).collect();
            let mut after = Positions::default();
            after.set(StreamName::Results, Offset(upto));
            while writer.write(lines.as_bytes(), &after).is_err() {
                if plan.lock().unwrap().is_dead {
                    return false;
                }
            }
            next = upto;
        }
        true
    }

    /// All rows, from the oldest file to the newest.
    fn rows(&self) -> Vec<String> {
        let numbered = |number| format!("{}.{number}", self.path().display());
        let old = (1..=self.keep).rev().filter_map(|number| std::fs::read_to_string(numbered(number)).ok());
        let live = std::fs::read_to_string(self.path()).unwrap_or_default();
        old.chain([live]).flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

fn expected(rows: std::ops::Range<u64>) -> Vec<String> {
    rows.map(|row| format!("row {row:06}")).collect()
}

#[test]
fn every_row_is_there_once_whatever_the_last_step_was() {
    const ROWS: u64 = 15;
    let steps = {
        let world = World::new(50);
        let (writer, plan) = world.start(None);
        assert!(world.deliver((writer, Arc::clone(&plan)), ROWS));
        assert_eq!(world.rows(), expected(0..ROWS));
        plan.lock().unwrap().step
    };
    assert!(steps > 35, "only {steps} steps: nothing was rotated");
    for fault in FAULTS {
        for step in 1..=steps {
            let world = World::new(50);
            let survived = world.deliver(world.start(Some((step, fault))), ROWS);
            assert_eq!(survived, matches!(fault, Fault::Error | Fault::FalseError), "{fault:?} at {step}");
            assert!(world.deliver(world.start(None), ROWS + 5));
            assert_eq!(world.rows(), expected(0..ROWS + 5), "{fault:?} at {step}");
        }
    }
}

#[test]
fn a_crash_during_the_repair_of_a_crash_does_no_harm() {
    const ROWS: u64 = 12;
    for (first, second) in (2..=24).step_by(2).flat_map(|first| [1, 2, 3, 5].map(|second| (first, second))) {
        for fault in [Fault::CrashWithin, Fault::PowerCut] {
            let world = World::new(20);
            world.deliver(world.start(Some((first, fault))), ROWS);
            world.deliver(world.start(Some((second, fault))), ROWS);
            assert!(world.deliver(world.start(None), ROWS));
            assert_eq!(world.rows(), expected(0..ROWS), "{fault:?} at {first}, then {second}");
        }
    }
}

#[test]
fn a_crash_soon_after_an_error_does_no_harm() {
    const ROWS: u64 = 9;
    for (error, crash) in (1..=20).flat_map(|error| (1..=3).map(move |steps| (error, error + steps))) {
        for fault in [Fault::Error, Fault::FalseError] {
            let world = World::new(20);
            world.deliver(world.start([(error, fault), (crash, Fault::CrashBefore)]), ROWS);
            assert!(world.deliver(world.start(None), ROWS));
            assert_eq!(world.rows(), expected(0..ROWS), "{fault:?} at {error}, crash at {crash}");
        }
    }
}

#[test]
fn keeps_the_newest_files() {
    // Three rows are delivered together and fill a file.
    for (keep, oldest) in [(0, 12), (1, 9), (2, 6)] {
        let world = World::new(keep);
        assert!(world.deliver(world.start(None), 15));
        assert_eq!(world.rows(), expected(oldest..15), "keep {keep}");
        assert_eq!(std::fs::read_dir(world.folder.path()).unwrap().count(), keep + 1);
    }
}

#[test]
fn a_file_somebody_changed_is_never_cut() {
    type Change = fn(&Path);
    let cases: [(&str, Change, &str); 5] = [
        ("moved", |path| std::fs::rename(path, path.with_extension("moved")).unwrap(), ""),
        ("deleted", |path| std::fs::remove_file(path).unwrap(), ""),
        ("emptied in place", |path| std::fs::write(path, "").unwrap(), ""),
        (
            "replaced by a longer one",
            |path| {
                std::fs::rename(path, path.with_extension("moved")).unwrap();
                std::fs::write(path, "foreign, longer than ours was at that time\nand torn").unwrap();
            },
            "foreign, longer than ours was at that time\nand torn\n",
        ),
        (
            "moved, a new one made",
            |path| {
                std::fs::rename(path, path.with_extension("moved")).unwrap();
                std::fs::write(path, "").unwrap();
            },
            "",
        ),
    ];
    for (name, change, before) in cases {
        for restart in [false, true] {
            let world = World::new(5);
            let (writer, plan) = world.start(None);
            let mut after = Positions::default();
            let mut writer = writer;
            after.set(StreamName::Results, Offset(1));
            writer.write(b"row 000000\n", &after).unwrap();
            change(&world.path());
            if restart {
                drop(plan);
                writer = world.start(None).0;
            }
            after.set(StreamName::Results, Offset(2));
            writer.write(b"row 000001\n", &after).unwrap();
            let text = std::fs::read_to_string(world.path()).unwrap();
            assert_eq!(text, format!("{before}row 000001\n"), "{name}, restart {restart}");
            if let Ok(moved) = std::fs::read_to_string(world.path().with_extension("moved")) {
                assert_eq!(moved, "row 000000\n", "{name}, restart {restart}");
            }
        }
    }
}

#[test]
fn a_cursor_alone_is_committed_without_touching_the_file() {
    let world = World::new(1);
    let (mut writer, _) = world.start(None);
    let mut after = Positions::default();
    after.set(StreamName::Results, Offset(7));
    writer.write(b"", &after).unwrap();
    assert!(!world.path().exists());
    assert_eq!(world.start(None).0.state.positions, after);
}

#[test]
fn a_state_of_a_newer_version_is_refused() {
    let newer =
        String::from_utf8(serde_json::to_vec(&State::default()).unwrap()).unwrap().replace(":1,", ":2,");
    let error = State::decode("s", newer.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "cursor of sink s: version 2 is not 1");
}
