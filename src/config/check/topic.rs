//! Topic patterns, sensor templates and JSON pointers of sources.

use std::sync::Arc;

use super::super::document::At;
use super::super::problem::did_you_mean;
use super::braces::{Piece, pieces};
use crate::config::{Pointer, SensorTemplate, TemplatePart, TopicLevel, TopicPattern};

/// Most levels of a pattern.
const LEVELS_MAX: usize = 32;

/// The pattern `text`.
pub(super) fn pattern(at: &At<'_, '_>, text: &str) -> Option<TopicPattern> {
    let mut levels = Vec::new();
    let mut captures: Vec<&str> = Vec::new();
    let mut column = 1;
    let count = text.split('/').count();
    if count > LEVELS_MAX {
        at.error(format!("topic \"{text}\" has {count} levels, more than {LEVELS_MAX}"));
        return None;
    }
    for (index, level) in text.split('/').enumerate() {
        match parse_level(level, index + 1 == count) {
            Ok(TopicLevel::Capture(name)) if captures.contains(&&*name) => {
                at.error_in(text, column, format!("capture \"{name}\" stands twice in topic \"{text}\""));
                return None;
            }
            Ok(parsed) => {
                captures.extend(level.strip_prefix('{').and_then(|level| level.strip_suffix('}')));
                levels.push(parsed);
            }
            Err(message) => {
                at.error_in(text, column, message);
                return None;
            }
        }
        column += level.len() + 1;
    }
    Some(TopicPattern { text: text.into(), levels })
}

fn parse_level(level: &str, is_last: bool) -> Result<TopicLevel, String> {
    if let Some(name) = level.strip_prefix('{').and_then(|level| level.strip_suffix('}')) {
        return if is_word(name) {
            Ok(TopicLevel::Capture(name.into()))
        } else {
            Err(format!("capture \"{name}\" is no word of letters, digits and \"_\""))
        };
    }
    match level {
        "+" => Ok(TopicLevel::Any),
        "#" if is_last => Ok(TopicLevel::Rest),
        "#" => Err("\"#\" stands only at the end of a topic".to_owned()),
        "" => Err("a topic has no empty level and no slash at its start or end".to_owned()),
        _ if level.contains(['{', '}', '+', '#']) => {
            Err(format!("level \"{level}\": a capture, \"+\" or \"#\" takes a whole level"))
        }
        _ => Ok(TopicLevel::Text(level.into())),
    }
}

/// Whether every topic that `narrow` takes is one that `wide` takes, by the rules of intake: a wildcard does
/// not take the first level of a `$` topic.
pub(super) fn takes_all_of(wide: &TopicPattern, narrow: &TopicPattern) -> bool {
    use TopicLevel::{Any, Capture, Rest, Text};
    if let (Some(Text(first)), Some(Capture(_) | Any | Rest)) = (narrow.levels.first(), wide.levels.first())
        && first.starts_with('$')
    {
        return false;
    }
    let mut levels = narrow.levels.iter();
    for level in &wide.levels {
        let takes = match (level, levels.next()) {
            (Rest, _) => return true,
            (Text(wanted), Some(Text(text))) => wanted == text,
            (Capture(_) | Any, Some(Text(_) | Capture(_) | Any)) => true,
            _ => false,
        };
        if !takes {
            return false;
        }
    }
    levels.next().is_none()
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The sensor template `text`, whose captures must be in `topic` (if that is right itself).
pub(super) fn sensor(at: &At<'_, '_>, text: &str, topic: Option<&TopicPattern>) -> Option<SensorTemplate> {
    let fail = |(column, message): (usize, String)| at.error_in(text, column, message);
    let pieces = pieces(text).map_err(fail).ok()?;
    if pieces.is_empty() {
        at.error("the sensor's name would be empty");
        return None;
    }
    let parts = pieces.into_iter().map(|piece| part(piece, topic).map_err(fail).ok());
    Some(SensorTemplate { text: text.into(), parts: parts.collect::<Option<_>>()? })
}

fn part(piece: Piece<'_>, topic: Option<&TopicPattern>) -> Result<TemplatePart, (usize, String)> {
    match piece {
        Piece::Text(text) => Ok(TemplatePart::Text(text.into())),
        Piece::Hole(hole, column) if hole.starts_with('/') => {
            pointer(hole).map(TemplatePart::Pointer).map_err(|message| (column, message))
        }
        Piece::Hole(name, column) => {
            let captures: Vec<Arc<str>> = topic.map_or_else(Vec::new, captures);
            if topic.is_some() && captures.iter().all(|known| **known != *name) {
                let near = did_you_mean(name, captures.iter().map(|name| &**name));
                return Err((column, format!("the topic has no capture \"{name}\"{near}")));
            }
            Ok(TemplatePart::Capture(name.into()))
        }
    }
}

fn captures(topic: &TopicPattern) -> Vec<Arc<str>> {
    let name = |level: &TopicLevel| match level {
        TopicLevel::Capture(name) => Some(name.clone()),
        _ => None,
    };
    topic.levels.iter().filter_map(name).collect()
}

/// The JSON pointer `text` (RFC 6901).
pub(super) fn pointer(text: &str) -> Result<Pointer, String> {
    let Some(tokens) = text.strip_prefix('/') else {
        return Err(format!("JSON pointer \"{text}\" does not start with \"/\""));
    };
    let tokens: Result<Vec<_>, _> = tokens.split('/').map(token).collect();
    match tokens {
        Ok(tokens) => Ok(Pointer { text: text.into(), tokens }),
        Err(token) => Err(format!("JSON pointer \"{text}\": \"~\" in \"{token}\" is not \"~0\" or \"~1\"")),
    }
}

fn token(text: &str) -> Result<Arc<str>, &str> {
    let escapes_right = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if escapes_right { Ok(text.replace("~1", "/").replace("~0", "~").into()) } else { Err(text) }
}
