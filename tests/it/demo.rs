//! `forebay demo` as its users see it through a pipe: what is shown while it runs, and whether the summary at
//! the end agrees with it.
//!
//! The measurements are shipped and windows go by their time, so the alerts are the same in every run.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Running, eventually};

/// How long the eleven weeks take.
const PLAYED_SECONDS: u32 = 20;
/// A row is to be seen after so long: nobody watches an empty screen.
const FIRST_ROW_WITHIN: Duration = Duration::from_secs(8);
/// Play, start and stop, on a machine that is busy with other tests.
const ENDS_WITHIN: Duration = Duration::from_secs(90);
/// Lines read and not looked at yet; the demo waits when there are more.
const LINES_MAX: usize = 256;

const MACHINES: [&str; 3] = ["press-1", "press-2", "press-3"];
/// In the measurements.
const FAILURES: usize = 4;
/// Five times on each machine: the labelled failures, and one that nobody labelled.
const FIRED: usize = 15;
/// Twice on each machine.
const ESCALATED: usize = 6;

/// What the demo said.
struct Shown {
    lines: Vec<String>,
    /// From the start to the first window row.
    first_row: Duration,
}

/// Times as shown: `2013-12-10 06:25`, in text order as in time.
#[derive(Debug)]
struct Failure {
    from: String,
    to: String,
    /// Who noticed, and when.
    noticed: String,
}

#[test]
fn every_labelled_failure_raises_an_alert_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let shown = play(&mut demo(folder.path()));
    assert!(shown.first_row <= FIRST_ROW_WITHIN, "the first row took {:?}", shown.first_row);

    let alerts = || shown.lines.iter().filter(|line| line.starts_with("alert"));
    let count = |pick: fn(&str) -> bool| alerts().filter(|line| pick(line)).count();
    let is_escalation = |line: &str| line.contains("  escalated: ");
    let fired = count(|line| line.starts_with("alert firing "));
    assert_eq!(
        (fired, count(is_escalation), count(|line| line.starts_with("alert resolved "))),
        (FIRED + ESCALATED, ESCALATED, FIRED)
    );
    assert_eq!(alerts().count(), FIRED + ESCALATED + FIRED);

    let failures = failures(&shown.lines);
    assert_eq!(failures.len(), FAILURES, "{failures:?}");
    for Failure { from, to, noticed } in &failures {
        let during = |time: &str| from.as_str() <= time && time <= to.as_str();
        for machine in MACHINES {
            let found = alerts().filter_map(|line| firing(line, machine)).find(|time| during(time));
            let first = found.unwrap_or_else(|| panic!("{machine} shows no alert from {from} to {to}"));
            assert_eq!(*noticed, format!("{first} on all machines"));
        }
    }

    assert!(shown.lines.iter().any(|line| line.starts_with("Nothing lost: ")), "no verdict");
    let left: Vec<_> = folder.path().read_dir().unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// The demo, its temporary folder inside of `folder`.
fn demo(folder: &Path) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.args(["demo", "--duration", &PLAYED_SECONDS.to_string()]).env("TMPDIR", folder);
    Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap())
}

/// Reads all that it shows, and waits until it has ended well.
fn play(demo: &mut Running) -> Shown {
    let started = Instant::now();
    let lines = reader(demo);
    let mut shown = Shown { lines: Vec::new(), first_row: Duration::MAX };
    loop {
        let left = ENDS_WITHIN.saturating_sub(started.elapsed());
        match lines.recv_timeout(left) {
            Ok(line) => {
                // A row begins with its year.
                if shown.first_row == Duration::MAX && line.starts_with("20") {
                    shown.first_row = started.elapsed();
                }
                shown.lines.push(line);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("still plays after {ENDS_WITHIN:?}"),
        }
    }
    let status = eventually("the demo ends", || demo.ended());
    assert_eq!(status.code(), Some(0), "{status}\n{}", shown.lines.join("\n"));
    shown
}

/// Its lines as they come. The thread ends with the pipe, at the latest when the child is killed.
fn reader(demo: &mut Running) -> Receiver<String> {
    let pipe = BufReader::new(demo.0.stdout.take().unwrap());
    let (sender, lines) = mpsc::sync_channel(LINES_MAX);
    thread::spawn(move || pipe.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

/// The labelled failures that the summary lists: `  FROM to TO  FIRST on all machines`.
fn failures(lines: &[String]) -> Vec<Failure> {
    let failure = |line: &String| {
        let (from, rest) = line.strip_prefix("  20")?.split_once(" to ")?;
        let (to, noticed) = rest.split_once("  ")?;
        Some(Failure { from: format!("20{from}"), to: to.to_owned(), noticed: noticed.to_owned() })
    };
    lines.iter().filter_map(failure).collect()
}

/// When the alert began to fire, if that is what the line says of `machine`:
/// `alert firing    press-1   warning   2013-12-10 10:00  …`.
fn firing(line: &str, machine: &str) -> Option<String> {
    let mut words = line.strip_prefix("alert firing ")?.split_whitespace();
    let (key, _severity) = (words.next()?, words.next()?);
    let (date, time) = (words.next()?, words.next()?);
    (key == machine).then(|| format!("{date} {time}"))
}
