//! Generations born into a running lane, against a lane that had computed them always, from their `Config` record on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::gateway::{Gateway, NEVER, chunks, copy, eventually, in_system, outputs};
use super::{Given, config, given};
use crate::config::Config;
use crate::engine::EngineSettings;
use crate::engine::offline::Offline;
use crate::engine::plan::{LanePlan, lanes};
use crate::engine::steps::Step;
use crate::journal::{Content, Journal, Record};
use crate::model::{Offset, Output};

const MINUTE_MS: i64 = 60_000;

pub(super) fn settings(partitions: usize) -> EngineSettings {
    EngineSettings { partitions, checkpoint_every: NEVER, idle_saves: 20 }
}

/// One of several texts: windows of so many minutes, and what differs else.
pub(super) fn text(minutes: u32, more: &str) -> Arc<Config> {
    config(&format!(
        r#"
[pipeline.own]
from = ["plant"]
window = {{ kind = "tumbling", size = "{minutes}m" }}
watermark = {{ idle = "3s", lateness = "30m", late = "keep" }}
select = {{ n = "count()", sum = "sum(x)" }}
[pipeline.shared]
from = ["plant"]
where = "x > {minutes} - 60"
window = {{ kind = "tumbling", size = "60m" }}
watermark = {{ scope = "source", delay = "20m" }}
select = {{ n = "count()" }}
[pipeline.zones]
from = ["plant"]
key = ["zone"]
window = {{ kind = "tumbling", size = "{minutes}m" }}
select = {{ n = "count()", last = "max(x)" }}
[pipeline.steady]
from = ["plant"]
window = {{ kind = "tumbling", size = "60m" }}
select = {{ n = "count()" }}
{more}
"#
    ))
}

/// The text of a configuration of [`config`] without its sources.
pub(super) fn own_text(config: &Config) -> String {
    config.text[config.text.find("[pipeline").unwrap()..].to_owned()
}

/// What is sent as number `n`: sensors take turns, time goes on by minutes, now and then one is late.
fn reading(n: i64) -> Given {
    let sensor = ["a", "b", "c", "d"][(n * 7 % 4) as usize];
    let late = if n % 5 == 0 { 50 } else { n % 3 * 8 };
    given(sensor, (n * 6 - late) * MINUTE_MS, (n % 17) as f64)
}

/// Sends the readings from `from` to `to`, three a message, with a tick now and then.
pub(super) async fn flow(gateway: &Gateway, from: i64, to: i64) {
    for n in (from..to).step_by(3) {
        let readings: Vec<_> = (n..to.min(n + 3)).map(reading).collect();
        gateway.send(&readings).await;
        if n % 4 == 0 {
            gateway.tick(n as u64).await;
        }
    }
}

/// An output in full, with its cause: to be compared as a set, since a birth comes after its lane.
fn shown(cause: Offset, output: &Output) -> (u64, String) {
    (cause.0, serde_json::to_string(output).unwrap())
}

/// What every lane would put out if each text had always been in force, while it was.
async fn wanted(journal: &Journal, texts: &[Arc<Config>]) -> Vec<(u64, String)> {
    let all = chunks(&journal.readings).await;
    let in_force = |chunk: &crate::journal::Chunk| match &chunk.content {
        Content::Record(record) => match &**record {
            Record::Config { text, .. } => Some((chunk.base, text.clone())),
            _ => None,
        },
        _ => None,
    };
    let mut changes: Vec<(Offset, Arc<str>)> = all.iter().filter_map(in_force).collect();
    changes.dedup_by(|later, earlier| later.1 == earlier.1);
    let mut rows = Vec::new();
    for (at, (from, text)) in changes.iter().enumerate() {
        let config = texts.iter().find(|config| config.text == *text).expect("one of ours");
        let to = changes.get(at + 1).map_or(Offset(u64::MAX), |(next, _)| *next);
        for lane in lanes(config) {
            let mut offline = Offline::new(LanePlan::new(config, &lane, &journal.id));
            for chunk in &all {
                let effects = match &chunk.content {
                    Content::Readings(batch) => offline.on_batch(batch),
                    Content::Record(record) => match **record {
                        Record::Tick(clock) => offline.on_tick(clock, chunk.base),
                        _ => continue,
                    },
                    _ => continue,
                };
                let of_text = effects.emissions.iter().filter(|emission| {
                    // Whoever is to begin with the past does so under the first text that says so.
                    let is_past = matches!(&emission.output, Output::Result(row) if *row.pipeline == *"past");
                    let from = if is_past && config.text.contains("earliest") { Offset(0) } else { *from };
                    (from..to).contains(&emission.cause)
                });
                rows.extend(of_text.map(|emission| shown(emission.cause, &emission.output)));
            }
        }
    }
    rows.sort();
    rows
}

/// Waits for all rows, ends the gateway and compares them.
pub(super) async fn check(gateway: Gateway, texts: &[Arc<Config>], what: &str) {
    let wanted = wanted(&gateway.journal, texts).await;
    let enough =
        eventually(async || (outputs(&gateway.journal.results).await.len() >= wanted.len()).then_some(()));
    // What is missing is told below.
    let _ = tokio::time::timeout(Duration::from_secs(20), enough).await;
    let results = gateway.journal.results.clone();
    gateway.stop().await;
    let found = outputs(&results).await;
    let mut found: Vec<_> = found.iter().map(|(cause, output)| shown(*cause, output)).collect();
    found.sort();
    let without = |all: &[(u64, String)], other: &[(u64, String)]| {
        all.iter().filter(|row| !other.contains(row)).take(6).cloned().collect::<Vec<_>>()
    };
    let twice: Vec<_> = found.windows(2).filter(|two| two[0] == two[1]).map(|two| &two[0]).collect();
    assert!(
        wanted == found,
        "{what}: {} rows wanted, {} found; twice {twice:#?}\nmissing {:#?}\nnot wanted {:#?}",
        wanted.len(),
        found.len(),
        without(&wanted, &found),
        without(&found, &wanted)
    );
}

/// A gateway under `config`, cut off without a checkpoint after forty readings.
pub(super) fn before(config: &Arc<Config>) -> tempfile::TempDir {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    in_system(async {
        let gateway = Gateway::start(dir.path(), config, settings(2)).await;
        gateway.tick(0).await;
        flow(&gateway, 0, 40).await;
        gateway.drained().await;
        copy(dir.path(), image.path());
    });
    image
}

/// Goes on where `image` stands, under another text, and is cut off once at each of `halts`.
fn story(image: &Path, texts: &[Arc<Config>], halts: &[(Step, usize)], what: usize) {
    let mut image = copied(image);
    let (now, mut next) = (texts.last().unwrap(), 40);
    for (at, halt) in halts.iter().enumerate() {
        let dir = std::mem::replace(&mut image, tempfile::tempdir().unwrap());
        in_system(async {
            let settings = settings([1, 2, 4][(what + at) % 3]);
            let gateway = Gateway::start_halting(dir.path(), now, settings, Some(*halt)).await;
            flow(&gateway, next, next + 21).await;
            gateway.halted().await;
            flow(&gateway, next + 21, next + 24).await;
            next += 24;
            copy(dir.path(), image.path());
        });
    }
    in_system(async {
        let gateway = Gateway::start(image.path(), now, settings([1, 2, 4][(what + 2) % 3])).await;
        flow(&gateway, next, next + 30).await;
        check(gateway, texts, &format!("{halts:?}")).await;
    });
}

pub(super) fn copied(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(from, dir.path());
    dir
}

#[test]
fn windows_open_at_a_change_come_out_whole_wherever_it_crashes() {
    use Step::{Caught, Conceived, Followed, Joined, Merged, Met, Rested, Sown};
    let texts = [text(60, ""), text(90, "")];
    let image = before(&texts[0]);
    let once = [Followed, Sown, Conceived, Rested, Met, Merged, Joined].map(|step| vec![(step, 0)]);
    let early = [0, 1, 9].map(|others| vec![(Caught, others)]);
    // The lane has gone ahead: what the birth puts out until it meets it is its own.
    let behind = [(Caught, 19), (Caught, 22), (Caught, 25), (Rested, 0), (Met, 0), (Merged, 0), (Joined, 0)];
    let behind = behind.map(|second| vec![(Caught, 0), second]);
    for (at, halts) in once.into_iter().chain(early).chain(behind).enumerate() {
        story(image.path(), &texts, &halts, at);
    }
}

#[test]
fn lanes_are_exchanged_while_readings_flow() {
    let other = r#"
[pipeline.other]
from = ["plant"]
lane = "other"
window = { kind = "tumbling", size = "60m" }
select = { n = "count()" }
"#;
    let twin = r#"
[pipeline.twin]
from = ["plant"]
window = { kind = "tumbling", size = "60m" }
select = { n = "count()" }
having = "n > 2"
"#;
    let steady = |text: Arc<Config>| config(&own_text(&text).replace("pipeline.steady", "pipeline.renamed"));
    // Changed, widened, taken back, renamed; two changes come one right after the other.
    let texts = [
        text(60, ""),
        text(90, other),
        text(90, twin),
        text(60, ""),
        text(60, other),
        steady(text(60, &twin.replace("60m", "30m"))),
    ];
    let dir = before(&texts[0]);
    in_system(async {
        let mut gateway = Gateway::start(dir.path(), &texts[0], settings(2)).await;
        for (at, config) in texts.iter().enumerate().skip(1) {
            let next = 40 + 15 * at as i64;
            flow(&gateway, next - 15, next - if at % 2 == 0 { 15 } else { 0 }).await;
            gateway.exchange(config).await;
        }
        flow(&gateway, 120, 180).await;
        eventually(async || (gateway.lanes() == ["main".into()]).then_some(())).await;
        check(gateway, &texts, "exchanged").await;
    });
    // All of it is durable: the same after a restart that does nothing new.
    in_system(async {
        let gateway = Gateway::start(dir.path(), texts.last().unwrap(), settings(1)).await;
        flow(&gateway, 180, 200).await;
        check(gateway, &texts, "started anew").await;
    });
}
