//! Other people's programs: found, run for a bounded time, or missed aloud.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// How long one call may take, for timeout(1).
const SECONDS_MAX: &str = "30";

/// A command that runs `name` for a bounded time. `None` where it is not installed, which is said, and is a
/// failure where `tests/run` has installed the tools.
pub fn tool(name: &str) -> Option<Command> {
    let path = find(name)?;
    let mut command = Command::new("timeout");
    command.arg("--kill-after=1").arg(SECONDS_MAX).arg(path).stdin(Stdio::null());
    Some(command)
}

/// Where `name` is: in the path, or where `tests/run tools` puts what it gets.
pub fn find(name: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_forebay")).ancestors().nth(2).unwrap().join("tools");
    let mut folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    folders.extend([target.join("bin"), target.join("venv/bin")]);
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        let is_required = env::var("FOREBAY_TEST_TOOLS").is_ok_and(|value| value == "required");
        assert!(!is_required, "{name} is not installed, though tests/run has installed the tools");
        eprintln!("skipped: {name} is not installed (tests/run tools)");
    }
    found
}

/// A command that runs a script of `tests/clients`.
pub fn script(name: &str) -> Option<Command> {
    let python = find("python3")?;
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name));
    Some(command)
}

/// Runs a command to its end and yields what it wrote to stdout; it must succeed.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// All that a command wrote.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
