//! Lanes as a whole: against a model written plainly, and as actors over a real journal and store.

mod actors;
mod births;
mod changes;
mod differential;
mod gateway;
pub mod halts;
mod lost;
mod model;
mod panics;
mod spread;

use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, from_text};
use crate::model::batch::NewReading;
use crate::model::{Batch, BatchBuilder, Cell, Identity, Offset, Output, Timestamp};

/// The configuration of `text`, with sources `plant` and `yard` that take any field.
fn config(text: &str) -> Arc<Config> {
    let source = |name: &str| format!("[source.{name}]\ntopic = \"{name}/{{sensor}}\"\n");
    let text = format!("{}{}{text}", source("plant"), source("yard"));
    let (config, _) =
        from_text("f.toml", &text, Path::new(".")).unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(config)
}

/// One reading.
#[derive(Clone, Debug)]
struct Given {
    source: &'static str,
    sensor: &'static str,
    time: Timestamp,
    x: Option<f64>,
    /// Whether it makes its sensor panic.
    panics: bool,
}

fn given(sensor: &'static str, time_ms: i64, x: f64) -> Given {
    Given { source: "plant", sensor, time: Timestamp::from_millis(time_ms), x: Some(x), panics: false }
}

fn poison(sensor: &'static str, time_ms: i64) -> Given {
    Given { panics: true, ..given(sensor, time_ms, 0.0) }
}

fn batch(base: u64, readings: &[Given]) -> Batch {
    let mut batch = arrived(crate::telemetry::clock::now(), readings);
    batch.base = Offset(base);
    batch
}

/// The readings as one message that arrived at `received`.
fn arrived(received: Timestamp, readings: &[Given]) -> Batch {
    let mut builder = BatchBuilder::default();
    for given in readings {
        let x = given.x.map_or(Cell::Null, Cell::Number);
        let fields = [("x", x), ("zone", Cell::Text(zone(given.sensor))), ("panic", Cell::Bool(true))];
        builder.push(NewReading {
            source: given.source,
            sensor: given.sensor,
            time: given.time,
            received,
            flags: 0,
            fields: if given.panics { &fields } else { &fields[..2] },
            tags: &[],
        });
        builder.end_message(Identity::None);
    }
    builder.finish()
}

/// Several sensors share a zone.
fn zone(sensor: &str) -> &'static str {
    if sensor < "c" { "north" } else { "south" }
}

/// An output in one line.
fn line(cause: Offset, output: &Output) -> String {
    let values = |values: &crate::model::output::Values| serde_json::to_string(values).unwrap();
    match output {
        Output::Result(row) => format!(
            "{cause}: {} {} [{}, {})#{} {}",
            row.pipeline,
            row.key,
            row.start,
            row.end,
            row.revision,
            values(&row.values)
        ),
        Output::Late(row) => format!("{cause}: late {} {} {}", row.pipeline, row.key, row.time),
        Output::Alert(row) => {
            let reason = row.reason.as_deref().unwrap_or_default();
            let line = format!("{cause}: {} {} {} {reason}", row.alert, row.key, row.state.as_str());
            line.trim_end().to_owned()
        }
    }
}
