//! What one lane computes, by key (pure): the configuration arranged for the step.

use std::sync::Arc;

use crate::config::{Alert, AlertInput, Config, Key, Scope};
use crate::engine::generations::{self, BirthId, Member, SENSOR_GROUPING};
use crate::model::{Offset, ResultId};

/// Between a lane's name and what is born into it; no name holds it.
const BIRTH_MARK: char = '+';

/// The work of one lane, or of a birth into it.
pub struct LanePlan {
    /// The lane's name.
    pub lane: Arc<str>,
    /// Names its states and cursors in store and journal: the lane's name, or a birth's.
    pub cursor: Arc<str>,
    /// Alerts on readings judge none below it.
    pub since: Offset,
    /// The configuration all indices refer to.
    pub config: Arc<Config>,
    /// Hash of gateway and journal: the beginning of every result id.
    pub origin: ResultId,
    /// One entry per way of grouping readings.
    pub keyings: Vec<Keying>,
    /// Pipelines with one watermark for all keys: indices into [`Config::pipelines`].
    pub source_scoped: Vec<usize>,
    /// Identities of the lane's alerts whose pipelines are not in the plan: their states are kept for them.
    pub waiting: Vec<u64>,
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
    /// Outputs caused below it are neither emitted nor judged by alerts.
    pub born_at: Offset,
    /// Rows of windows that begin before it, in ms of event time, are partial.
    pub partial_before_ms: i64,
    /// A state saved below it is of an earlier life of the generation: not its own.
    pub joined_at: Offset,
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

/// The name of states and cursors of a birth into `lane`.
pub fn birth_cursor(lane: &str, id: BirthId) -> Arc<str> {
    format!("{}{}-{}", birth_prefix(lane), id.unborn_since, id.decided_at).into()
}

/// What the names of all births into `lane` begin with.
pub fn birth_prefix(lane: &str) -> String {
    format!("{lane}{BIRTH_MARK}birth-")
}

/// The name of the lane that a cursor's name belongs to, and whether it is that of a birth into it.
pub fn lane_of(cursor: &str) -> (&str, bool) {
    cursor.split_once(BIRTH_MARK).map_or((cursor, false), |(lane, _)| (lane, true))
}

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
    /// All work of `lane`, as if it had always been so.
    pub fn new(config: &Arc<Config>, lane: &Arc<str>, journal_id: &str) -> Self {
        Self::of(config, lane, journal_id, &generations::all(config, lane, Offset(0)))
    }

    /// The work of the lane or birth called `cursor`: the pipelines of `members`, which are of `config`, and
    /// unless it is a birth the alerts on readings.
    pub fn of(config: &Arc<Config>, cursor: &Arc<str>, journal_id: &str, members: &[Member]) -> Self {
        let (lane, is_birth) = lane_of(cursor);
        let mut plan = Self {
            lane: lane.into(),
            cursor: cursor.clone(),
            since: Offset(0),
            config: config.clone(),
            origin: ResultId::EMPTY.with_text(&config.gateway.id).with_text(journal_id),
            keyings: Vec::new(),
            source_scoped: Vec::new(),
            waiting: Vec::new(),
        };
        for (index, pipeline) in config.pipelines.iter().enumerate().filter(|(_, p)| *p.lane == *lane) {
            match members.iter().find(|member| member.pipeline == pipeline.name) {
                Some(member) => plan.add_pipeline(index, member),
                None => plan.waiting.extend(alerts_on(config, index).map(|at| identity(config, at))),
            }
        }
        let on_readings = |alert: &Alert| *alert.lane == *lane && matches!(alert.on, AlertInput::Source(_));
        for (index, _) in
            config.alerts.iter().enumerate().filter(|(_, alert)| !is_birth && on_readings(alert))
        {
            let keying = plan.keying(&Key::Sensor);
            keying.id = SENSOR_GROUPING;
            keying.alerts.push(AlertPlan { index, inputs: Vec::new() });
        }
        plan
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.keyings.is_empty()
    }

    fn add_pipeline(&mut self, index: usize, member: &Member) {
        let config = self.config.clone();
        let pipeline = &config.pipelines[index];
        let source_scoped = (pipeline.watermark.scope == Scope::Source).then(|| {
            self.source_scoped.push(index);
            self.source_scoped.len() - 1
        });
        let alert = |at: usize| AlertPlan {
            index: at,
            inputs: columns(&config, index, config.alerts[at].inputs.iter()),
        };
        let plan = PipelinePlan {
            index,
            source_scoped,
            origin: self.origin.with_text(&pipeline.name).with_number(pipeline.generation),
            born_at: member.born_at,
            partial_before_ms: member.partial_before_ms,
            joined_at: member.joined_at.unwrap_or_default(),
            outputs: columns(&config, index, pipeline.outputs.iter()),
            alerts: alerts_on(&config, index).map(alert).collect(),
        };
        let keying = self.keying(&pipeline.key);
        keying.pipelines.push(plan);
        keying.id = member.grouping;
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

/// Alerts on the rows of a pipeline, as indices.
fn alerts_on(config: &Config, pipeline: usize) -> impl Iterator<Item = usize> + '_ {
    let alerts = config.alerts.iter().enumerate();
    alerts.filter(move |(_, alert)| alert.on == AlertInput::Pipeline(pipeline)).map(|(at, _)| at)
}

/// What the alert at `index` keeps its state by: its name and what it reads; thresholds may change.
pub fn identity(config: &Config, index: usize) -> u64 {
    let alert = &config.alerts[index];
    let input = match alert.on {
        AlertInput::Pipeline(index) => &config.pipelines[index].name,
        AlertInput::Source(index) => &config.sources[index].name,
    };
    ResultId::EMPTY.with_text(&alert.name).with_text(input).short()
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
