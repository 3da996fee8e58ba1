//! What a reading's sensor is called.
//!
//! With `sensor = "…"`: text, topic captures and scalars of the payload put together. Without: a SenML record's
//! name says it (see [`split`]); for other formats it is the first capture of the topic pattern, or, in a
//! pattern without captures, the whole topic path.

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::{Pointer, Source, TemplatePart};
use crate::model::Reason;

use super::document::{Entry, Node, Number};
use super::limits::SENSOR_BYTES_MAX;
use super::rejection::Rejection;
use super::topic;

/// The field of a SenML record whose name is the sensor and nothing more.
pub const VALUE: &str = "value";

/// The rule of a source.
#[derive(Debug)]
pub enum Naming {
    /// `sensor = "…"`.
    Template(Vec<Part>),
    /// The level of the topic path with this index.
    Level(usize),
    /// The whole topic path.
    Topic,
}

/// A part of a template.
#[derive(Debug)]
pub enum Part {
    /// This text.
    Text(Arc<str>),
    /// The level of the topic path with this index.
    Level(usize),
    /// The scalar at this pointer.
    Pointer(Pointer),
}

impl Naming {
    /// The rule of `source`.
    ///
    /// # Errors
    /// The text of what is wrong: a capture that the topic pattern does not have.
    pub fn new(source: &Source) -> Result<Self, String> {
        let Some(template) = &source.sensor else {
            return Ok(topic::first_capture(&source.topic).map_or(Self::Topic, Self::Level));
        };
        let part = |part: &TemplatePart| match part {
            TemplatePart::Text(text) => Ok(Part::Text(text.clone())),
            TemplatePart::Pointer(pointer) => Ok(Part::Pointer(pointer.clone())),
            TemplatePart::Capture(name) => {
                topic::level_of(&source.topic, name).map(Part::Level).ok_or_else(|| {
                    format!("topic {:?} has no capture {{{name}}} for the sensor", source.topic.text)
                })
            }
        };
        template.parts.iter().map(part).collect::<Result<_, _>>().map(Self::Template)
    }

    /// Whether `sensor = "…"` stands in the configuration.
    pub fn is_template(&self) -> bool {
        matches!(self, Self::Template(_))
    }

    /// First tokens of pointers to scalars of the payload's root.
    pub fn members(&self) -> impl Iterator<Item = &Arc<str>> {
        let parts = if let Self::Template(parts) = self { parts.as_slice() } else { &[] };
        parts.iter().filter_map(|part| match part {
            Part::Pointer(pointer) if pointer.tokens.len() == 1 => pointer.tokens.first(),
            _ => None,
        })
    }

    /// The name for a message on `topic`; `root` is the document, `None` for a SenML pack.
    ///
    /// # Errors
    /// [`Reason::Field`] where a part is missing or the name is not one.
    pub fn name<'a>(&'a self, topic: &'a str, root: Option<Node<'a>>) -> Result<Cow<'a, str>, Rejection> {
        let name = match self {
            Self::Topic => Cow::Borrowed(topic),
            Self::Level(level) => Cow::Borrowed(topic_level(topic, *level)?),
            Self::Template(parts) => match parts.as_slice() {
                [part] => part.text(topic, root)?,
                parts => {
                    Cow::Owned(parts.iter().map(|part| part.text(topic, root)).collect::<Result<_, _>>()?)
                }
            },
        };
        check(&name)?;
        Ok(name)
    }
}

impl Part {
    fn text<'a>(&'a self, topic: &'a str, root: Option<Node<'a>>) -> Result<Cow<'a, str>, Rejection> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            Self::Level(level) => topic_level(topic, *level).map(Cow::Borrowed),
            Self::Pointer(pointer) => {
                let Some(root) = root else {
                    return Err(refused("the sensor is named by a member, and a SenML pack has none such"));
                };
                member(pointer, root).map_err(|refusal| refusal.at(&pointer.text))
            }
        }
    }
}

fn topic_level(topic: &str, level: usize) -> Result<&str, Rejection> {
    // Of a topic that matched, every captured level is there: only a backtest may go without a topic.
    topic.split('/').nth(level).filter(|_| !topic.is_empty()).ok_or_else(|| {
        refused("the sensor is named by the topic, and there is none (backtest takes --topic)")
    })
}

fn member<'a>(pointer: &Pointer, root: Node<'a>) -> Result<Cow<'a, str>, Rejection> {
    let node = root.pointer(pointer).ok_or_else(|| refused("the sensor's name is missing"))?;
    match node.entry() {
        Entry::Text(text) => Ok(Cow::Borrowed(text)),
        // All digits, also where a double would lose some: a 64-bit EUI.
        Entry::Number(Number::Integer(number)) => Ok(Cow::Owned(number.to_string())),
        Entry::Number(Number::Double(number)) => Ok(Cow::Owned(number.to_string())),
        _ => Err(refused(format!("{} is no name of a sensor", node.kind()))),
    }
}

/// Whether `name` can be a sensor's.
///
/// # Errors
/// [`Reason::Field`]: empty, longer than [`SENSOR_BYTES_MAX`], or with control characters.
pub fn check(name: &str) -> Result<(), Rejection> {
    if name.is_empty() {
        return Err(refused("the sensor's name is empty"));
    }
    if name.len() > SENSOR_BYTES_MAX {
        return Err(refused(format!("the sensor's name is longer than {SENSOR_BYTES_MAX} bytes")));
    }
    if name.chars().any(char::is_control) {
        return Err(refused(format!("the sensor's name {name:?} has control characters")));
    }
    Ok(())
}

/// Sensor and field of a resolved SenML name: split at the last `/`, else after the device of an RFC 9039
/// `urn:dev:…`, else at the last `:`. A name without any is the sensor, its field [`VALUE`].
pub fn split(name: &str) -> (&str, &str) {
    let halves = match (name.rsplit_once('/'), name.strip_prefix("urn:dev:")) {
        (Some(halves), _) => Some(halves),
        (None, Some(body)) => device_end(body).map(|at| name.split_at(name.len() - body.len() + at)),
        (None, None) => name.rsplit_once(':'),
    };
    let (sensor, field) = halves.unwrap_or((name, ""));
    let (sensor, field) = (sensor.trim_end_matches(SEPARATORS), field.trim_start_matches(SEPARATORS));
    match (sensor, field) {
        ("", field) => (field, VALUE),
        (sensor, "") => (sensor, VALUE),
        halves => halves,
    }
}

/// Where, in the body of a `urn:dev:`, the separator stands that ends the device (RFC 9039 section 3.2): the
/// `_` of a sub-component, or the `:` that most SenML base names end with. The colon between the kind of
/// device and its identifier is none.
fn device_end(body: &str) -> Option<usize> {
    let identifier = body.find(':')? + 1;
    let rest = &body[identifier..];
    let end = match &body[..identifier] {
        // These identifiers are hexadecimal: the first separator ends them.
        "mac:" | "ow:" => rest.find(['_', ':']),
        _ => rest.find('_').or_else(|| rest.rfind(':')),
    };
    end.map(|at| identifier + at)
}

const SEPARATORS: [char; 3] = ['/', ':', '_'];

/// The field of a resolved SenML name whose sensor is known: the name less that prefix and the separator
/// after it; the whole name where it does not begin with the sensor.
pub fn field_of<'a>(name: &'a str, sensor: &str) -> &'a str {
    match name.strip_prefix(sensor) {
        Some("") => VALUE,
        Some(rest) => match rest.strip_prefix(['/', ':', '_', '.', '-']) {
            Some("") => VALUE,
            Some(field) => field,
            None => name,
        },
        None => name,
    }
}

fn refused(text: impl Into<String>) -> Rejection {
    Rejection::new(Reason::Field, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senml_names_split_into_sensor_and_field() {
        let table = [
            ("v17/speed", ("v17", "speed")),
            ("site/v17/speed", ("site/v17", "speed")),
            ("urn:dev:ow:10e2073a01080063_temp", ("urn:dev:ow:10e2073a01080063", "temp")),
            ("urn:dev:ow:10e2073a01080063:temp", ("urn:dev:ow:10e2073a01080063", "temp")),
            ("urn:dev:ow:10e2073a01080063:temp_c", ("urn:dev:ow:10e2073a01080063", "temp_c")),
            ("urn:dev:ow:10e2073a01080063", ("urn:dev:ow:10e2073a01080063", "value")),
            ("urn:dev:os:32473-12:7_humidity_rel", ("urn:dev:os:32473-12:7", "humidity_rel")),
            ("urn:dev:org:32473-foo:temp", ("urn:dev:org:32473-foo", "temp")),
            ("urn:dev:org:32473-foo", ("urn:dev:org:32473-foo", "value")),
            ("urn:dev:mac:0024befffe804ff1/rssi_db", ("urn:dev:mac:0024befffe804ff1", "rssi_db")),
            ("plug_1:power", ("plug_1", "power")),
            ("thermometer", ("thermometer", "value")),
            ("meter_7", ("meter_7", "value")),
            ("v17/", ("v17", "value")),
        ];
        for (name, want) in table {
            assert_eq!(split(name), want, "{name}");
        }
    }

    #[test]
    fn a_known_sensor_is_taken_off_the_name() {
        let table = [
            ("m1/voltage", "m1", "voltage"),
            ("m1:voltage", "m1", "voltage"),
            ("m1", "m1", "value"),
            ("m1/", "m1", "value"),
            ("m12/voltage", "m1", "m12/voltage"),
            ("voltage", "m1", "voltage"),
        ];
        for (name, sensor, want) in table {
            assert_eq!(field_of(name, sensor), want, "{name} of {sensor}");
        }
    }
}
