//! Planted bugs must fit the code as it is: one that no longer applies shows nothing.
//!
//! Whether each is caught takes a build of its own: `tests/faults/planted/run`.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn every_planted_bug_fits_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(root.join("tests/faults/planted")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let patches: Vec<_> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "patch")).collect();
    assert!(patches.len() >= 15, "only {} bugs are planted", patches.len());
    for patch in patches {
        let text = fs::read_to_string(&patch).unwrap();
        let has = |name: &str| text.lines().any(|line| line.starts_with(name));
        assert!(has("bug: ") && has("check: "), "{}: no header", patch.display());
        let mut git = Command::new("git");
        let output = git.args(["apply", "--check"]).arg(&patch).current_dir(root).output().unwrap();
        assert!(output.status.success(), "{}: {}", patch.display(), String::from_utf8_lossy(&output.stderr));
    }
}
