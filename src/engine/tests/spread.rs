//! Checkpoints that are spread: states ahead of the row, each by its own, and crashes between any two slices and
//! before what they stand for is durable.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::births::{before, check, copied, flow, text};
use super::differential::{self, events, rules};
use super::gateway::{Gateway, copy, in_system};
use super::model::Event;
use super::{Given, batch, config};
use crate::config::Config;
use crate::engine::EngineSettings;
use crate::engine::emission::Emission;
use crate::engine::offline::Offline;
use crate::engine::plan::LanePlan;
use crate::engine::step::SensorState;
use crate::engine::steps::Step;
use crate::engine::wheel::KeyRef;
use crate::model::Offset;

/// Alerts on rows and on readings, by event time and by service time.
const ALERTS: &str = r#"
[alert.many]
on = "p"
when = "n > 2"
for = "20ms"
[alert.high]
on = "plant"
when = "x > 1"
for = "15ms"
[alert.gone]
on = "plant"
absent = "60ms"
"#;

fn lane(config: &Arc<Config>) -> Offline {
    Offline::new(LanePlan::new(config, &Arc::from("main"), "journal"))
}

/// Feeds the events from `from` on; `is_border` says after which readings a batch ends. `after` sees every border.
fn feed(
    lane: &mut Offline,
    (events, from): (&[Event], usize),
    is_border: &[bool],
    mut after: impl FnMut(usize, &Offline),
) -> Vec<Emission> {
    let (mut emissions, mut waiting) = (Vec::new(), Vec::<Given>::new());
    for (offset, event) in events.iter().enumerate().skip(from) {
        let mut end = offset + 1;
        match event {
            Event::Reading(given) => {
                waiting.push(given.clone());
                if !is_border[offset % is_border.len()] && end < events.len() {
                    continue;
                }
            }
            Event::Tick(_) => end = offset,
        }
        let readings = std::mem::take(&mut waiting);
        if !readings.is_empty() {
            emissions.extend(lane.on_batch(&batch((end - readings.len()) as u64, &readings)).emissions);
            after(end, lane);
        }
        if let Event::Tick(clock) = event {
            emissions.extend(lane.on_tick(*clock, Offset(offset as u64)).emissions);
            after(offset + 1, lane);
        }
    }
    emissions
}

/// A lane at a border: its row and its states.
struct Image {
    position: usize,
    row: Offline,
    states: Vec<(KeyRef, SensorState)>,
}

fn image(config: &Arc<Config>, position: usize, now: &Offline) -> Image {
    let states = now.states().map(|(key, state)| (key, state.clone())).collect();
    Image { position, row: lane(config).resumed(now, std::iter::empty()), states }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// The row as of one border, each state as of one of its own at or behind it, all at or before the crash: what
    /// is put out from the crash on is what would have been, wherever batches end the second time.
    #[test]
    fn states_may_be_ahead_of_the_row_each_by_its_own(
        rules in rules(),
        events in events(),
        borders in [proptest::collection::vec(any::<bool>(), 7), proptest::collection::vec(any::<bool>(), 11)],
        (row, crash) in any::<(prop::sample::Index, prop::sample::Index)>(),
        ahead in proptest::collection::vec(any::<prop::sample::Index>(), 5),
    ) {
        let config = config(&format!("{}{ALERTS}", differential::text(rules)));
        let mut images = vec![image(&config, 0, &lane(&config))];
        let mut first = lane(&config);
        let note = |position: usize, now: &Offline| images.push(image(&config, position, now));
        let mut wanted = feed(&mut first, (&events, 0), &borders[0], note);
        let end = Offset(events.len() as u64);
        wanted.extend(first.finish(end).emissions);
        let crash = crash.index(images.len());
        let row = row.index(crash + 1);
        let mut taken = std::collections::BTreeMap::new();
        for (key, _) in &images[crash].states {
            let of_key = key.1.bytes().fold(usize::from(key.0), |sum, byte| sum + usize::from(byte));
            let at = row + ahead[of_key % ahead.len()].index(crash + 1 - row);
            let state = images[at].states.iter().find(|(of, _)| of == key);
            taken.extend(state.map(|(key, state)| (key.clone(), state.clone())));
        }
        let mut second = lane(&config).resumed(&images[row].row, taken.into_iter());
        let mut found = feed(&mut second, (&events, images[row].position), &borders[1], |_, _| {});
        found.extend(second.finish(end).emissions);
        let crash = Offset(images[crash].position as u64);
        wanted.retain(|emission| emission.cause >= crash);
        found.retain(|emission| emission.cause >= crash);
        prop_assert_eq!(found, wanted);
    }
}

fn settings(partitions: usize) -> EngineSettings {
    EngineSettings { partitions, checkpoint_every: Duration::from_millis(2), idle_saves: 2 }
}

/// Silence, and rows of a pipeline that no text changes, by every kind of clock.
const MORE: &str = r#"
[alert.gone]
on = "plant"
absent = "9s"
[alert.many]
on = "steady"
when = "n > 2"
for = "90m"
"#;

/// How often readings flow until a lane has come to a step.
const FLOWS_MAX: usize = 20;

/// Goes on where `image` stands and is cut off at each of `halts`, once in the middle of everything.
fn story(image: &Path, texts: &[Arc<Config>], halts: &[(Step, usize)], partitions: usize) {
    let (mut image, mut next) = (copied(image), 40);
    let now = texts.last().unwrap();
    for halt in halts {
        let dir = std::mem::replace(&mut image, tempfile::tempdir().unwrap());
        in_system(async {
            let gateway = Gateway::start_halting(dir.path(), now, settings(partitions), Some(*halt)).await;
            // A birth that has joined does not come to its steps any more.
            for _ in 0..FLOWS_MAX {
                if super::halts::is_armed(&gateway.journal.id) {
                    flow(&gateway, next, next + 7).await;
                    next += 7;
                }
            }
            flow(&gateway, next, next + 5).await;
            next += 5;
            copy(dir.path(), image.path());
        });
    }
    in_system(async {
        let gateway = Gateway::start(image.path(), now, settings(3 - partitions)).await;
        flow(&gateway, next, next + 40).await;
        check(gateway, texts, &format!("{halts:?} on {partitions}")).await;
    });
}

#[test]
fn a_crash_between_any_two_slices_changes_nothing() {
    use Step::{Checkpointed, PutOut, Queued, Sliced};
    let texts = [text(60, MORE)];
    let image = before(&texts[0]);
    let halts = [
        vec![(Queued, 0)],
        vec![(Sliced, 0)],
        vec![(PutOut, 0), (PutOut, 3)],
        vec![(PutOut, 8), (Sliced, 2)],
        vec![(Sliced, 1), (Sliced, 2)],
        vec![(Sliced, 6), (Queued, 2)],
        vec![(Checkpointed, 0), (Sliced, 0), (Sliced, 0)],
        vec![(Checkpointed, 2), (Queued, 1), (Checkpointed, 1)],
    ];
    for halts in &halts {
        for partitions in [1, 2] {
            story(image.path(), &texts, halts, partitions);
        }
    }
}

/// The same while a generation is born beside the lane and joins it: rounds of both are given up and begin again.
#[test]
fn a_crash_between_slices_while_a_birth_goes_on_changes_nothing() {
    use Step::{Caught, Checkpointed, Joined, Merged, Met, Queued, Rested, Sliced};
    let texts = [text(60, MORE), text(90, MORE)];
    let image = before(&texts[0]);
    let halts = [
        vec![(Sliced, 0), (Caught, 3)],
        vec![(Caught, 1), (Sliced, 1)],
        vec![(Sliced, 2), (Rested, 0), (Queued, 0)],
        vec![(Checkpointed, 1), (Met, 0)],
        vec![(Merged, 0), (Sliced, 0)],
        vec![(Joined, 0), (Checkpointed, 0)],
    ];
    for (at, halts) in halts.into_iter().enumerate() {
        story(image.path(), &texts, &halts, 1 + at % 2);
    }
}
