//! The keys in which two tables of one name differ. Each table is taken apart, so that a key added to it and
//! forgotten here does not compile.

use std::sync::Arc;

use super::{Fate, Fixed};
use crate::config::{
    Access, Alert, AlertInput, Column, Condition, Config, Gateway, Journal, Key, Listener, Pipeline, Route,
    SeverityRule, Sink, Source,
};
use crate::expr::Program;

const RESTART: &str = "needs a restart";
const OTHER_NAME: &str = "needs another name: a sink's cursor is of its kind";

/// The names beside which something differs.
fn differing<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter(|(_, is_same)| !is_same).map(|(key, _)| key).collect()
}

fn fixed<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<Fixed> {
    differing(keys).into_iter().map(|key| Fixed { key: key.to_owned(), why: RESTART }).collect()
}

pub(super) fn gateway(old: &Gateway, new: &Gateway) -> Vec<Fixed> {
    let Gateway { id, data_dir, admin } = new;
    fixed([
        ("gateway.id", *id == old.id),
        ("gateway.data_dir", *data_dir == old.data_dir),
        ("gateway.admin", *admin == old.admin),
    ])
}

pub(super) fn linger(old: &Journal, new: &Journal) -> Vec<Fixed> {
    fixed([("journal.commit_linger", new.commit_linger == old.commit_linger)])
}

/// What is kept, and for how long.
pub(super) fn journal(old: &Journal, new: &Journal) -> Vec<&'static str> {
    let Journal { readings, results, dead_letters, messages, commit_linger: _, min_free_bytes } = new;
    differing([
        ("max_bytes", readings.max_bytes == old.readings.max_bytes),
        ("max_age", readings.max_age == old.readings.max_age),
        ("min_free", *min_free_bytes == old.min_free_bytes),
        ("results", *results == old.results),
        ("dead_letters", *dead_letters == old.dead_letters),
        ("messages", *messages == old.messages),
    ])
}

/// Sinks of one name and two kinds.
pub(super) fn sink_kinds(old: &[Sink], new: &[Sink]) -> Vec<Fixed> {
    let is_other = |sink: &&Sink| {
        let before = super::find(old, &sink.name);
        before
            .is_some_and(|before| std::mem::discriminant(&before.kind) != std::mem::discriminant(&sink.kind))
    };
    let others = new.iter().filter(is_other);
    others.map(|sink| Fixed { key: format!("sink.{}.kind", sink.name), why: OTHER_NAME }).collect()
}

pub(super) fn access(old: &Access, new: &Access) -> Vec<&'static str> {
    let Access { anonymous, on_denied } = new;
    differing([("anonymous", *anonymous == old.anonymous), ("on_denied", *on_denied == old.on_denied)])
}

pub(super) fn listener(old: &Listener, new: &Listener) -> Vec<&'static str> {
    let Listener { name: _, kind, bind, max_message_bytes, max_connections, serve } = new;
    differing([
        ("kind", *kind == old.kind),
        ("bind", *bind == old.bind),
        ("max_message", *max_message_bytes == old.max_message_bytes),
        ("max_connections", *max_connections == old.max_connections),
        ("serve", *serve == old.serve),
    ])
}

pub(super) fn source(old: &Source, new: &Source) -> Vec<&'static str> {
    let Source { name: _, topic, format, sensor, time, schema, priority, fields, dedup } = new;
    differing([
        ("topic", *topic == old.topic),
        ("format", *format == old.format),
        ("sensor", *sensor == old.sensor),
        ("time", *time == old.time),
        ("schema", *schema == old.schema),
        ("priority", *priority == old.priority),
        ("fields", *fields == old.fields),
        ("dedup", *dedup == old.dedup),
    ])
}

pub(super) fn pipeline(old: &Pipeline, new: &Pipeline) -> (Fate, Vec<String>) {
    let Pipeline {
        name: _,
        from,
        inputs: _,
        filter,
        key,
        tags,
        lane,
        window,
        watermark,
        select,
        having,
        outputs: _,
        generation,
        start,
    } = new;
    let mut keys = differing([
        ("from", *from == old.from),
        ("where", text(filter) == text(&old.filter)),
        ("key", fields(key) == fields(&old.key)),
        ("tags", tags.iter().map(|tag| &tag.0).eq(old.tags.iter().map(|tag| &tag.0))),
        ("lane", *lane == old.lane),
        ("window", *window == old.window),
        ("watermark", *watermark == old.watermark),
        ("select", columns(select) == columns(&old.select)),
        ("having", text(having) == text(&old.having)),
        ("start", *start == old.start),
    ]);
    let is_rebuilt = *generation != old.generation;
    if is_rebuilt && keys.iter().all(|key| matches!(*key, "having" | "start")) {
        // Columns are compared as they were understood, generations as they were written.
        keys.push("select");
    }
    let (fate, why) = super::changed(keys);
    (if is_rebuilt { Fate::Rebuilt } else { fate }, why)
}

fn text(program: &Option<Program>) -> Option<&str> {
    program.as_ref().map(|program| &*program.text)
}

/// What is grouped by; slots are the pipeline's own.
fn fields(key: &Key) -> (bool, Vec<&Arc<str>>) {
    match key {
        Key::Sensor => (true, Vec::new()),
        Key::All => (false, Vec::new()),
        Key::Fields(fields) => (false, fields.iter().map(|field| &field.0).collect()),
    }
}

fn columns(select: &[Column]) -> Vec<(Arc<str>, Option<Arc<str>>)> {
    let argument = |column: &'_ Column| column.aggregate.program().map(|program| program.text.clone());
    select.iter().map(|column| (column.name.clone(), argument(column))).collect()
}

/// An alert's state belongs to its name, its lane and what it reads; thresholds may change.
pub(super) fn alert(
    (of_old, old): (&Config, &Alert),
    (of_new, new): (&Config, &Alert),
) -> (Fate, Vec<String>) {
    let Alert { name: _, on, condition, inputs: _, hold_ms, resolve_after, repeat, severity, summary, lane } =
        new;
    let [when, clear, absent] = conditions(condition);
    let [old_when, old_clear, old_absent] = conditions(&old.condition);
    let is_other_input = input(of_old, &old.on) != input(of_new, on);
    let keys = differing([
        ("on", !is_other_input),
        ("when", when == old_when),
        ("clear", clear == old_clear),
        ("absent", absent == old_absent),
        ("for", *hold_ms == old.hold_ms),
        ("resolve_after", *resolve_after == old.resolve_after),
        ("repeat", *repeat == old.repeat),
        ("severity", grade(severity) == grade(&old.severity)),
        ("summary", summary.text == old.summary.text),
        ("lane", *lane == old.lane),
    ]);
    let (fate, why) = super::changed(keys);
    (if is_other_input || *lane != old.lane { Fate::Rebuilt } else { fate }, why)
}

/// What an alert reads, by name.
fn input<'a>(config: &'a Config, on: &AlertInput) -> (bool, &'a str) {
    match *on {
        AlertInput::Pipeline(at) => (true, &config.pipelines[at].name),
        AlertInput::Source(at) => (false, &config.sources[at].name),
    }
}

fn conditions(condition: &Condition) -> [Option<String>; 3] {
    match condition {
        Condition::Threshold { when, clear } => {
            [Some(when.text.to_string()), text(clear).map(str::to_owned), None]
        }
        Condition::Absent(length) => [None, None, Some(format!("{length:?}"))],
    }
}

fn grade(rule: &SeverityRule) -> &str {
    match rule {
        SeverityRule::Fixed(severity) => severity.as_str(),
        SeverityRule::Computed(program) => &program.text,
    }
}

pub(super) fn sink((of_old, old): (&Config, &Sink), (of_new, new): (&Config, &Sink)) -> Vec<&'static str> {
    let Sink { name, kind, max_lag, on_max_lag, max_age, start } = new;
    differing([
        ("settings", *kind == old.kind),
        ("max_lag", *max_lag == old.max_lag),
        ("on_max_lag", *on_max_lag == old.on_max_lag),
        ("max_age", *max_age == old.max_age),
        ("start", *start == old.start),
        ("routes", routes(of_old, name) == routes(of_new, name)),
    ])
}

/// A route as one sink sees it.
#[derive(PartialEq)]
struct Deciding<'a> {
    /// The route, whatever other sinks it names.
    route: Route,
    names_sink: bool,
    /// The alerts on what its `from` names: it means them, too.
    alerts: Vec<&'a str>,
}

/// The routes that decide what a sink gets: its own, and those before them that keep rows from it.
fn routes<'a>(config: &'a Config, sink: &str) -> Vec<Deciding<'a>> {
    let names_sink = |route: &Route| route.to.iter().any(|to| **to == *sink);
    let last = config.routes.iter().rposition(names_sink).map_or(0, |last| last + 1);
    let deciding = config.routes[..last].iter().filter(|route| names_sink(route) || route.is_final);
    let each = |route: &Route| {
        let is_meant = |alert: &&Alert| route.from.iter().any(|from| **from == *input(config, &alert.on).1);
        let alerts = config.alerts.iter().filter(is_meant).map(|alert| &*alert.name).collect();
        Deciding { route: Route { to: Vec::new(), ..route.clone() }, names_sink: names_sink(route), alerts }
    };
    deciding.map(each).collect()
}
