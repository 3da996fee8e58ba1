//! All lanes of a configuration in one thread, or some of its pipelines: what a replay runs instead of actors.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::Failure;
use crate::config::{AlertInput, Condition, Config};
use crate::engine::emission::Effects;
use crate::engine::generations;
use crate::engine::offline::Offline;
use crate::engine::plan::{self, LanePlan};
use crate::engine::span::span_ms;
use crate::journal::{Chunk, Clock, Content, Record};
use crate::model::Offset;

/// The pipelines that are run: indices into [`Config::pipelines`]; `None`: all, and alerts on readings too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection(Option<Vec<usize>>);

impl Selection {
    /// The pipelines of `config` with these names; all if there are none.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a name that the configuration does not have.
    pub fn of(config: &Config, names: &[String]) -> Result<Self, Failure> {
        if names.is_empty() {
            return Ok(Self(None));
        }
        let find = |name: &String| {
            let at = config.pipelines.iter().position(|pipeline| *pipeline.name == **name);
            at.ok_or_else(|| {
                let known: Vec<&str> = config.pipelines.iter().map(|pipeline| &*pipeline.name).collect();
                Failure::Usage(format!("unknown pipeline {name:?} (known: {})", known.join(", ")))
            })
        };
        names.iter().map(find).collect::<Result<_, _>>().map(|indices| Self(Some(indices)))
    }

    /// As [`Self::of`], but names that `config` does not have are left out: the other side of a comparison may.
    pub fn known(config: &Config, names: &[String]) -> Self {
        if names.is_empty() {
            return Self(None);
        }
        let is_named = |at: &usize| names.iter().any(|name| **name == *config.pipelines[*at].name);
        Self(Some((0..config.pipelines.len()).filter(is_named).collect()))
    }

    /// Whether the pipeline at `index` is run.
    pub fn has(&self, index: usize) -> bool {
        self.0.as_ref().is_none_or(|indices| indices.contains(&index))
    }

    /// What is selected of `lane`, as if it had always been so.
    fn plan(&self, config: &Arc<Config>, lane: &Arc<str>, journal_id: &str) -> LanePlan {
        let has = |name: &Arc<str>| {
            let index = config.pipelines.iter().position(|pipeline| pipeline.name == *name);
            index.is_some_and(|index| self.has(index))
        };
        let mut members = generations::all(config, lane, Offset(0));
        members.retain(|member| has(&member.pipeline));
        let mut plan = LanePlan::of(config, lane, journal_id, &members);
        if self.0.is_some() {
            plan.keyings.iter_mut().for_each(|keying| keying.alerts.clear());
            plan.keyings.retain(|keying| !keying.pipelines.is_empty());
        }
        plan
    }

    /// How far before a place the readings may lie that results behind it depend on, by arrival: a window with its
    /// delay and lateness, and what its alerts wait for.
    pub fn span(&self, config: &Config) -> Duration {
        let pipelines = config.pipelines.iter().enumerate().filter(|(index, _)| self.has(*index));
        let of_pipeline = |(index, pipeline): (usize, &crate::config::Pipeline)| {
            let alerts = config.alerts.iter().filter(|alert| alert.on == AlertInput::Pipeline(index));
            millis(span_ms(pipeline)) + alerts.map(of_alert).max().unwrap_or_default()
        };
        let on_readings = config
            .alerts
            .iter()
            .filter(|alert| self.0.is_none() && matches!(alert.on, AlertInput::Source(_)));
        pipelines.map(of_pipeline).chain(on_readings.map(of_alert)).max().unwrap_or_default()
    }
}

fn of_alert(alert: &crate::config::Alert) -> Duration {
    let silent = if let Condition::Absent(length) = alert.condition { length } else { Duration::ZERO };
    millis(alert.hold_ms).max(alert.resolve_after.unwrap_or_default()).max(silent)
}

fn millis(length: i64) -> Duration {
    Duration::from_millis(u64::try_from(length).unwrap_or_default())
}

/// Lanes on their way through the past.
pub struct Machine {
    /// What they compute.
    pub config: Arc<Config>,
    lanes: Vec<Offline>,
}

impl Machine {
    /// The lanes of `config`, as far as they run what is `selected`, before any record.
    pub fn new(config: &Arc<Config>, selected: &Selection, journal_id: &str) -> Self {
        let lane = |name: &Arc<str>| {
            let plan = selected.plan(config, name, journal_id);
            (!plan.keyings.is_empty()).then(|| Offline::new(plan))
        };
        Self { config: config.clone(), lanes: plan::lanes(config).iter().filter_map(lane).collect() }
    }

    /// The same lanes with the clock at `clock`.
    pub fn at(mut self, clock: Clock) -> Self {
        self.lanes = self.lanes.into_iter().map(|lane| lane.at(clock)).collect();
        self
    }

    /// Skips from now on the readings that `record` sets aside.
    pub fn set_aside(&mut self, record: &Record) {
        self.lanes.iter_mut().for_each(|lane| lane.set_aside(record));
    }

    /// Keys with a state.
    pub fn key_count(&self) -> usize {
        self.lanes.iter().map(Offline::key_count).sum()
    }

    /// Applies a chunk of the journal; the effects are sorted.
    pub fn on_chunk(&mut self, chunk: &Chunk) -> Effects {
        match &chunk.content {
            Content::Readings(batch) => self.each(|lane| lane.on_batch(batch)),
            Content::Record(record) => match &**record {
                Record::Tick(clock) => self.each(|lane| lane.on_tick(*clock, chunk.base)),
                _ => Effects::default(),
            },
            Content::Outputs(_) | Content::DeadLetters(_) => Effects::default(),
        }
    }

    /// The range ends at `end`: everything open fires.
    pub fn finish(&mut self, end: Offset) -> Effects {
        self.each(|lane| lane.finish(end))
    }

    fn each(&mut self, step: impl FnMut(&mut Offline) -> Effects) -> Effects {
        let mut made = self.lanes.iter_mut().map(step);
        let mut all = made.next().unwrap_or_default();
        let mut is_sorted = true;
        for more in made {
            all.merge(more);
            is_sorted = false;
        }
        if !is_sorted {
            all.sort();
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::batch::NewReading;
    use crate::model::{BatchBuilder, Cell, Identity, Output, Timestamp};

    const CONFIG: &str = r#"
        [source.s]
        topic = "s/{id}"
        [source.t]
        topic = "t/{id}"
        [pipeline.short]
        from = ["s"]
        window = { kind = "tumbling", size = "10s" }
        watermark = { delay = "2s", lateness = "3s" }
        select = { n = "count()" }
        [pipeline.long]
        from = ["s"]
        lane = "reports"
        window = { kind = "tumbling", size = "1m" }
        select = { n = "count()" }
        [alert.many]
        on = "short"
        when = "n > 5"
        for = "20s"
        [alert.silent]
        on = "t"
        absent = "5m"
    "#;

    fn config() -> Arc<Config> {
        Arc::new(crate::config::from_text("c", CONFIG, Path::new(".")).unwrap().0)
    }

    fn selection(names: &[&str]) -> Selection {
        Selection::of(&config(), &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_span_covers_what_is_selected() {
        for (names, seconds) in
            [(&["short"] as &[&str], 35), (&["long"], 60), (&["short", "long"], 60), (&[], 300)]
        {
            assert_eq!(selection(names).span(&config()), Duration::from_secs(seconds), "{names:?}");
        }
    }

    /// Two readings a second of two sensors.
    fn chunk(seconds: i64) -> Chunk {
        let mut builder = BatchBuilder::default();
        for number in 0..seconds * 2 {
            let time = Timestamp::from_millis(number / 2 * 1000);
            let sensor = if number % 2 == 0 { "a" } else { "b" };
            let fields = [("v", Cell::Number(1.0))];
            builder.push(NewReading {
                source: "s",
                sensor,
                time,
                received: time,
                flags: 0,
                fields: &fields,
                tags: &[],
            });
            builder.end_message(Identity::None);
        }
        let batch = builder.finish();
        let (base, count, received) = (batch.base, batch.len() as u32, Timestamp::default());
        Chunk { base, count, received, content: Content::Readings(Arc::new(batch)) }
    }

    fn counts(machine: &mut Machine) -> Vec<(String, f64)> {
        let mut effects = machine.on_chunk(&chunk(13));
        effects.merge(machine.finish(Offset(26)));
        let rows = effects.emissions.into_iter().filter_map(|emission| match emission.output {
            Output::Result(row) if row.start == Timestamp::default() => {
                let Some(crate::model::Value::Number(n)) = row.values.get("n") else { return None };
                Some((format!("{} {}", row.pipeline, row.key), *n))
            }
            _ => None,
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    #[test]
    fn only_what_is_selected_runs_and_quarantined_readings_do_not_count() {
        let named =
            |rows: &[(&str, f64)]| rows.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
        let mut machine = Machine::new(&config(), &selection(&["short"]), "j");
        assert_eq!(counts(&mut machine), named(&[("short a", 10.0), ("short b", 10.0)]));
        let mut machine = Machine::new(&config(), &selection(&[]), "j");
        let (lane, key) = ("main".into(), "a".into());
        let quarantine = Record::Quarantine { lane, grouping: 0, key, from: Offset(4), to: Offset(10) };
        machine.set_aside(&quarantine);
        let wanted = [("long a", 13.0), ("long b", 13.0), ("short a", 7.0), ("short b", 10.0)];
        assert_eq!(counts(&mut machine), named(&wanted));
    }
}
