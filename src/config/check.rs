//! Raw tables to a [`Config`]: every problem at once, each with its place.
//!
//! Pure but for [`Outside`], through which schema files, secrets and the environment come. References are
//! checked against what is *named*, so that a table with a problem of its own causes no second one.

mod alert;
mod braces;
mod dedup;
mod gateway;
mod listen;
mod names;
mod pipeline;
mod route;
mod sink;
mod sink_paths;
mod source;
mod topic;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use self::names::Known;
use super::document::{self, At, Entry, File, Found};
use super::problem::{Problem, Problems, did_you_mean};
use super::scalar::Many;
use super::{Config, Gateway, raw};
use crate::model::ResultId;

/// Longest name of a source, pipeline, alert, sink, listener or lane.
const NAME_BYTES_MAX: usize = 64;

/// Lane of everything that names none.
const DEFAULT_LANE: &str = "main";

/// What lies outside of the configuration's texts.
pub(super) trait Outside {
    /// The content of a file, or why it cannot be read.
    fn read(&self, path: &Path) -> Result<String, String>;
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
}

/// What every check may ask for.
struct World<'a> {
    /// Relative paths start here.
    dir: &'a Path,
    outside: &'a dyn Outside,
    sources: Vec<String>,
    pipelines: Vec<String>,
    alerts: Vec<String>,
    sinks: Vec<String>,
}

/// Checks the texts. The warnings stand beside the configuration.
pub(super) fn check(
    files: &[File],
    dir: &Path,
    outside: &dyn Outside,
) -> Result<(Config, Vec<Problem>), Problems> {
    let found = RefCell::new(Found::default());
    let config = document::parse(files, &found).and_then(|mut entries| {
        for entry in &mut entries {
            entry.expand(files, &found, &|name| outside.variable(name));
        }
        tables(files, &entries, &found, dir, outside)
    });
    let found = found.into_inner();
    match config {
        Some(config) if found.problems.is_empty() => Ok((config, sorted(found.warnings))),
        _ => Err(Problems(sorted(found.problems))),
    }
}

/// Checks `[gateway]` only.
pub(super) fn check_gateway(files: &[File], dir: &Path, outside: &dyn Outside) -> Result<Gateway, Problems> {
    let found = RefCell::new(Found::default());
    let Some(mut entries) = document::parse(files, &found) else {
        return Err(Problems(sorted(found.into_inner().problems)));
    };
    // What else is wrong is not asked for.
    found.borrow_mut().problems.clear();
    let gateway = entries.iter_mut().find(|entry| entry.kind == "gateway").map(|entry| {
        entry.expand(files, &found, &|name| outside.variable(name));
        &*entry
    });
    let [sources, pipelines, alerts, sinks] = [const { Vec::new() }; 4];
    let world = World { dir, outside, sources, pipelines, alerts, sinks };
    let gateway = gateway::gateway(&world, gateway.map(|entry| entry.at(files, &found)).as_ref());
    let problems = found.into_inner().problems;
    gateway.filter(|_| problems.is_empty()).ok_or(Problems(sorted(problems)))
}

fn sorted(mut problems: Vec<(usize, usize, Problem)>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems.into_iter().map(|(_, _, problem)| problem).collect()
}

fn tables<'t>(
    files: &'t [File],
    entries: &[Entry<'t>],
    found: &RefCell<Found>,
    dir: &Path,
    outside: &dyn Outside,
) -> Option<Config> {
    let of = |kind: &'static str| {
        let entries = entries.iter().filter(move |entry| entry.kind == kind);
        entries.map(|entry| entry.at(files, found)).collect::<Vec<_>>()
    };
    let named = |kind| of(kind).iter().map(|at: &At| at.name().to_owned()).collect::<Vec<_>>();
    let world = World {
        dir,
        outside,
        sources: named("source"),
        pipelines: named("pipeline"),
        alerts: named("alert"),
        sinks: named("sink"),
    };
    for at in ["listen", "source", "pipeline", "alert", "sink"].into_iter().flat_map(of) {
        check_name(&at, at.name());
    }
    for at in of("pipeline") {
        if world.sources.iter().any(|source| source == at.name()) {
            at.error(format!("\"{}\" is a source too: both share one namespace", at.name()));
        }
    }

    let gateway = gateway::gateway(&world, of("gateway").first());
    let journal = gateway::journal(of("journal").first());
    let access = gateway::access(of("access").first());
    let listeners = listen::listeners(&of("listen"));
    let sources = source::sources(&world, &of("source"));
    let known_sources: Vec<Known> = sources.iter().map(|(_, known)| known.clone()).collect();
    let pipelines = pipeline::pipelines(&world, &of("pipeline"), &known_sources);
    let alerts = alert::alerts(&world, &of("alert"), &known_sources, &pipelines);
    let sinks = sink::sinks(&world, &of("sink"));
    let mut routes = route::routes(&world, &of("route"));
    routes.extend(pipelines.iter().filter_map(|pipeline| pipeline.route.clone()));
    routes.extend(alerts.iter().filter_map(|(_, route)| route.clone()));
    gateway::warn_missing(listeners.len(), &world, found, files);

    let text = text(files, &found.borrow());
    Some(Config {
        gateway: gateway?,
        journal,
        listeners,
        access,
        sources: sources.into_iter().map(|(source, _)| source).collect::<Option<_>>()?,
        pipelines: pipelines.into_iter().map(|pipeline| pipeline.pipeline).collect::<Option<_>>()?,
        alerts: alerts.into_iter().map(|(alert, _)| alert).collect::<Option<_>>()?,
        routes,
        sinks: sinks.into_iter().collect::<Option<_>>()?,
        hash: hash(&text),
        text: text.into(),
    })
}

/// All files in one text, less their secrets.
fn text(files: &[File], found: &Found) -> String {
    let mut texts = Vec::new();
    for (file, File { name, text }) in files.iter().enumerate() {
        let mut text = text.clone();
        let mut secrets: Vec<_> = found.secrets.iter().filter(|secret| secret.0 == file).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.1.start));
        for (_, span) in secrets {
            text.replace_range(span.clone(), "\"…\"");
        }
        texts.push(format!("# {name}\n{text}"));
    }
    texts.join("\n")
}

/// A short hash of a configuration's text.
pub(super) fn hash(text: &str) -> String {
    format!("{:016x}", ResultId::EMPTY.with_text(text).short())
}

/// Names are metric labels, file names and parts of ids.
fn check_name(at: &At<'_, '_>, name: &str) {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !is_plain {
        let expected = format!("1 to {NAME_BYTES_MAX} letters, digits, \"_\" and \"-\"");
        at.error(format!("name \"{name}\" is not made of {expected}"));
    }
}

/// The lane named here.
fn lane(at: &At<'_, '_>, lane: Option<&String>) -> Arc<str> {
    if let Some(lane) = lane {
        check_name(&at.key("lane"), lane);
    }
    lane.map_or(DEFAULT_LANE, String::as_str).into()
}

/// Names that must be among `known`, each a `what`.
fn references(at: &At<'_, '_>, names: &Many, what: &str, known: &[String]) -> Vec<Arc<str>> {
    for (index, name) in names.values.iter().enumerate() {
        reference(&at.element(names, index), name, what, known);
    }
    if names.values.is_empty() {
        at.error(format!("expected at least one {what}"));
    }
    names.values.iter().map(|name| name.as_str().into()).collect()
}

fn reference(at: &At<'_, '_>, name: &str, what: &str, known: &[String]) {
    if !known.iter().any(|known| known == name) {
        let near = did_you_mean(name, known.iter().map(String::as_str));
        at.error(format!("unknown {what} \"{name}\"{near}"));
    }
}
