//! `[[route]]`.

use super::super::document::At;
use super::{World, raw, references};
use crate::config::{OutputKind, Route};

/// All routes of the file.
pub(super) fn routes(world: &World<'_>, places: &[At<'_, '_>]) -> Vec<Route> {
    let inputs: Vec<String> = world.pipelines.iter().chain(&world.sources).cloned().collect();
    let route = |at: &At<'_, '_>| {
        let raw: raw::Route = at.read();
        if raw.to.is_none() && !at.has("to") {
            at.missing("to");
        }
        for key in ["alert", "severity"] {
            if at.has(key) && raw.of.is_some_and(|of| of != OutputKind::Alert) {
                at.key(key).error("only for of = \"alert\"");
            }
        }
        Route {
            of: raw.of,
            from: raw.from.map_or_else(Vec::new, |from| {
                references(&at.key("from"), &from, "pipeline or source", &inputs)
            }),
            alert: raw
                .alert
                .map_or_else(Vec::new, |alert| references(&at.key("alert"), &alert, "alert", &world.alerts)),
            severity: raw.severity.unwrap_or_default(),
            to: raw.to.map_or_else(Vec::new, |to| references(&at.key("to"), &to, "sink", &world.sinks)),
            is_final: raw.is_final.unwrap_or(false),
        }
    };
    places.iter().map(route).collect()
}
