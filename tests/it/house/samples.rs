//! The rules' own tests: each sees a breach in a sample, and none where there is none.

use std::path::Path;

use expect_test::{Expect, expect};

use super::source::{Source, blank, without_test_modules};
use super::{Finding, rules};

type Rule = fn(&Source) -> Vec<Finding>;

fn check(rule: Rule, path: &str, text: &str, expect: Expect) {
    let findings = rule(&Source::new(path, text));
    let lines: Vec<String> =
        findings.iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect();
    expect.assert_eq(&lines.join("\n"));
}

#[test]
fn upward_and_sideways_paths_are_seen() {
    let text = "//! x\nuse crate::{app, model::{Offset, Timestamp}};\nfn f() { crate::store::open(); crate::journal::tail::next(); }";
    check(
        rules::layers,
        "src/journal/writer.rs",
        text,
        expect![[r#"
            2: journal::writer reaches app, which stands above it
            3: journal::writer reaches store::open, which stands beside it"#]],
    );
}

#[test]
fn a_pure_step_does_not_see_its_shell() {
    let text = "use super::lane::LaneActor;\nuse crate::window::Windows;\nuse crate::engine::round;";
    check(
        rules::layers,
        "src/engine/step.rs",
        text,
        expect![[r#"
            1: engine::step reaches engine::lane::LaneActor, which stands above it
            3: engine::step reaches engine::round, which stands above it"#]],
    );
    check(
        rules::layers,
        "src/engine/lane.rs",
        "use super::step::step;\nuse crate::journal::Reader;",
        expect![""],
    );
    check(rules::layers, "src/engine.rs", "use crate::engine::step::step;", expect![""]);
}

#[test]
fn friends_and_tests_may_and_strangers_are_told() {
    check(rules::layers, "src/deliver.rs", "use crate::sink::Sink;", expect![""]);
    check(
        rules::layers,
        "src/window.rs",
        "#[cfg(test)]\nmod tests { use crate::app; fn f() { {} } }",
        expect![""],
    );
    check(rules::layers, "src/model.rs", "// crate::app\nconst A: &str = \"crate::app\";", expect![""]);
    check(rules::layers, "src/shed.rs", "", expect!["1: module shed has no layer: give it one in LAYERS"]);
    check(
        rules::layers,
        "src/listen/http.rs",
        "use crate::sink::Sink;",
        expect!["1: listen::http reaches sink::Sink, which stands beside it"],
    );
}

#[test]
fn crates_outside_their_homes_are_seen() {
    let text = "use hyper_util::rt;\nuse hyper::body;\nfn f(toml: u8) { sled::open(toml); self.actix.x(); crate::hyper::y() }";
    check(
        rules::homes,
        "src/listen/http.rs",
        text,
        expect![[r#"
            2: hyper is not at home here
            3: sled is not at home here"#]],
    );
    check(rules::homes, "src/store/sled/rows.rs", "use sled::Db;", expect![""]);
}

#[test]
fn impurity_is_seen() {
    let text = "async fn f() {}\nuse std::fs;\nuse std::{io, net};\nlet t = Instant::now();";
    check(
        rules::purity,
        "src/window/late.rs",
        text,
        expect![[r#"
            1: async in a pure module
            4: Instant in a pure module
            2: std::fs in a pure module"#]],
    );
    check(rules::purity, "src/journal.rs", text, expect![""]);
}

#[test]
fn unwraps_are_seen_outside_tests_only() {
    let text = "fn f() { a.unwrap(); }\n#[cfg(test)]\nmod tests {\n  fn g() { b.unwrap(); }\n}\nfn h() { c.unwrap() }";
    check(
        rules::unwraps,
        "src/x.rs",
        text,
        expect![[r#"
            1: .unwrap() outside tests
            6: .unwrap() outside tests"#]],
    );
    check(rules::unwraps, "src/x/tests.rs", "a.unwrap();", expect![""]);
}

#[test]
fn a_module_declared_for_tests_is_a_test() {
    let parent = Source::new("src/x.rs", "#[cfg(test)]\npub(crate) mod server;\nmod client;");
    let file = |path| Source::new(path, "fn f() { a.unwrap(); }");
    let all = vec![parent, file("src/x/server.rs"), file("src/x/server/deep.rs"), file("src/x/client.rs")];
    let findings: Vec<Finding> = without_test_modules(all).iter().flat_map(rules::unwraps).collect();
    let paths: Vec<String> = findings.iter().map(|finding| finding.path.display().to_string()).collect();
    assert_eq!(paths, ["src/x/client.rs"]);
}

#[test]
fn long_and_nameless_things_are_seen() {
    let long = format!("fn short() {{}}\nfn long(a: [u8; 2]) {{\n{}}}\n", "    x();\n".repeat(70));
    check(rules::sizes, "src/x.rs", &long, expect!["2: fn long has 72 lines"]);
    let text = format!("{long}{}", "\n".repeat(400));
    check(
        rules::sizes,
        "src/x.rs",
        &text,
        expect![[r#"
        1: 473 lines
        2: fn long has 72 lines"#]],
    );
    check(
        rules::headers,
        "src/x/mod.rs",
        &text,
        expect![[r#"
        1: does not start with `//! `
        1: is a mod.rs: use foo.rs beside foo/"#]],
    );
}

#[test]
fn a_dependency_without_a_reason_is_seen() {
    let text = "[dependencies]\n# the protocols\na = \"1\"\nb = \"2\"\n\nc = \"3\"\nd = \"4\" # fast\n[features]\ne = []\n";
    let findings = rules::reasons(Path::new("Cargo.toml"), text);
    let lines: Vec<String> =
        findings.iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect();
    expect!["6: `c = \"3\"` has no reason"].assert_eq(&lines.join("\n"));
}

#[test]
fn comments_texts_and_characters_are_blanked() {
    let cases = [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("a\"b{", '{', '\'')"#, "f(       ,    ,     )"),
        ("r#\"}\"}\"# 'a str", "         'a str"),
        ("br\"x\" var\"y\"", "      var   "),
    ];
    for (text, code) in cases {
        assert_eq!(blank(text), code, "{text}");
    }
}
