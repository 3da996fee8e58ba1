//! The house's rules, checked on its own source: layers, crate names, purity, sizes, reasons.
//!
//! Every finding says `file:line`, what is there, and why the rule exists. A rule that is wrong for a place
//! gets an exception in the tables below, with its reason; an exception that is no longer needed is a finding
//! too. [`source`] reads files (comments, texts and tests blanked out), [`rules`] holds one function a rule.

mod rules;
mod samples;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};

use source::Source;

/// From the ground up. A module sees the rows above its own and the members of its own group.
pub(crate) const LAYERS: &[&[&[&str]]] = &[
    &[&["model"]],
    &[&["telemetry"]],
    // A checked file holds compiled expressions, and an expression's type is what the file declares.
    &[&["config", "expr"], &["access"], &["http_client"], &["tables"]],
    &[&["intake"], &["window"], &["pattern"], &["detector"], &["alert"], &["route"]],
    // Composes the pure modules, and is pure itself: what one step sees, decides and yields.
    &[&[
        "engine::step",
        "engine::plan",
        "engine::view",
        "engine::generations",
        "engine::group",
        "engine::watermarks",
        "engine::emission",
        "engine::wheel",
    ]],
    &[&["journal"], &["store"]],
    &[&["engine"], &["outbox"], &["downlink"], &["feed"], &["latest"]],
    // Ports join these; a listener that knew a sink could not be tested without one.
    &[&["listen"], &["sink", "deliver"], &["admin"]],
    &[&["app", "cli", "main"]],
];

/// No async, IO, clock, metrics or logs: `now` is an argument, effects carry counts.
pub(crate) const PURE: &[&str] = &[
    "model",
    "intake",
    "window",
    "pattern",
    "detector",
    "alert",
    "route",
    "engine::step",
    "engine::plan",
    "engine::view",
    "engine::generations",
    "engine::group",
    "engine::watermarks",
    "engine::emission",
    "engine::wheel",
];

/// Crates with a home, and the path prefixes they may be named under.
pub(crate) const HOMES: &[(&str, &[&str], &str)] = &[
    (
        "actix",
        &[
            "src/engine/lane",
            "src/engine/partition",
            "src/engine/sensor",
            "src/journal/writer",
            "src/app",
            "src/main",
        ],
        "actors are shells: what they do is tested without them",
    ),
    (
        "sled",
        &["src/store/sled"],
        "sled acknowledges before its data is on disk; only the store knows how to sync it",
    ),
    ("rumqttd", &["protocols/mqtt/"], "its codec and router need guards that only this crate has"),
    ("coap_lite", &["protocols/coap/"], "only its packet codec is safe to use, behind our own checks"),
    ("hyper", &["protocols/http/"], "one server with limits; outgoing HTTP goes through http_client"),
    ("toml", &["src/config"], "the file is parsed once; inside we speak checked types"),
];

/// Most lines of a file, and the files that may be longer.
pub(crate) const FILE_LINES_MAX: usize = 400;
pub(crate) const LONG_FILES: &[(&str, &str)] = &[];

/// Most lines of a function, and the functions that may be longer, as `file` and name.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;
pub(crate) const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

/// One breach of a rule.
pub(crate) struct Finding {
    pub(crate) path: PathBuf,
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) why: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    {}", self.path.display(), self.line, self.what, self.why)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn assert_clean(findings: Vec<Finding>) {
    let text: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(text.is_empty(), "{} breaches of the house's rules:\n{}", text.len(), text.join("\n"));
}

fn check(rule: fn(&Source) -> Vec<Finding>) {
    let sources = source::load(root());
    assert!(sources.len() > 20, "the walk found only {} files", sources.len());
    assert_clean(sources.iter().flat_map(rule).collect());
}

#[test]
fn a_file_sees_its_own_module_and_lower_layers() {
    check(rules::layers);
}

#[test]
fn crates_stay_in_their_homes() {
    check(rules::homes);
}

#[test]
fn pure_modules_are_pure() {
    check(rules::purity);
}

#[test]
fn nothing_unwraps_outside_tests() {
    check(rules::unwraps);
}

#[test]
fn every_file_says_what_it_is_for() {
    check(rules::headers);
}

#[test]
fn files_and_functions_are_short() {
    check(rules::sizes);
    assert_clean(rules::stale_exceptions(&source::load(root())));
}

#[test]
fn every_dependency_has_its_reason() {
    let manifests = source::manifests(root());
    assert!(manifests.len() >= 5, "the workspace has five manifests, the walk found {}", manifests.len());
    assert_clean(manifests.iter().flat_map(|(path, text)| rules::reasons(path, text)).collect());
}
