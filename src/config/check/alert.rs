//! `[alert.*]`.

use super::super::document::At;
use super::super::problem::did_you_mean;
use super::braces::{Piece, pieces};
use super::names::{Known, condition, program};
use super::pipeline::Checked;
use super::{World, lane, raw, references};
use crate::config::{Alert, AlertInput, Condition, OutputKind, Route, SeverityRule, SummaryPart, Template};
use crate::expr::{Kind, Names};
use crate::model::Severity;

/// The built-in source of our own health, of a later version.
const GATEWAY: &str = "gateway";

/// Most decimals of a number in a summary: a double has no more.
const DECIMALS_MAX: u8 = 17;

/// All alerts, each with the route of its `to`.
pub(super) fn alerts(
    world: &World<'_>,
    places: &[At<'_, '_>],
    sources: &[Known],
    pipelines: &[Checked],
) -> Vec<(Option<Alert>, Option<Route>)> {
    let alert = |at: &At<'_, '_>| {
        let raw: raw::Alert = at.read();
        (alert(world, at, &raw, (sources, pipelines)), route(world, at, &raw))
    };
    places.iter().map(alert).collect()
}

fn alert(
    world: &World<'_>,
    at: &At<'_, '_>,
    raw: &raw::Alert,
    inputs: (&[Known], &[Checked]),
) -> Option<Alert> {
    let on = input(world, at, raw.on.as_deref());
    let own_lane = lane(at, raw.lane.as_ref());
    let (known, lane) = match on {
        Some(AlertInput::Source(index)) => (inputs.0[index].clone(), own_lane),
        Some(AlertInput::Pipeline(index)) => (inputs.1[index].rows.clone(), inputs.1[index].lane.clone()),
        None => (Known::any(), own_lane),
    };
    if matches!(on, Some(AlertInput::Source(_))) && known.names.is_none() {
        at.warn(
            "names in expressions are not checked: the source takes any field (give it [source.NAME.fields])",
        );
    }
    check_lengths(at, raw);
    if matches!(on, Some(AlertInput::Pipeline(_))) && raw.lane.is_some() {
        at.key("lane").error("an alert on a pipeline runs in the pipeline's lane");
    }
    let mut names = Names::default();
    let condition = rule(at, raw, on.as_ref(), &mut names, &known);
    let severity = severity(&at.key("severity"), raw.severity.as_deref(), &mut names, &known);
    let summary = summary(at, raw.summary.as_deref(), on.as_ref(), &mut names, &known);
    Some(Alert {
        name: at.name().into(),
        on: on?,
        condition: condition?,
        inputs: names,
        hold_ms: raw.hold.map_or(0, |length| i64::try_from(length.0.as_millis()).unwrap_or(i64::MAX)),
        resolve_after: raw.resolve_after.map(|length| length.0),
        repeat: raw.repeat.map(|length| length.0),
        severity: severity?,
        summary: summary?,
        lane,
    })
}

fn check_lengths(at: &At<'_, '_>, raw: &raw::Alert) {
    for (key, length) in
        [("resolve_after", raw.resolve_after), ("repeat", raw.repeat), ("absent", raw.absent)]
    {
        if length.is_some_and(|length| length.0.is_zero()) {
            at.key(key).error("expected more than \"0s\"");
        }
    }
}

fn input(world: &World<'_>, at: &At<'_, '_>, on: Option<&str>) -> Option<AlertInput> {
    let Some(on) = on else {
        if !at.has("on") {
            at.missing("on");
        }
        return None;
    };
    let place = |names: &[String]| names.iter().position(|name| name == on);
    if let Some(index) = place(&world.pipelines) {
        return Some(AlertInput::Pipeline(index));
    }
    if let Some(index) = place(&world.sources) {
        return Some(AlertInput::Source(index));
    }
    let at = at.key("on");
    if on == GATEWAY {
        at.error("source \"gateway\" is not in this version");
    } else {
        let known = world.pipelines.iter().chain(&world.sources);
        at.error(format!(
            "unknown pipeline or source \"{on}\"{}",
            did_you_mean(on, known.map(String::as_str))
        ));
    }
    None
}

fn rule(
    at: &At<'_, '_>,
    raw: &raw::Alert,
    on: Option<&AlertInput>,
    names: &mut Names,
    known: &Known,
) -> Option<Condition> {
    match (&raw.when, raw.absent) {
        (Some(when), None) => {
            let when = condition(&at.key("when"), when, names, known);
            let clear = raw.clear.as_ref().map(|clear| condition(&at.key("clear"), clear, names, known));
            let clear = clear.map_or(Some(None), |checked| checked.map(Some));
            Some(Condition::Threshold { when: when?, clear: clear? })
        }
        (None, Some(absent)) => {
            if matches!(on, Some(AlertInput::Pipeline(_))) {
                at.key("absent").error("watches readings: name a source in \"on\"");
            }
            for key in ["clear", "for", "resolve_after"] {
                if at.has(key) {
                    at.key(key).error("does not go with \"absent\": it resolves with the next reading");
                }
            }
            Some(Condition::Absent(absent.0))
        }
        (Some(_), Some(_)) => {
            at.key("absent").error("an alert has either \"when\" or \"absent\"");
            None
        }
        (None, None) => {
            if !at.has("when") && !at.has("absent") {
                at.missing("when");
            }
            None
        }
    }
}

fn severity(at: &At<'_, '_>, text: Option<&str>, names: &mut Names, known: &Known) -> Option<SeverityRule> {
    let Some(text) = text else { return Some(SeverityRule::Fixed(Severity::Warning)) };
    if let Some(severity) = Severity::parse(text) {
        return Some(SeverityRule::Fixed(severity));
    }
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_word && known.unknown(text).is_some() {
        let words = ["info", "warning", "critical"];
        at.error(format!(
            "unknown value \"{text}\" (known: {}){}",
            words.join(", "),
            did_you_mean(text, words)
        ));
        return None;
    }
    program(at, text, Kind::Text, names, known).map(SeverityRule::Computed)
}

fn summary(
    at: &At<'_, '_>,
    text: Option<&str>,
    on: Option<&AlertInput>,
    names: &mut Names,
    known: &Known,
) -> Option<Template> {
    let whose = if matches!(on, Some(AlertInput::Source(_))) { "sensor" } else { "key" };
    let default = format!("{}: {{{whose}}}", at.name());
    let (at, text) = (at.key("summary"), text.unwrap_or(&default));
    let fail = |(column, message): (usize, String)| at.error_in(text, column, message);
    let mut parts = Vec::new();
    for piece in pieces(text).map_err(fail).ok()? {
        match piece {
            Piece::Text(text) => parts.push(SummaryPart::Text(text.into())),
            Piece::Hole(hole, column) => {
                let (name, decimals) = match parse_hole(hole) {
                    Ok(hole) => hole,
                    Err(message) => {
                        fail((column, message));
                        continue;
                    }
                };
                if let Some(message) = known.unknown(name) {
                    fail((column, message));
                }
                parts.push(SummaryPart::Hole { slot: names.slot(name), decimals });
            }
        }
    }
    Some(Template { text: text.into(), parts })
}

/// `avg_speed:.1` is a name and its decimals.
fn parse_hole(hole: &str) -> Result<(&str, Option<u8>), String> {
    let (name, format) = hole.split_once(':').map_or((hole, None), |(name, format)| (name, Some(format)));
    if name.is_empty() {
        return Err("expected a name between the braces".to_owned());
    }
    let Some(format) = format else { return Ok((name, None)) };
    let decimals = format.strip_prefix('.').and_then(|digits| digits.parse::<u8>().ok());
    match decimals.filter(|decimals| *decimals <= DECIMALS_MAX) {
        Some(decimals) => Ok((name, Some(decimals))),
        None => Err(format!("format \"{format}\" is not a number of decimals such as \".1\"")),
    }
}

fn route(world: &World<'_>, at: &At<'_, '_>, raw: &raw::Alert) -> Option<Route> {
    raw.to.as_ref().map(|to| Route {
        of: Some(OutputKind::Alert),
        from: Vec::new(),
        alert: vec![at.name().into()],
        severity: Vec::new(),
        to: references(&at.key("to"), to, "sink", &world.sinks),
        is_final: false,
    })
}
