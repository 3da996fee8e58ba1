//! `forebay reload`: has the running gateway read its configuration anew, by its admin socket.
//!
//! The gateway does the work, with its own environment and rights; this shows what it reports.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use super::arguments::{Global, ReloadOptions};
use super::status::{admin_socket, connect_socket, get, unreachable};
use super::{BAD_CONFIGURATION, FAILED, Failure, OK, Style};
use crate::admin::reload::{self, Outcome, Report};
use crate::config::change::{Fate, Part};

/// How long a reload may take: sinks wait half a minute for lanes to come to the new configuration, removed ones are
/// drained, and other reloads may wait.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Has the gateway that `global` and `options` lead to reload, and prints its report. Yields the exit code.
///
/// # Errors
/// Where nobody answers, or the answer is not a report.
pub fn run(global: &Global, options: &ReloadOptions) -> Result<u8, Failure> {
    let socket = admin_socket(global, options.socket.as_deref())?;
    let path =
        if options.dry_run { format!("{}?dry_run=true", reload::PATH) } else { reload::PATH.to_owned() };
    let asked = connect_socket(&socket, TIMEOUT).and_then(|stream| get::post(stream, "localhost", &path));
    let answer = asked.map_err(|error| unreachable(&socket, &error))?;
    let report: Report = serde_json::from_slice(&answer.body).map_err(|_| {
        Failure::Failed(format!("the gateway at {} answers {}", socket.display(), answer.status))
    })?;
    let (mut out, mut errors) = (io::stdout().lock(), io::stderr().lock());
    let written = match global.style() {
        Style::Json => {
            serde_json::to_writer(&mut out, &report).map_err(io::Error::from).and_then(|()| writeln!(out))
        }
        Style::Text => {
            let Said { result, trouble } = say(&report);
            errors.write_all(trouble.as_bytes()).and_then(|()| out.write_all(result.as_bytes()))
        }
    };
    written.map_err(Failure::Output)?;
    Ok(code(report.outcome))
}

fn code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Applied | Outcome::Unchanged | Outcome::DryRun => OK,
        Outcome::Invalid => BAD_CONFIGURATION,
        Outcome::NeedsRestart | Outcome::Failed => FAILED,
    }
}

/// What is said of a report: on stdout and on stderr.
struct Said {
    result: String,
    trouble: String,
}

fn say(report: &Report) -> Said {
    let Report { outcome, hash, problems, warnings, .. } = report;
    let mut trouble = String::new();
    for warning in warnings {
        line(&mut trouble, &format!("warning: {warning}"));
    }
    for problem in problems {
        line(&mut trouble, &problem.to_string());
    }
    let mut result = String::new();
    match outcome {
        Outcome::Applied => line(&mut result, &format!("reloaded: configuration {hash} is in force")),
        Outcome::Unchanged => line(&mut result, &format!("unchanged: configuration {hash} stays in force")),
        Outcome::DryRun => line(&mut result, &format!("dry run: configuration {hash} would be in force")),
        Outcome::Invalid | Outcome::NeedsRestart => {
            line(&mut trouble, &format!("nothing is changed: configuration {hash} stays in force"));
        }
        Outcome::Failed => {}
    }
    result.push_str(&changes(report));
    Said { result, trouble }
}

/// A line for each part that differs, then how much is kept.
fn changes(report: &Report) -> String {
    let mut text = String::new();
    for fate in [Fate::Removed, Fate::New, Fate::Changed, Fate::Rebuilt] {
        for change in report.changes.iter().filter(|change| change.fate == fate) {
            line(&mut text, &format!("{:<8} {change}", fate.as_str()));
        }
    }
    let kept = |part| {
        report.changes.iter().filter(|change| (change.part, change.fate) == (part, Fate::Kept)).count()
    };
    let parts = [Part::Listener, Part::Source, Part::Pipeline, Part::Alert, Part::Sink];
    let kept: Vec<_> = parts
        .into_iter()
        .map(|part| (part.as_str(), kept(part)))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if !kept.is_empty() {
        line(&mut text, &format!("{:<8} {}", Fate::Kept.as_str(), kept.join(", ")));
    }
    text
}

fn line(text: &mut String, words: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(text, "{words}");
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::config::Problem;
    use crate::config::change::Change;

    fn check(report: &Report, expected: Expect) {
        let Said { result, trouble } = say(report);
        expected.assert_eq(&format!("{result}---\n{trouble}---\n{}", code(report.outcome)));
    }

    fn change(part: Part, name: &str, fate: Fate, why: &[&str]) -> Change {
        Change { part, name: name.into(), fate, why: why.iter().map(|why| (*why).to_owned()).collect() }
    }

    #[test]
    fn people_read_what_differs_and_how_much_is_kept() {
        let changes = vec![
            change(Part::Access, "", Fate::Kept, &[]),
            change(Part::Listener, "mqtt", Fate::Kept, &[]),
            change(Part::Source, "fleet", Fate::Kept, &[]),
            change(Part::Source, "meters", Fate::Kept, &[]),
            change(Part::Pipeline, "load", Fate::Rebuilt, &["window", "select"]),
            change(Part::Alert, "fast", Fate::Changed, &["when"]),
            change(Part::Routes, "", Fate::Changed, &[]),
            change(Part::Sink, "tsdb", Fate::New, &[]),
            change(Part::Sink, "log", Fate::Removed, &[]),
        ];
        let report =
            |outcome| Report { outcome, hash: "abc".into(), changes: changes.clone(), ..Report::default() };
        check(
            &report(Outcome::Applied),
            expect![[r#"
            reloaded: configuration abc is in force
            removed  sink log
            new      sink tsdb
            changed  alert fast (when)
            changed  routes
            rebuilt  pipeline load (window, select)
            kept     1 listener, 2 sources
            ---
            ---
            0"#]],
        );
        check(
            &Report { changes: changes[..3].to_vec(), ..report(Outcome::DryRun) },
            expect![[r#"
            dry run: configuration abc would be in force
            kept     1 listener, 1 source
            ---
            ---
            0"#]],
        );
    }

    #[test]
    fn trouble_goes_to_stderr() {
        let problem = Problem {
            file: "forebay.toml".into(),
            line: 0,
            column: 0,
            path: "gateway.id".into(),
            message: "needs a restart".into(),
        };
        let (problems, hash) = (vec![problem], "abc".to_owned());
        check(
            &Report {
                outcome: Outcome::NeedsRestart,
                problems: problems.clone(),
                hash: hash.clone(),
                ..Report::default()
            },
            expect![[r#"
                ---
                forebay.toml: gateway.id: needs a restart
                nothing is changed: configuration abc stays in force
                ---
                1"#]],
        );
        check(
            &Report { outcome: Outcome::Invalid, problems, hash, ..Report::default() },
            expect![[r#"
            ---
            forebay.toml: gateway.id: needs a restart
            nothing is changed: configuration abc stays in force
            ---
            78"#]],
        );
        check(
            &Report::failed("abc", "nothing is changed: the disk is full"),
            expect![[r#"
            ---
            reload: nothing is changed: the disk is full
            ---
            1"#]],
        );
    }
}
