//! `forebay check`: everything that is wrong with a configuration, and with `--graph` who feeds whom.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{BAD_CONFIGURATION, OK};
use crate::config::{self, AlertInput, Config, OutputKind, Problem, Problems, Route};

/// What is printed of a configuration without problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// One line: how many of what.
    Summary,
    /// Who feeds whom.
    Graph,
    /// Problems, warnings and counts as one JSON object, with or without problems.
    Json,
}

/// Checks the configuration at `path`: problems and warnings go to `errors`, the rest to `out`. Yields the exit
/// code.
///
/// # Errors
/// Where `out` or `errors` cannot be written.
pub fn run(path: &Path, show: Show, out: &mut dyn Write, errors: &mut dyn Write) -> io::Result<u8> {
    let loaded = config::load(path);
    if show == Show::Json {
        return report(&loaded, out);
    }
    let (config, warnings) = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            writeln!(errors, "{problems}")?;
            writeln!(errors, "{}", count(problems.0.len(), "problem"))?;
            return Ok(BAD_CONFIGURATION);
        }
    };
    for warning in &warnings {
        writeln!(errors, "warning: {warning}")?;
    }
    match show {
        Show::Graph => write!(out, "{}", graph(&config))?,
        Show::Summary | Show::Json => writeln!(out, "{}", summary(&config))?,
    }
    Ok(OK)
}

/// One JSON object: `{"ok":false,"problems":[{"file":…,"line":…,"column":…,"path":…,"message":…}],"warnings":[]}`.
fn report(loaded: &Result<(Config, Vec<Problem>), Problems>, out: &mut dyn Write) -> io::Result<u8> {
    let list = |problems: &[Problem]| problems.iter().map(describe_problem).collect::<Vec<_>>();
    let (code, text) = match loaded {
        Ok((config, warnings)) => {
            let (hash, warnings) = (&config.hash, list(warnings));
            (OK, json!({ "ok": true, "hash": hash, "problems": [], "warnings": warnings }))
        }
        Err(problems) => {
            (BAD_CONFIGURATION, json!({ "ok": false, "problems": list(&problems.0), "warnings": [] }))
        }
    };
    writeln!(out, "{text}")?;
    Ok(code)
}

fn describe_problem(problem: &Problem) -> Value {
    let Problem { file, line, column, path, message } = problem;
    json!({ "file": file, "line": line, "column": column, "path": path, "message": message })
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `ok: 1 listener, 2 sources, …`.
fn summary(config: &Config) -> String {
    let counts = [
        count(config.listeners.len(), "listener"),
        count(config.sources.len(), "source"),
        count(config.pipelines.len(), "pipeline"),
        count(config.alerts.len(), "alert"),
        count(config.routes.len(), "route"),
        count(config.sinks.len(), "sink"),
    ];
    format!("ok: {} (configuration {})", counts.join(", "), config.hash)
}

/// Sources with what reads them, then the routes, a line each.
fn graph(config: &Config) -> String {
    let mut text = String::new();
    for (index, source) in config.sources.iter().enumerate() {
        line(&mut text, 0, &format!("source {} ({})", source.name, source.topic.text));
        for (at, pipeline) in config.pipelines.iter().enumerate() {
            if pipeline.from.contains(&source.name) {
                line(&mut text, 1, &format!("pipeline {} (lane {})", pipeline.name, pipeline.lane));
                alerts(&mut text, config, &AlertInput::Pipeline(at), 2);
            }
        }
        alerts(&mut text, config, &AlertInput::Source(index), 1);
    }
    for route in &config.routes {
        line(&mut text, 0, &describe(route));
    }
    text
}

fn alerts(text: &mut String, config: &Config, on: &AlertInput, depth: usize) {
    for alert in config.alerts.iter().filter(|alert| alert.on == *on) {
        line(text, depth, &format!("alert {}", alert.name));
    }
}

fn line(text: &mut String, depth: usize, words: &str) {
    let arrow = if depth == 0 { String::new() } else { format!("{}-> ", "   ".repeat(depth - 1)) };
    text.push_str(&arrow);
    text.push_str(words);
    text.push('\n');
}

fn describe(route: &Route) -> String {
    let mut words = String::from(match route.of {
        None => "results and alerts",
        Some(OutputKind::Reading) => "readings",
        Some(OutputKind::Result) => "results",
        Some(OutputKind::Alert) => "alerts",
        Some(OutputKind::Late) => "late readings",
        Some(OutputKind::DeadLetter) => "dead letters",
    });
    let mut part = |label: &str, names: Vec<&str>| {
        if !names.is_empty() {
            // Writing to a text cannot fail.
            let _ = write!(words, "{label}{}", names.join(", "));
        }
    };
    fn names(names: &[Arc<str>]) -> Vec<&str> {
        names.iter().map(|name| &**name).collect()
    }
    part(" of ", names(&route.from));
    part(" ", names(&route.alert));
    part(" that are ", route.severity.iter().map(|severity| severity.as_str()).collect());
    part(" -> ", names(&route.to).into_iter().collect());
    if route.is_final {
        words.push_str(" (final)");
    }
    words
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const TEXT: &str = r#"
[listen.mqtt]
[source.fleet]
topic = "fleet/{vehicle}"
fields = { speed = {} }
[pipeline.speeding]
from = ["fleet"]
window = { kind = "tumbling", size = "5s" }
select = { mean = "avg(speed)" }
to = ["log"]
[alert.fast]
on = "speeding"
when = "mean > 90"
[alert.silent]
on = "fleet"
absent = "5m"
[[route]]
severity = ["critical"]
to = ["log"]
final = true
[sink.log]
kind = "file"
path = "out.ndjson"
"#;

    fn check(text: &str, show: Show, expected: Expect) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("forebay.toml");
        std::fs::write(&path, text).unwrap();
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let code = run(&path, show, &mut out, &mut errors).unwrap();
        let [out, errors] = [out, errors].map(|bytes| String::from_utf8(bytes).unwrap());
        expected.assert_eq(&format!("{out}---\n{errors}---\n{code}"));
    }

    #[test]
    fn says_what_is_there() {
        check(
            TEXT,
            Show::Summary,
            expect![[r#"
            ok: 1 listener, 1 source, 1 pipeline, 2 alerts, 2 routes, 1 sink (configuration fc380f407651a0fb)
            ---
            warning: forebay.toml:6:11: pipeline.speeding: idle is off: a sensor that falls silent keeps its last windows open until it speaks again
            ---
            0"#]],
        );
    }

    #[test]
    fn shows_who_feeds_whom() {
        check(
            TEXT,
            Show::Graph,
            expect![[r#"
            source fleet (fleet/{vehicle})
            -> pipeline speeding (lane main)
               -> alert fast
            -> alert silent
            results and alerts that are critical -> log (final)
            results of speeding -> log
            ---
            warning: forebay.toml:6:11: pipeline.speeding: idle is off: a sensor that falls silent keeps its last windows open until it speaks again
            ---
            0"#]],
        );
    }

    #[test]
    fn says_what_is_wrong() {
        check(
            &TEXT.replace("speed)", "sped)").replace("[\"log\"]", "[\"lag\"]"),
            Show::Graph,
            expect![[r#"
                ---
                forebay.toml:9:24: pipeline.speeding.select.mean: unknown field "sped" in source "fleet" (did you mean "speed"?)
                forebay.toml:10:7: pipeline.speeding.to[0]: unknown sink "lag" (did you mean "log"?)
                forebay.toml:19:7: route[0].to[0]: unknown sink "lag" (did you mean "log"?)
                3 problems
                ---
                78"#]],
        );
    }

    #[test]
    fn says_what_is_wrong_to_programs() {
        check(
            &TEXT.replace("[\"log\"]", "[\"lag\"]"),
            Show::Json,
            expect![[r#"
            {"ok":false,"problems":[{"column":7,"file":"forebay.toml","line":10,"message":"unknown sink \"lag\" (did you mean \"log\"?)","path":"pipeline.speeding.to[0]"},{"column":7,"file":"forebay.toml","line":19,"message":"unknown sink \"lag\" (did you mean \"log\"?)","path":"route[0].to[0]"}],"warnings":[]}
            ---
            ---
            78"#]],
        );
    }
}
