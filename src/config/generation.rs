//! The generation of a pipeline: a hash of everything its state depends on, the same over releases.
//!
//! `having`, routes and `start` are outside of it: editing a threshold keeps the state.

use std::collections::BTreeMap;

use super::{Key, LateRule, Pipeline, Scope, Watermark, Window};
use crate::model::ResultId;

/// The generation of `pipeline`, whose columns are written as `select`.
pub(super) fn of(pipeline: &Pipeline, select: &BTreeMap<String, String>) -> u64 {
    let mut parts = vec![format!("lane={}", pipeline.lane), window(&pipeline.window)];
    parts.extend(pipeline.from.iter().map(|name| format!("from={name}")));
    parts.extend(pipeline.filter.iter().map(|filter| format!("where={}", filter.text)));
    parts.push(key(&pipeline.key));
    parts.push(watermark(&pipeline.watermark));
    parts.extend(pipeline.tags.iter().map(|(name, _)| format!("tag={name}")));
    parts.extend(select.iter().map(|(name, text)| format!("select.{name}={text}")));
    parts.iter().fold(ResultId::EMPTY, |id, part| id.with_text(part)).short()
}

fn key(key: &Key) -> String {
    match key {
        Key::Sensor => "key=sensor".to_owned(),
        Key::All => "key=".to_owned(),
        Key::Fields(fields) => {
            let names: Vec<_> = fields.iter().map(|(name, _)| &**name).collect();
            format!("key=[{}]", names.join("\n"))
        }
    }
}

fn window(window: &Window) -> String {
    match window {
        Window::Tumbling { size_ms, offset_ms } => format!("window=tumbling {size_ms} {offset_ms}"),
    }
}

fn watermark(watermark: &Watermark) -> String {
    let Watermark { scope, delay_ms, lateness_ms, late, idle, max_ahead, forget } = watermark;
    let scope = match scope {
        Scope::Key => "key",
        Scope::Source => "source",
    };
    let late = match late {
        LateRule::Count => "count",
        LateRule::Keep => "keep",
    };
    let millis = |length: &Option<std::time::Duration>| length.map_or(0, |length| length.as_millis());
    let (idle, max_ahead, forget) = (millis(idle), millis(max_ahead), forget.as_millis());
    format!("watermark={scope} {delay_ms} {lateness_ms} {late} {idle} {max_ahead} {forget}")
}
