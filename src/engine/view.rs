//! How expressions see readings (pure): names bound to places once per batch and shape, not once per row.

use crate::config::{AlertInput, Config};
use crate::engine::plan::{AlertPlan, LanePlan, PipelinePlan};
use crate::expr::{Names, Scope};
use crate::model::batch::Shape;
use crate::model::dictionary::StringId;
use crate::model::{Batch, Cell, Reading};

/// Where a name's value stands in a row of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The field at this place of the shape.
    Field(usize),
    /// The tag with this name, if the row has it.
    Tag(StringId),
    /// The sensor's name.
    Sensor,
    /// The source's name.
    Source,
    /// Event time, ms since the epoch.
    Time,
    /// Nowhere in the batch.
    Missing,
}

/// One reading through the bindings of its shape.
pub struct Row<'a> {
    /// The reading.
    pub reading: Reading<'a>,
    /// Bindings by slot.
    pub bindings: &'a [Binding],
}

impl Scope for Row<'_> {
    fn get(&self, slot: usize) -> Cell<'_> {
        match self.bindings[slot] {
            Binding::Field(place) => self.reading.slot(place),
            Binding::Tag(name) => self.reading.tag_by_id(name),
            Binding::Sensor => Cell::Text(self.reading.sensor()),
            Binding::Source => Cell::Text(self.reading.source()),
            Binding::Time => Cell::Number(self.reading.time().nanos() as f64 / 1e6),
            Binding::Missing => Cell::Null,
        }
    }
}

/// Bindings of one user of readings, per shape of the batch; `None` where it does not read the shape's source.
pub type PerShape = Vec<Option<Box<[Binding]>>>;

/// All bindings of a batch.
pub struct Views {
    /// Per pipeline of the configuration; empty for those that are not in the plan.
    pub pipelines: Vec<PerShape>,
    /// Per alert of the configuration; empty for alerts on pipelines and those that are not in the plan.
    pub alerts: Vec<PerShape>,
}

impl Views {
    /// Binds the names of everything in `plan` that reads readings.
    pub fn new(plan: &LanePlan, batch: &Batch) -> Self {
        let Config { pipelines, alerts, sources, .. } = &*plan.config;
        let none = |count: usize| std::iter::repeat_with(PerShape::new).take(count).collect();
        let mut views = Self { pipelines: none(pipelines.len()), alerts: none(alerts.len()) };
        for keying in &plan.keyings {
            for PipelinePlan { index, .. } in &keying.pipelines {
                let pipeline = &pipelines[*index];
                let reads = |source: &str| pipeline.from.iter().any(|from| **from == *source);
                views.pipelines[*index] = per_shape(batch, &pipeline.inputs, reads);
            }
            for AlertPlan { index, .. } in &keying.alerts {
                let AlertInput::Source(source) = alerts[*index].on else { continue };
                let reads = |name: &str| *sources[source].name == *name;
                views.alerts[*index] = per_shape(batch, &alerts[*index].inputs, reads);
            }
        }
        views
    }
}

fn per_shape(batch: &Batch, names: &Names, reads: impl Fn(&str) -> bool) -> PerShape {
    let bind = |shape: &Shape| {
        reads(batch.dictionary().get(shape.source))
            .then(|| names.iter().map(|name| binding(batch, shape, name)).collect())
    };
    batch.shapes().iter().map(bind).collect()
}

/// Fields hide the names that every reading has; those hide tags.
fn binding(batch: &Batch, shape: &Shape, name: &str) -> Binding {
    let id = batch.dictionary().find(name);
    let field = id.and_then(|id| shape.fields.iter().position(|field| *field == id));
    match (field, name, id) {
        (Some(place), ..) => Binding::Field(place),
        (None, "sensor", _) => Binding::Sensor,
        (None, "source", _) => Binding::Source,
        (None, "time", _) => Binding::Time,
        (None, _, Some(id)) => Binding::Tag(id),
        (None, _, None) => Binding::Missing,
    }
}
