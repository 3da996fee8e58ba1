//! What the tests of the configuration share, and the files that ship with it.

mod conflicts;
mod meaning;
mod problems;

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::check::{Outside, check as check_files};
use super::document::File;
use super::*;

/// Files and variables of a test.
struct Fixed(&'static [(&'static str, &'static str)]);

impl Outside for Fixed {
    fn read(&self, path: &Path) -> Result<String, String> {
        let found = self.0.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| "no such file".to_owned())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
    }
}

const OUTSIDE: Fixed = Fixed(&[
    (
        "/etc/forebay/schemas/closed.json",
        r#"{"properties": {"a": {}, "ts": {}}, "additionalProperties": false}"#,
    ),
    ("/etc/forebay/schemas/wrong.json", r#"{"type": "objekt"}"#),
    ("/etc/forebay/schemas/broken.json", "{"),
    ("/etc/forebay/influxdb.password", "from file\n"),
    ("/etc/forebay/key", "k"),
    ("/run/credentials/pager", "from systemd\n"),
    ("CREDENTIALS_DIRECTORY", "/run/credentials"),
    ("SITE", "north"),
]);

fn run(texts: &[(&str, &str)]) -> Result<(Config, Vec<Problem>), Problems> {
    let file = |(name, text): &(&str, &str)| File { name: (*name).to_owned(), text: (*text).to_owned() };
    let files: Vec<_> = texts.iter().map(file).collect();
    check_files(&files, Path::new("/etc/forebay"), &OUTSIDE)
}

/// All problems, or all warnings, a line each.
fn said(texts: &[(&str, &str)]) -> String {
    let (label, problems) = match run(texts) {
        Ok((_, warnings)) => ("warning: ", warnings),
        Err(Problems(problems)) => ("", problems),
    };
    problems.iter().map(|problem| format!("{label}{problem}\n")).collect()
}

const WHOLE: &str = include_str!("../../config/forebay.toml");
const DEMO: &str = include_str!("../../config/demo.toml");

/// A source and a pipeline with nothing to complain of.
const BASE: &str = r#"
[listen.mqtt]
[source.fleet]
topic = "fleet/{vehicle}"
[source.fleet.fields]
speed_kmh = {}
limit_kmh = {}
[pipeline.speeding]
from = ["fleet"]
window = { kind = "tumbling", size = "5s" }
watermark = { idle = "3s" }
select = { avg_speed = "avg(speed_kmh)", n = "count()" }
[sink.log]
kind = "file"
path = "out.ndjson"
"#;

fn with_base(text: &str) -> String {
    format!("{text}\n{BASE}")
}

#[test]
fn the_manual_holds_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/forebay.toml");
    let (config, warnings) = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(warnings, []);
    // Its change would drop every state at an upgrade.
    assert_eq!(config.pipelines[0].generation, 7081940052673637809);
    let written: BTreeSet<&str> =
        WHOLE.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let tables = [
        raw::Gateway::KEYS,
        raw::Journal::KEYS,
        raw::Stream::KEYS,
        raw::Listener::KEYS,
        raw::Access::KEYS,
        raw::Source::KEYS,
        raw::Time::KEYS,
        raw::Field::KEYS,
        raw::Dedup::KEYS,
        raw::Pipeline::KEYS,
        raw::Window::KEYS,
        raw::Watermark::KEYS,
        raw::Alert::KEYS,
        raw::Route::KEYS,
        raw::Sink::KEYS,
    ];
    let missing: Vec<_> = tables.concat().into_iter().filter(|key| !written.contains(key)).collect();
    assert!(missing.is_empty(), "config/forebay.toml says nothing of {missing:?}");
}

#[test]
fn the_demo_has_no_problem() {
    assert_eq!(said(&[("demo.toml", DEMO)]), "");
}

proptest! {
    /// Whatever a slip of the editor leaves, there is an answer, and every problem has a place in the text.
    #[test]
    fn a_damaged_file_is_checked_to_the_end(
        at in 0..WHOLE.len(),
        length in 0..60_usize,
        put in "[a-z\\[\\]{}=\".,0-9\n$é-]{0,6}",
    ) {
        let start = WHOLE.floor_char_boundary(at);
        let end = WHOLE.floor_char_boundary((at + length).min(WHOLE.len()));
        let mut text = WHOLE.to_owned();
        text.replace_range(start..end.max(start), &put);
        let lines = text.lines().count() + 1;
        if let Err(Problems(problems)) = run(&[("f.toml", &text)]) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!((1..=lines).contains(&problem.line), "{}", problem);
            }
        }
    }
}
