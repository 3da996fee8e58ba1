//! `[source.*]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::document::At;
use super::names::{Known, OF_READINGS};
use super::topic::{pattern, pointer, sensor, takes_all_of};
use super::{World, dedup, raw};
use crate::config::{
    FieldRule, Format, MissingTime, Pointer, Priority, Schema, Source, TimeRule, TopicPattern,
};
use crate::model::Timestamp;

/// Folder of the schema files, beside the configuration.
const SCHEMAS: &str = "schemas";

/// All sources, each with the names its readings may have.
pub(super) fn sources(world: &World<'_>, places: &[At<'_, '_>]) -> Vec<(Option<Source>, Known)> {
    let mut above: Vec<(&str, TopicPattern)> = Vec::new();
    let mut sources = Vec::new();
    for at in places {
        let raw: raw::Source = at.read();
        let topic = topic(at, &raw);
        if let Some(topic) = &topic {
            report_unreached(&at.key("topic"), topic, &above);
            above.push((at.name(), topic.clone()));
        }
        sources.push(source(world, at, &raw, topic));
    }
    sources
}

fn topic(at: &At<'_, '_>, raw: &raw::Source) -> Option<TopicPattern> {
    if raw.topic.is_none() && !at.has("topic") {
        at.missing("topic");
    }
    raw.topic.as_ref().and_then(|text| pattern(&at.key("topic"), text))
}

/// The first source that takes a topic has it: one whose topics are all taken above waits in vain. The same
/// pattern twice is an error; a wider one above may be a table that moved, and the gateway still works.
fn report_unreached(at: &At<'_, '_>, topic: &TopicPattern, above: &[(&str, TopicPattern)]) {
    if let Some((name, wider)) = above.iter().find(|(_, wider)| takes_all_of(wider, topic)) {
        let message = format!("never reached: source \"{name}\" above takes \"{}\"", wider.text);
        if wider.text == topic.text { at.error(message) } else { at.warn(message) }
    }
}

fn source(
    world: &World<'_>,
    at: &At<'_, '_>,
    raw: &raw::Source,
    topic: Option<TopicPattern>,
) -> (Option<Source>, Known) {
    let template = raw.sensor.as_ref().map(|text| sensor(&at.key("sensor"), text, topic.as_ref()));
    let schema = raw.schema.as_ref().map(|name| schema(world, &at.key("schema"), name));
    let fields = raw.fields.as_ref().map(|fields| field_rules(&at.key("fields"), fields));
    let time = time(&at.key("time"), raw.time.as_ref());
    let dedup = raw.dedup.as_ref().map(|dedup| dedup::rule(&at.key("dedup"), dedup, raw));
    let known = known(at, raw, schema.as_ref().and_then(Option::as_ref));
    let build = || {
        Some(Source {
            name: at.name().into(),
            topic: topic?,
            format: format(raw.format),
            sensor: transpose(template)?,
            time: time?,
            schema: transpose(schema)?,
            priority: raw.priority.unwrap_or(Priority::Normal),
            fields: transpose(fields)?,
            dedup: transpose(dedup)?,
        })
    };
    (build(), known)
}

/// An option of a result: what was not given is fine, what was given must be right.
fn transpose<T>(given: Option<Option<T>>) -> Option<Option<T>> {
    match given {
        None => Some(None),
        Some(checked) => checked.map(Some),
    }
}

fn format(raw: Option<raw::Format>) -> Format {
    match raw.unwrap_or(raw::Format::Auto) {
        raw::Format::Auto => Format::Auto,
        raw::Format::Senml => Format::Senml,
        raw::Format::Json => Format::Json,
        raw::Format::Cbor => Format::Cbor,
        raw::Format::Ndjson => Format::Ndjson,
    }
}

fn at_pointer(at: &At<'_, '_>, text: &str) -> Option<Pointer> {
    pointer(text).map_err(|message| at.error(message)).ok()
}

fn field_rules(at: &At<'_, '_>, fields: &BTreeMap<String, raw::Field>) -> Option<Vec<FieldRule>> {
    let mut rules = Vec::new();
    for name in at.keys() {
        let Some(raw) = fields.get(&name) else { continue };
        if OF_READINGS.contains(&name.as_str()) {
            at.key(&name).error(format!("\"{name}\" is a name that every reading has already"));
        }
        let escaped = || format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let text = raw.at.clone().unwrap_or_else(escaped);
        let unit = raw.unit.as_deref().map(Arc::from);
        let pointer = at_pointer(&at.key(&name).key("at"), &text);
        rules.push(pointer.map(|at| FieldRule { name: name.as_str().into(), at, unit }));
    }
    if at.keys().is_empty() {
        at.error("expected at least one field; without this table every scalar member is one");
    }
    rules.into_iter().collect()
}

fn time(at: &At<'_, '_>, raw: Option<&raw::Time>) -> Option<TimeRule> {
    let raw = raw.cloned().unwrap_or_default();
    if raw.at.is_some() && raw.unit.is_none() && !at.has("unit") {
        at.missing("unit");
    }
    if raw.unit.is_some() && raw.at.is_none() && !at.has("at") {
        at.missing("at");
    }
    let pointer = raw.at.as_ref().map(|text| at_pointer(&at.key("at"), text));
    let min = raw.min.as_ref().map(|text| timestamp(&at.key("min"), text));
    Some(TimeRule {
        at: transpose(pointer)?,
        unit: raw.unit.unwrap_or(crate::config::TimeUnit::Millis),
        missing: raw.missing.unwrap_or(MissingTime::Received),
        min: transpose(min)?,
    })
}

fn timestamp(at: &At<'_, '_>, text: &str) -> Option<Timestamp> {
    let nanos =
        text.parse::<jiff::Timestamp>().ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    if nanos.is_none() {
        at.error(format!("expected a time such as \"2020-01-01T00:00:00Z\", got \"{text}\""));
    }
    nanos.map(Timestamp::from_nanos)
}

fn schema(world: &World<'_>, at: &At<'_, '_>, name: &str) -> Option<Schema> {
    super::check_name(at, name);
    let path = world.dir.join(SCHEMAS).join(format!("{name}.json"));
    let text = match world.outside.read(&path) {
        Ok(text) => text,
        Err(error) => {
            at.error(format!("cannot read {SCHEMAS}/{name}.json: {error}"));
            return None;
        }
    };
    let fail = |error: String| at.error(format!("{SCHEMAS}/{name}.json is no JSON Schema: {error}"));
    let document: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| fail(error.to_string())).ok()?;
    // The same options as at intake: nothing is fetched, no pattern can backtrack.
    let options = jsonschema::options().offline().with_pattern_options(jsonschema::PatternOptions::regex());
    options.build(&document).map_err(|error| fail(error.to_string())).ok()?;
    Some(Schema { name: name.into(), document: Arc::new(document) })
}

/// The names of a source's readings: closed by `fields`, or by a schema that allows no other members.
fn known(at: &At<'_, '_>, raw: &raw::Source, schema: Option<&Schema>) -> Known {
    let fields = match (&raw.fields, schema) {
        (Some(fields), _) => Some(fields.keys().map(|name| Arc::from(name.as_str())).collect()),
        // Something is wrong with `fields`: no second problem for each name.
        (None, _) if at.has("fields") => None,
        (None, Some(schema)) => members(&schema.document),
        (None, None) => None,
    };
    let names = fields.map(|fields: Vec<Arc<str>>| {
        let of_readings = OF_READINGS.into_iter().map(Arc::from);
        fields.into_iter().chain(of_readings).collect()
    });
    Known { names, what: "field", place: format!("source \"{}\"", at.name()) }
}

fn members(schema: &serde_json::Value) -> Option<Vec<Arc<str>>> {
    let is_closed = schema.get("additionalProperties") == Some(&serde_json::Value::Bool(false));
    let properties = schema.get("properties")?.as_object()?;
    is_closed.then(|| properties.keys().map(|name| name.as_str().into()).collect())
}
