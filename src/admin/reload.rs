//! Reading the configuration anew: asked for on the admin socket, done by the application, told in a [`Report`].
//!
//! Only the admin socket has it: the file system says who may use that, and HTTP listeners know no roles yet.

use std::fmt;

use futures_util::future::BoxFuture;
use httpd::{Head, Problem as HttpProblem, Response, Status};
use serde::{Deserialize, Serialize};

use crate::config::Problem;
use crate::config::change::Change;

/// The path to POST to; with `?dry_run=true` nothing is changed.
pub const PATH: &str = "/api/v1/reload";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To bring the file into force.
    Apply,
    /// To say what that would change.
    DryRun,
}

/// Port: whoever can read the configuration anew. One reload at a time; others wait.
pub trait Reload: Send + Sync + 'static {
    /// Reloads.
    fn reload(&self, mode: Mode) -> BoxFuture<'_, Report>;
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The file is in force.
    Applied,
    /// The file says what is in force already.
    Unchanged,
    /// The file could be brought into force.
    DryRun,
    /// The file has problems: nothing was changed.
    Invalid,
    /// The file changes what no running gateway can change: nothing was changed.
    NeedsRestart,
    /// Something did not work; the problems say what, and what is in force.
    #[default]
    Failed,
}

/// What became of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Hash of the configuration in force; of a dry run, of the one in the file.
    pub hash: String,
    /// What becomes of each part, kept ones included.
    pub changes: Vec<Change>,
    /// What is wrong, as `forebay check` says it.
    pub problems: Vec<Problem>,
    /// What looks wrong, likewise.
    pub warnings: Vec<Problem>,
}

impl Report {
    /// A reload that changed nothing because of `why`; `hash` is of the configuration in force.
    pub fn failed(hash: &str, why: impl fmt::Display) -> Self {
        let problem = Problem {
            file: "reload".to_owned(),
            line: 0,
            column: 0,
            path: String::new(),
            message: why.to_string(),
        };
        Self { hash: hash.to_owned(), problems: vec![problem], ..Self::default() }
    }

    /// The problems, one a line.
    pub fn problems(&self) -> String {
        self.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    /// The answer: 200, or an RFC 9457 problem that holds the report.
    pub fn into_response(self) -> Response {
        let (status, kind, title) = match self.outcome {
            Outcome::Applied | Outcome::Unchanged | Outcome::DryRun => {
                return Response::json(Status::OK, &self);
            }
            Outcome::Invalid => {
                (Status::UNPROCESSABLE_CONTENT, "/problems/configuration", "Configuration Invalid")
            }
            Outcome::NeedsRestart => (Status::CONFLICT, "/problems/needs_restart", "Needs A Restart"),
            Outcome::Failed => (Status::SERVICE_UNAVAILABLE, "/problems/reload", "Reload Failed"),
        };
        let mut problem = HttpProblem::new(status, kind, title).detail(self.problems());
        let members = serde_json::to_value(&self).expect("a report has text keys");
        for name in ["outcome", "hash", "changes", "problems", "warnings"] {
            problem = problem.with(name, members[name].clone());
        }
        problem.into_response()
    }
}

/// What a request's query asks for; `None` where it makes no sense.
pub fn mode(head: &Head) -> Option<Mode> {
    match head.query_value("dry_run").as_deref() {
        None | Some("false") => Some(Mode::Apply),
        Some("true" | "") => Some(Mode::DryRun),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use httpd::Method;

    use super::*;

    #[test]
    fn a_query_asks_for_a_dry_run_or_does_not() {
        for (query, expected) in [
            ("", Some(Mode::Apply)),
            ("?dry_run=false", Some(Mode::Apply)),
            ("?dry_run=true", Some(Mode::DryRun)),
            ("?dry_run", Some(Mode::DryRun)),
            ("?dry_run=maybe", None),
        ] {
            let head = Head::new(Method::Post, &format!("{PATH}{query}")).unwrap();
            assert_eq!(mode(&head), expected, "{query:?}");
        }
    }

    #[test]
    fn every_answer_holds_the_report() {
        for (outcome, status) in [
            (Outcome::Applied, 200),
            (Outcome::Unchanged, 200),
            (Outcome::DryRun, 200),
            (Outcome::Invalid, 422),
            (Outcome::NeedsRestart, 409),
            (Outcome::Failed, 503),
        ] {
            let report = Report { outcome, ..Report::failed("abc", "the disk is full") };
            let answer = report.clone().into_response();
            assert_eq!(answer.status().code(), status, "{outcome:?}");
            assert_eq!(serde_json::from_slice::<Report>(answer.body()).unwrap(), report, "{outcome:?}");
        }
    }
}
