//! The engine over a real journal and store, killed wherever it stands: each row once, and the same ones.
//!
//! A process of its own feeds a fixed stream of records and runs the lanes; it is killed after a random number
//! of bursts and started again until the stream is at its end. What `results` holds then must be what the same
//! journal gives in one go, without actors, kills and checkpoints.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use forebay::config::{Config, from_text};
use forebay::engine::offline::Offline;
use forebay::engine::plan::{LanePlan, lanes};
use forebay::engine::{Engine, EngineSettings};
use forebay::journal::{self, Clock, Content, Journal, Record, Stream, Work};
use forebay::model::batch::NewReading;
use forebay::model::{BatchBuilder, Cell, Identity, Offset, Output, StreamName, Timestamp};
use forebay::store::{Manifest, Store};
use forebay::telemetry::Metrics;

const CONFIG: &str = r#"
[source.plant]
topic = "plant/{sensor}"
[source.yard]
topic = "yard/{sensor}"
[pipeline.own]
from = ["plant", "yard"]
start = "earliest"
window = { kind = "tumbling", size = "50ms" }
watermark = { delay = "10ms", lateness = "40ms", idle = "4s", late = "keep" }
select = { n = "count()", sum = "sum(x)", sd = "stddev_pop(x)" }
having = "n > 1"
[pipeline.shared]
from = ["plant", "yard"]
window = { kind = "tumbling", size = "40ms", offset = "5ms" }
watermark = { scope = "source", delay = "15ms", late = "keep" }
tags = ["zone"]
select = { n = "count()", top = "max(x)" }
[pipeline.zones]
from = ["yard"]
key = ["zone"]
lane = "reports"
start = "earliest"
window = { kind = "tumbling", size = "70ms" }
watermark = { scope = "source" }
select = { n = "count()", mean = "avg(x)" }
[alert.high]
on = "own"
when = "sum > 60"
clear = "sum < 40"
for = "50ms"
resolve_after = "6s"
repeat = "3s"
severity = "sum > 90 ? 'critical' : 'warning'"
[alert.gone]
on = "plant"
absent = "5s"
"#;

/// The directory and the number of partitions of the process that gets killed.
const PROCESS: &str = "FOREBAY_TEST_ENGINE";
/// Records of the stream.
const RECORDS: u64 = 3_000;
/// Readings appended at once.
const BURST_MAX: u64 = 16;
/// Of the journal's segments: so small that there are many.
const SEGMENT_BYTES: u64 = 4096;
/// Most bursts from a start to the kill.
const BURSTS_MAX: u64 = 70;
/// One record in so many is a tick.
const TICK_EVERY: u64 = 23;
const SENSORS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

fn config() -> Arc<Config> {
    let (config, _) =
        from_text("f.toml", CONFIG, Path::new(".")).unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(config)
}

/// A number that `n` alone decides (SplitMix64).
fn scramble(n: u64) -> u64 {
    let mixed = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 17
}

/// Record `n` of the stream, as a reading. Each sensor falls silent for a quarter of the time.
fn push(builder: &mut BatchBuilder, n: u64) {
    let dice = scramble(n);
    let awake = SENSORS.len() - SENSORS.len() / 4;
    let sensor = (dice as usize % awake + (n / 500) as usize) % SENSORS.len();
    let time =
        Timestamp::from_nanos((n as i64 * 3 - 60 + (dice >> 8) as i64 % 60) * 1_000_000 - 5_000_000_123);
    let x = if dice.is_multiple_of(11) { Cell::Null } else { Cell::Number((dice >> 16) as f64 % 10.0) };
    builder.push(NewReading {
        source: if sensor.is_multiple_of(2) { "plant" } else { "yard" },
        sensor: SENSORS[sensor],
        time,
        received: time,
        flags: 0,
        fields: &[("x", x), ("zone", Cell::Text(if sensor < 3 { "north" } else { "south" }))],
        tags: &[],
    });
    builder.end_message(Identity::None);
}

fn is_tick(n: u64) -> bool {
    n % TICK_EVERY == TICK_EVERY - 1
}

fn tick(n: u64) -> Work {
    let wall = Timestamp::from_millis(n as i64 * 3);
    Work::Record(Record::Tick(Clock { wall, service_ns: (n / TICK_EVERY) * 1_000_000_000 }))
}

/// What is appended at `n`.
fn work(n: u64) -> Work {
    if is_tick(n) {
        return tick(n);
    }
    let mut builder = BatchBuilder::default();
    let readings = (n..RECORDS).take_while(|n| !is_tick(*n)).take(BURST_MAX as usize);
    readings.for_each(|n| push(&mut builder, n));
    Work::Readings(builder.finish())
}

fn open(dir: &Path, floor: Offset) -> Journal {
    let settings = journal::Settings {
        floors: [(StreamName::Readings, floor)].into(),
        segment_bytes: SEGMENT_BYTES,
        ..journal::Settings::new(dir.join("journal"))
    };
    Journal::open(&settings, &Arc::new(Metrics::new())).expect("the journal opens")
}

#[test]
#[ignore = "the process that the test below starts and kills"]
fn process() {
    let arguments = std::env::var(PROCESS).expect("set by the test below");
    let (partitions, dir) = arguments.split_once(' ').unwrap();
    let dir = Path::new(dir);
    actix::System::new().block_on(async {
        let manifest = Manifest::read(&dir.join("state")).unwrap();
        let floor = manifest.map_or(Offset(0), |known| known.floor(StreamName::Readings));
        let store = Arc::new(Store::open(&dir.join("state")).unwrap());
        let config = config();
        let journal = open(dir, floor);
        let settings = EngineSettings {
            partitions: partitions.parse().unwrap(),
            checkpoint_every: Duration::from_millis(10),
            idle_saves: 1,
        };
        let metrics = Arc::new(Metrics::new());
        let engine = Engine::start(&config, &journal, &store, &metrics, settings).await.unwrap();
        let mut next = journal.readings.durable().0;
        while next < RECORDS {
            // What a new segment opens with may come first.
            let receipt = journal.readings.append(work(next)).await.unwrap();
            next = receipt.first.plus(receipt.count).0;
            // Whoever reads it kills us, and may be quicker.
            let _ = writeln!(std::io::stdout(), "{next}");
        }
        let failed = engine.stop().await;
        assert!(failed.is_empty(), "{failed:?}");
        journal.close().await;
    });
}

/// Runs the process until it is killed after `bursts` bursts, or done.
fn run(dir: &Path, partitions: usize, bursts: u64) -> Done {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["engine::process", "--exact", "--ignored", "--nocapture"])
        .env(PROCESS, format!("{partitions} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let appended = lines.map_while(Result::ok).filter(|line| line.parse::<u64>().is_ok());
    let killed = appended.take(bursts as usize).count() as u64 == bursts;
    if killed {
        process.kill().unwrap();
    }
    let status = process.wait().unwrap();
    assert!(killed || status.success(), "{status}");
    if killed { Done::No } else { Done::Yes }
}

#[derive(PartialEq)]
enum Done {
    Yes,
    No,
}

/// Outputs of a lane in order: cause and JSON.
type Rows = Vec<(u64, String)>;

fn row(cause: Offset, output: &Output) -> (u64, String) {
    (cause.0, serde_json::to_string(output).unwrap())
}

async fn contents(stream: &Stream) -> Vec<(Offset, Content)> {
    let mut reader = stream.reader(Offset(0));
    let mut contents = Vec::new();
    while let Some(chunk) = reader.try_next().await.unwrap() {
        contents.push((chunk.base, chunk.content));
    }
    contents
}

/// What the journal gives in one go.
async fn in_one_go(plan: LanePlan, journal: &Journal) -> Rows {
    let mut offline = Offline::new(plan);
    let mut rows = Rows::new();
    for (base, content) in contents(&journal.readings).await {
        let effects = match &content {
            Content::Readings(batch) => offline.on_batch(batch),
            Content::Record(record) => match **record {
                Record::Tick(clock) => offline.on_tick(clock, base),
                Record::Opened { .. } => continue,
                ref other => panic!("{base}: {other:?}"),
            },
            other => panic!("{base}: {other:?}"),
        };
        rows.extend(effects.emissions.iter().map(|emission| row(emission.cause, &emission.output)));
    }
    rows
}

/// What `results` holds of the pipelines and alerts of `lane`.
async fn recorded(config: &Config, lane: &str, journal: &Journal) -> Rows {
    let pipelines = config.pipelines.iter().filter(|pipeline| &*pipeline.lane == lane).map(|p| &p.name);
    let alerts = config.alerts.iter().filter(|alert| &*alert.lane == lane).map(|alert| &alert.name);
    let names: Vec<_> = pipelines.chain(alerts).collect();
    let mut rows = Rows::new();
    for (_, content) in contents(&journal.results).await {
        let frame = match content {
            Content::Outputs(frame) => frame,
            Content::Record(record) if matches!(*record, Record::Opened { .. }) => continue,
            other => panic!("results holds outputs only, not {other:?}"),
        };
        for (cause, output) in frame.causes.iter().zip(&frame.outputs) {
            let name = match output {
                Output::Result(row) => &row.pipeline,
                Output::Late(row) => &row.pipeline,
                Output::Alert(row) => &row.alert,
            };
            if names.contains(&name) {
                rows.push(row(*cause, output));
            }
        }
    }
    rows
}

fn check(partitions: usize) {
    let dir = tempfile::tempdir().unwrap();
    let seed = RandomState::new().hash_one(partitions);
    let mut kills = 0;
    while run(dir.path(), partitions, 2 + scramble(seed ^ kills) % BURSTS_MAX) == Done::No {
        kills += 1;
    }
    assert!(kills > 0, "seed {seed}: nothing was killed");
    actix::System::new().block_on(async {
        let (config, journal) = (config(), open(dir.path(), Offset(0)));
        let durable = journal.readings.durable().0;
        assert!((RECORDS..RECORDS + 2).contains(&durable), "{durable} records, offsets are dense");
        for lane in lanes(&config) {
            let expected = in_one_go(LanePlan::new(&config, &lane, &journal.id), &journal).await;
            let found = recorded(&config, &lane, &journal).await;
            let first = expected.iter().zip(&found).position(|(a, b)| a != b);
            let first = first.unwrap_or(expected.len().min(found.len()));
            let near = |rows: &Rows| format!("{:#?}", rows.iter().skip(first).take(3).collect::<Vec<_>>());
            assert!(
                expected == found,
                "seed {seed}, {kills} kills, lane {lane}: {} rows expected, {} found; from row {first} expected {}\nfound {}",
                expected.len(), found.len(), near(&expected), near(&found)
            );
            assert!(found.len() > 20, "lane {lane} has only {} rows", found.len());
        }
    });
}

#[test]
fn kills_change_nothing_with_one_partition() {
    check(1);
}

#[test]
fn kills_change_nothing_with_two_partitions() {
    check(2);
}

#[test]
fn kills_change_nothing_with_four_partitions() {
    check(4);
}
