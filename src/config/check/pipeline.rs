//! `[pipeline.*]`.

use std::sync::Arc;

use super::super::document::At;
use super::super::scalar::{Length, Many};
use super::names::{Known, aggregate, condition};
use super::{World, lane, raw, references};
use crate::config::{
    Column, Key, LateRule, OutputKind, Pipeline, Route, Scope, Start, Watermark, Window, generation,
};
use crate::expr::{Names, Program};

/// Names of every row, beside its columns and tags.
const OF_ROWS: [&str; 3] = ["key", "start", "end"];

/// A key is forgotten after thirty days of silence.
const FORGET: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);

/// A pipeline, what its rows are called by, and where they go.
pub(super) struct Checked {
    pub(super) pipeline: Option<Pipeline>,
    /// Names that alerts on it may use.
    pub(super) rows: Known,
    /// The lane it runs in.
    pub(super) lane: Arc<str>,
    pub(super) route: Option<Route>,
}

/// All pipelines.
pub(super) fn pipelines(world: &World<'_>, places: &[At<'_, '_>], sources: &[Known]) -> Vec<Checked> {
    places.iter().map(|at| pipeline(world, at, sources)).collect()
}

fn pipeline(world: &World<'_>, at: &At<'_, '_>, sources: &[Known]) -> Checked {
    let raw: raw::Pipeline = at.read();
    let from = raw.from.as_ref().map(|from| inputs(world, &at.key("from"), from));
    for key in ["from", "select"].into_iter().filter(|key| !at.has(key)) {
        at.missing(key);
    }
    if !at.has("window") {
        at.error("missing key \"window\" (pipelines without one are not in this version)");
    }
    let read =
        from.iter().flatten().filter_map(|name| world.sources.iter().position(|known| **known == **name));
    let known = Known::union(&read.map(|index| &sources[index]).collect::<Vec<_>>());
    if known.names.is_none() && from.as_ref().is_some_and(|from| !from.is_empty()) {
        at.warn(
            "names in expressions are not checked: a source takes any field (give it [source.NAME.fields])",
        );
    }

    let mut names = Names::default();
    let filter = raw.filter.as_ref().map(|text| condition(&at.key("where"), text, &mut names, &known));
    let key = key(&at.key("key"), raw.key.as_ref(), &mut names, &known);
    let tags = tags(&at.key("tags"), raw.tags.as_deref().unwrap_or_default(), &mut names, &known);
    let select = select(&at.key("select"), &raw, &mut names, &known);
    let outputs = outputs(&at.key("select"), &select, &tags);
    let having = raw.having.as_ref().map(|text| having(at, text, &outputs));
    let window = window(&at.key("window"), raw.window.as_ref());
    let watermark = watermark(at, &raw.watermark.clone().unwrap_or_default());
    let lane = lane(at, raw.lane.as_ref());
    let route = raw.to.as_ref().map(|to| Route {
        of: Some(OutputKind::Result),
        from: vec![at.name().into()],
        alert: Vec::new(),
        severity: Vec::new(),
        to: references(&at.key("to"), to, "sink", &world.sinks),
        is_final: false,
    });
    let rows = rows(at, &outputs, key.as_ref());
    let start = raw.start.unwrap_or(Start::Now);
    let build = || {
        let mut pipeline = Pipeline {
            name: at.name().into(),
            from: from?,
            inputs: names,
            filter: optional(filter)?,
            key: key?,
            tags,
            lane: lane.clone(),
            window: window?,
            watermark,
            select: select.into_iter().collect::<Option<_>>()?,
            having: optional(having)?,
            outputs,
            generation: 0,
            start,
        };
        pipeline.generation = generation::of(&pipeline, raw.select.as_ref()?);
        Some(pipeline)
    };
    Checked { pipeline: build(), rows, lane, route }
}

fn optional(given: Option<Option<Program>>) -> Option<Option<Program>> {
    given.map_or(Some(None), |checked| checked.map(Some))
}

/// The sources named by `from`.
fn inputs(world: &World<'_>, at: &At<'_, '_>, from: &Many) -> Vec<Arc<str>> {
    let (pipelines, others): (Vec<_>, Vec<_>) = from
        .values
        .iter()
        .cloned()
        .enumerate()
        .partition(|(_, name)| world.pipelines.contains(name) && !world.sources.contains(name));
    for (index, name) in &pipelines {
        let message = "pipelines that read pipelines are not in this version";
        at.element(from, *index).error(format!("\"{name}\" is a pipeline: {message}"));
    }
    for (index, name) in &others {
        if from.values[..*index].contains(name) {
            at.element(from, *index).error(format!("\"{name}\" stands twice"));
        }
        super::reference(&at.element(from, *index), name, "source", &world.sources);
    }
    if from.values.is_empty() {
        at.error("expected at least one source");
    }
    others.iter().map(|(_, name)| name.as_str().into()).collect()
}

fn key(at: &At<'_, '_>, raw: Option<&Many>, names: &mut Names, known: &Known) -> Option<Key> {
    let Some(raw) = raw else { return Some(Key::Sensor) };
    match &raw.values[..] {
        [] => {
            at.error("expected a name, a list of names, or \"\" for all readings together");
            None
        }
        [name] if name == "sensor" => Some(Key::Sensor),
        [name] if name.is_empty() && !raw.is_list => Some(Key::All),
        all => {
            for (index, name) in all.iter().enumerate() {
                let place = at.element(raw, index);
                if all[..index].contains(name) {
                    place.error(format!("\"{name}\" stands twice"));
                }
                if let Some(message) = known.unknown(name) {
                    place.error(message);
                }
            }
            Some(Key::Fields(all.iter().map(|name| (name.as_str().into(), names.slot(name))).collect()))
        }
    }
}

fn tags(at: &At<'_, '_>, raw: &[String], names: &mut Names, known: &Known) -> Vec<(Arc<str>, usize)> {
    for (index, name) in raw.iter().enumerate() {
        if raw[..index].contains(name) {
            at.index(index).error(format!("\"{name}\" stands twice"));
        }
        if let Some(message) = known.unknown(name) {
            at.index(index).error(message);
        }
    }
    raw.iter().map(|name| (name.as_str().into(), names.slot(name))).collect()
}

fn select(at: &At<'_, '_>, raw: &raw::Pipeline, names: &mut Names, known: &Known) -> Vec<Option<Column>> {
    let Some(select) = &raw.select else { return Vec::new() };
    if at.keys().is_empty() {
        at.error("expected at least one column");
    }
    let columns = at.keys().into_iter().filter_map(|name| select.get(&name).map(|text| (name, text)));
    let column = |(name, text): (String, &String)| {
        let aggregate = aggregate(&at.key(&name), text, names, known);
        aggregate.map(|aggregate| Column { name: name.into(), aggregate })
    };
    columns.map(column).collect()
}

/// Slots of columns, tags and the names of every row, in this order.
fn outputs(at: &At<'_, '_>, select: &[Option<Column>], tags: &[(Arc<str>, usize)]) -> Names {
    let mut outputs = Names::default();
    for column in select.iter().flatten() {
        let is_taken = tags.iter().any(|(tag, _)| *tag == column.name) || OF_ROWS.contains(&&*column.name);
        if is_taken {
            at.key(&column.name).error(format!("\"{}\" is a tag or a name that every row has", column.name));
        }
        outputs.slot(&column.name);
    }
    for name in tags.iter().map(|(name, _)| &**name).chain(OF_ROWS) {
        outputs.slot(name);
    }
    outputs
}

/// `having` sees the outputs only, so its slots are theirs.
fn having(at: &At<'_, '_>, text: &str, outputs: &Names) -> Option<Program> {
    let at = at.key("having");
    let mut slots = outputs.clone();
    condition(&at, text, &mut slots, &row_names(&at, outputs.iter().cloned().collect()))
}

fn row_names(at: &At<'_, '_>, names: Vec<Arc<str>>) -> Known {
    Known { names: Some(names), what: "column", place: format!("pipeline \"{}\"", at.name()) }
}

/// What alerts may use: all outputs, and the sensor where it is the key.
fn rows(at: &At<'_, '_>, outputs: &Names, key: Option<&Key>) -> Known {
    let mut names: Vec<Arc<str>> = outputs.iter().cloned().collect();
    if key.is_none_or(|key| *key == Key::Sensor) {
        names.push("sensor".into());
    }
    // A column with a problem of its own has no slot, but a name.
    names.extend(at.key("select").keys().into_iter().map(Arc::from));
    row_names(at, names)
}

fn window(at: &At<'_, '_>, raw: Option<&raw::Window>) -> Option<Window> {
    let raw = raw?;
    if !at.has("kind") {
        at.missing("kind");
    }
    // Which keys are needed depends on the kind.
    if !at.has("size") && raw.kind.is_some() {
        at.missing("size");
    }
    let (size_ms, offset_ms) = (millis(raw.size?), raw.offset.map_or(0, millis));
    if size_ms == 0 {
        at.key("size").error("expected more than \"0s\"");
    } else if offset_ms >= size_ms {
        at.key("offset").error("expected less than the window's size");
    }
    raw.kind.map(|raw::WindowKind::Tumbling| Window::Tumbling { size_ms, offset_ms })
}

/// Milliseconds; `scalar` bounds durations far below the type's range.
fn millis(length: Length) -> i64 {
    i64::try_from(length.0.as_millis()).unwrap_or(i64::MAX)
}

fn watermark(pipeline: &At<'_, '_>, raw: &raw::Watermark) -> Watermark {
    let at = pipeline.key("watermark");
    for (key, length) in [("idle", raw.idle), ("max_ahead", raw.max_ahead), ("forget", raw.forget)] {
        if length.is_some_and(|length| length.0.is_zero()) {
            at.key(key).error("expected more than \"0s\"; without the key it is off");
        }
    }
    let scope = raw.scope.unwrap_or(Scope::Key);
    if scope == Scope::Source && raw.idle.is_some() {
        at.key("idle").error("only for scope \"key\"");
    }
    if scope == Scope::Key && !at.has("idle") {
        let place = if pipeline.has("watermark") { &at } else { pipeline };
        place.warn(
            "idle is off: a sensor that falls silent keeps its last windows open until it speaks again",
        );
    }
    Watermark {
        scope,
        delay_ms: raw.delay.map_or(0, millis),
        lateness_ms: raw.lateness.map_or(0, millis),
        late: raw.late.unwrap_or(LateRule::Count),
        idle: raw.idle.map(|length| length.0),
        max_ahead: raw.max_ahead.map(|length| length.0),
        forget: raw.forget.map_or(FORGET, |length| length.0),
    }
}
