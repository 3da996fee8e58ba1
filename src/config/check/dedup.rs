//! `dedup` of a source.

use std::time::Duration;

use super::super::document::At;
use super::super::scalar::{Length, Many};
use super::raw;
use super::topic::pointer;
use crate::config::{Dedup, DedupBy};

/// As long as a client may take to come back.
const WITHIN: Duration = Duration::from_secs(600);

/// The rule at `at`, which is the key `dedup` of a source that is written as `source`.
pub(super) fn rule(at: &At<'_, '_>, raw: &raw::Dedup, source: &raw::Source) -> Option<Dedup> {
    if raw.by.is_none() && !at.has("by") {
        at.missing("by");
    }
    let within = raw.within.map_or(WITHIN, |Length(within)| within);
    if within < Duration::from_secs(1) {
        at.key("within").error("expected at least \"1s\"");
    }
    let by = by(&at.key("by"), raw.by.as_ref()?)?;
    match by {
        DedupBy::Content if has_no_time(source) => at.warn(
            "the source has no `time.at`: readings without a time of their own get their arrival's, and no two are equal",
        ),
        DedupBy::Record(_) if source.format == Some(raw::Format::Senml) => {
            at.key("by").error("a SenML pack has no members of its own to point to; use \"content\"");
        }
        DedupBy::Content | DedupBy::Record(_) => {}
    }
    Some(Dedup { by, within_s: u32::try_from(within.as_secs()).unwrap_or(u32::MAX) })
}

fn by(at: &At<'_, '_>, raw: &Many) -> Option<DedupBy> {
    match (raw.is_list, raw.values.as_slice()) {
        (false, [word]) if word == "content" => Some(DedupBy::Content),
        (true, [_, ..]) => {
            let pointers =
                raw.values.iter().map(|text| pointer(text).map_err(|message| at.error(message)).ok());
            pointers.collect::<Option<_>>().map(DedupBy::Record)
        }
        _ => {
            at.error("expected \"content\" or a list of JSON pointers such as [\"/boot\", \"/seq\"]");
            None
        }
    }
}

/// SenML has its own time.
fn has_no_time(source: &raw::Source) -> bool {
    let has_at = source.time.as_ref().is_some_and(|time| time.at.is_some());
    !has_at && !matches!(source.format, None | Some(raw::Format::Auto | raw::Format::Senml))
}
