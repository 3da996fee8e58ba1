//! What one lane computes, by key (pure): the configuration arranged for the step.

use std::sync::Arc;

use crate::config::{AlertInput, Config, Key, Scope};
use crate::model::ResultId;

/// The work of one lane.
pub struct LanePlan {
    /// The lane's name.
    pub lane: Arc<str>,
    /// The configuration all indices refer to.
    pub config: Arc<Config>,
    /// Hash of gateway and journal: the beginning of every result id.
    pub origin: ResultId,
    /// One entry per way of grouping readings.
    pub keyings: Vec<Keying>,
    /// Pipelines with one watermark for all keys: indices into [`Config::pipelines`].
    pub source_scoped: Vec<usize>,
}

/// What is computed for every key of one grouping; one sensor actor does all of it for its key.
pub struct Keying {
    /// Names the grouping in the store, whatever else the configuration holds.
    pub id: u64,
    /// What readings are grouped by. Slots are those of the first pipeline's inputs.
    pub key: Key,
    /// The pipelines.
    pub pipelines: Vec<PipelinePlan>,
    /// Alerts on readings (grouping by sensor only).
    pub alerts: Vec<AlertPlan>,
}

/// A pipeline with the alerts on its rows.
pub struct PipelinePlan {
    /// Index into [`Config::pipelines`].
    pub index: usize,
    /// Index into [`LanePlan::source_scoped`], if its watermark is shared by all keys.
    pub source_scoped: Option<usize>,
    /// Beginning of its rows' ids.
    pub origin: ResultId,
    /// Where `having`'s names come from.
    pub outputs: Vec<Column>,
    /// Alerts on its rows.
    pub alerts: Vec<AlertPlan>,
}

/// An alert.
pub struct AlertPlan {
    /// Index into [`Config::alerts`].
    pub index: usize,
    /// On a pipeline's rows: where its names come from. Unused for alerts on readings.
    pub inputs: Vec<Column>,
}

/// Where a name over a pipeline's rows comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The column of this index.
    Value(usize),
    /// The tag of this index.
    Tag(usize),
    /// The key.
    Key,
    /// The window's start, ms.
    Start,
    /// The window's end, ms.
    End,
    /// Nowhere.
    Missing,
}

const SENSOR_KEYING: u64 = 0;
const ALL_KEYING: u64 = 1;

/// Names of all lanes in `config`.
pub fn lanes(config: &Config) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    let pipelines = config.pipelines.iter().map(|pipeline| &pipeline.lane);
    for lane in pipelines.chain(config.alerts.iter().map(|alert| &alert.lane)) {
        if !names.contains(lane) {
            names.push(lane.clone());
        }
    }
    names
}

impl LanePlan {
    /// The work of `lane`.
    pub fn new(config: &Arc<Config>, lane: &Arc<str>, journal_id: &str) -> Self {
        let origin = ResultId::EMPTY.with_text(&config.gateway.id).with_text(journal_id);
        let mut plan = Self {
            lane: lane.clone(),
            config: config.clone(),
            origin,
            keyings: Vec::new(),
            source_scoped: Vec::new(),
        };
        for (index, pipeline) in config.pipelines.iter().enumerate() {
            if pipeline.lane == *lane {
                plan.add_pipeline(index);
            }
        }
        for (index, alert) in config.alerts.iter().enumerate() {
            if alert.lane == *lane && matches!(alert.on, AlertInput::Source(_)) {
                let keying = plan.keying(&Key::Sensor);
                keying.id = SENSOR_KEYING;
                keying.alerts.push(AlertPlan { index, inputs: Vec::new() });
            }
        }
        plan
    }

    fn add_pipeline(&mut self, index: usize) {
        let config = self.config.clone();
        let pipeline = &config.pipelines[index];
        let source_scoped = (pipeline.watermark.scope == Scope::Source).then(|| {
            self.source_scoped.push(index);
            self.source_scoped.len() - 1
        });
        let alerts = config.alerts.iter().enumerate();
        let alerts = alerts.filter(|(_, alert)| alert.on == AlertInput::Pipeline(index));
        let plan = PipelinePlan {
            index,
            source_scoped,
            origin: self.origin.with_text(&pipeline.name).with_number(pipeline.generation),
            outputs: columns(&config, index, pipeline.outputs.iter()),
            alerts: alerts
                .map(|(at, alert)| AlertPlan {
                    index: at,
                    inputs: columns(&config, index, alert.inputs.iter()),
                })
                .collect(),
        };
        let keying = self.keying(&pipeline.key);
        keying.pipelines.push(plan);
        keying.id = match &pipeline.key {
            Key::Sensor => SENSOR_KEYING,
            Key::All => ALL_KEYING,
            Key::Fields(_) => ResultId::EMPTY.with_text(&pipeline.name).short(),
        };
    }

    /// Keys over fields differ between pipelines even with the same names: the slots are their own.
    fn keying(&mut self, key: &Key) -> &mut Keying {
        let same = |keying: &Keying| keying.key == *key && !matches!(key, Key::Fields(_));
        let at = self.keyings.iter().position(same).unwrap_or_else(|| {
            self.keyings.push(Keying { id: 0, key: key.clone(), pipelines: Vec::new(), alerts: Vec::new() });
            self.keyings.len() - 1
        });
        &mut self.keyings[at]
    }
}

fn columns<'a>(config: &Config, pipeline: usize, names: impl Iterator<Item = &'a Arc<str>>) -> Vec<Column> {
    let pipeline = &config.pipelines[pipeline];
    let column = |name: &Arc<str>| {
        let value = pipeline.select.iter().position(|column| column.name == *name).map(Column::Value);
        let tag = || pipeline.tags.iter().position(|(tag, _)| tag == name).map(Column::Tag);
        value.or_else(tag).unwrap_or(match &**name {
            "key" | "sensor" => Column::Key,
            "start" => Column::Start,
            "end" | "time" => Column::End,
            _ => Column::Missing,
        })
    };
    names.map(column).collect()
}
