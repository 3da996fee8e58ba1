//! From a firing to rows: `having`, the result row, the alerts that judge it (pure).

use std::sync::Arc;

use super::Place;
use crate::alert;
use crate::config::Pipeline;
use crate::engine::emission::{Effects, Emission};
use crate::engine::plan::{Column, PipelinePlan};
use crate::engine::view;
use crate::expr::Scope;
use crate::model::output::Values;
use crate::model::{AlertRow, Cell, Offset, Output, ResultRow, Timestamp, Value};
use crate::window::Firing;

/// A pipeline's row through the columns that names refer to.
struct RowScope<'a> {
    firing: &'a Firing,
    key: &'a str,
    columns: &'a [Column],
}

impl Scope for RowScope<'_> {
    fn get(&self, slot: usize) -> Cell<'_> {
        match self.columns[slot] {
            Column::Value(at) => self.firing.columns[at].cell(),
            Column::Tag(at) => self.firing.tags[at].cell(),
            Column::Key => Cell::Text(self.key),
            Column::Start => Cell::Number(self.firing.start_ms as f64),
            Column::End => Cell::Number(self.firing.end_ms as f64),
            Column::Missing => Cell::Null,
        }
    }
}

/// Emits a firing's row if `having` lets it, and has the pipeline's alerts judge it.
pub(super) fn firing(
    place: &Place<'_>,
    plan: &PipelinePlan,
    alerts: &mut [alert::State],
    firing: &Firing,
    cause: Offset,
    effects: &mut Effects,
) {
    let config = &*place.plan.config;
    let pipeline = &config.pipelines[plan.index];
    let scope = RowScope { firing, key: place.key, columns: &plan.outputs };
    let is_out = pipeline.having.as_ref().map_or(Ok(true), |having| having.test(&scope));
    let is_out = is_out.unwrap_or_else(|failure| {
        effects.failed(|| format!("pipeline.{}.having", pipeline.name), failure);
        false
    });
    if is_out {
        effects.emissions.push(result(place, plan, pipeline, firing, cause));
    }
    for (alert, state) in plan.alerts.iter().zip(alerts) {
        let scope = RowScope { firing, key: place.key, columns: &alert.inputs };
        let row = alert::Row {
            scope: &scope,
            time: Timestamp::from_millis(firing.end_ms),
            cause,
            offsets: firing.offsets,
            values: &|| columns(pipeline, firing),
            tags: &|| tags(pipeline, firing),
        };
        judge(place, alert.index, state, &row, effects);
    }
}

/// Has an alert on readings judge one.
pub(super) fn alert_on_reading(
    place: &Place<'_>,
    index: usize,
    state: &mut alert::State,
    row: &view::Row<'_>,
    effects: &mut Effects,
) {
    let reading = row.reading;
    let owned = |(name, value): (&str, Cell<'_>)| (Arc::from(name), value.to_value());
    let row = alert::Row {
        scope: row,
        time: reading.time(),
        cause: reading.offset(),
        offsets: [reading.offset(); 2],
        values: &|| reading.fields().map(owned).collect(),
        tags: &|| reading.tags().map(owned).collect(),
    };
    judge(place, index, state, &row, effects);
}

fn judge(
    place: &Place<'_>,
    index: usize,
    state: &mut alert::State,
    row: &alert::Row<'_>,
    effects: &mut Effects,
) {
    let alert = &place.plan.config.alerts[index];
    match state.on_row(alert, place.key, row, place.service_ns) {
        Ok(made) => change(place, index, row.cause, made, effects),
        Err(failure) => effects.failed(|| format!("alert.{}", alert.name), failure),
    }
}

/// Emits an alert's change, if there is one.
pub(super) fn change(
    place: &Place<'_>,
    index: usize,
    cause: Offset,
    change: Option<AlertRow>,
    effects: &mut Effects,
) {
    let Some(row) = change else { return };
    let rank = (place.plan.config.pipelines.len() + index) as u32;
    let (key, start_ms) = (row.key.clone(), row.time.floor_millis());
    effects.emissions.push(Emission { cause, rank, key, start_ms, revision: 0, output: Output::Alert(row) });
}

fn result(
    place: &Place<'_>,
    plan: &PipelinePlan,
    pipeline: &Pipeline,
    firing: &Firing,
    cause: Offset,
) -> Emission {
    let id = plan
        .origin
        .with_text(place.key)
        .with_number(firing.start_ms as u64)
        .with_number(firing.end_ms as u64)
        .with_number(0)
        .with_number(u64::from(firing.revision));
    let row = ResultRow {
        id,
        pipeline: pipeline.name.clone(),
        key: place.key.clone(),
        start: Timestamp::from_millis(firing.start_ms),
        end: Timestamp::from_millis(firing.end_ms),
        revision: firing.revision,
        sequence: None,
        partial: firing.start_ms < plan.partial_before_ms,
        tags: tags(pipeline, firing),
        values: columns(pipeline, firing),
    };
    let (rank, key) = (plan.index as u32, place.key.clone());
    let (start_ms, revision) = (firing.start_ms, firing.revision);
    Emission { cause, rank, key, start_ms, revision, output: Output::Result(row) }
}

fn columns(pipeline: &Pipeline, firing: &Firing) -> Values {
    named(pipeline.select.iter().map(|column| &column.name), &firing.columns)
}

fn tags(pipeline: &Pipeline, firing: &Firing) -> Values {
    let known = firing.tags.iter().any(|tag| *tag != Value::Null);
    let mut tags = named(pipeline.tags.iter().map(|(name, _)| name), &firing.tags);
    if known {
        tags.retain(|_, value| *value != Value::Null);
    }
    tags
}

fn named<'a>(names: impl Iterator<Item = &'a Arc<str>>, values: &[Value]) -> Values {
    names.cloned().zip(values.iter().cloned()).collect()
}
