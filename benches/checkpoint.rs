//! What checkpoints cost: `cargo bench --bench checkpoint [-- SENSORS ROUNDS DIR]`.
//!
//! Every sensor sends one reading a round, evenly spread, into a lane with one tumbling window and one alert, over a
//! real journal and a real store in DIR (default: the temporary directory, which should not be memory). First without
//! checkpoints, then with one every 30 s; the difference is theirs: CPU of the process, bytes written to the disk
//! (`write_bytes` of proc(5)), and the longest time from a batch that is durable to the lane being past it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::config::{Config, from_text};
use forebay::engine::{Engine, EngineSettings};
use forebay::journal::{self, Journal, Record, Work};
use forebay::model::batch::NewReading;
use forebay::model::{BatchBuilder, Cell, Identity, Timestamp};
use forebay::store::Store;
use forebay::telemetry::{Metrics, clock};

const ROUND: Duration = Duration::from_secs(30);
/// From one batch of readings to the next.
const BATCH_EVERY: Duration = Duration::from_millis(10);
/// Time after which nothing is saved.
const NEVER: Duration = Duration::from_secs(86_400);

const TEXT: &str = r#"
[source.plant]
topic = "plant/{sensor}"
[pipeline.minute]
from = ["plant"]
window = { kind = "tumbling", size = "1m" }
select = { n = "count()", mean = "avg(x)", most = "max(x)" }
[alert.high]
on = "minute"
when = "most > 1000"
"#;

/// What a run took, per round.
struct Cost {
    cpu_s: f64,
    written_bytes: f64,
    longest: Duration,
}

fn main() {
    // Cargo adds an option of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let sensors: u64 = arguments.next().map_or(100_000, |it| it.parse().expect("a number of sensors"));
    let rounds: u32 = arguments.next().map_or(3, |it| it.parse().expect("a number of rounds"));
    let dir = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from).join("forebay-checkpoint");
    let mut costs = Vec::new();
    for checkpoint_every in [NEVER, ROUND] {
        let _ = std::fs::remove_dir_all(&dir);
        let cost = forebay::app::block_on(run(&dir, (sensors, rounds), checkpoint_every));
        println!(
            "checkpoints every {checkpoint_every:?}: per round {:.2} s CPU, {:.1} MB written, longest {:.1?}",
            cost.cpu_s,
            cost.written_bytes / 1e6,
            cost.longest
        );
        costs.push(cost);
    }
    let _ = std::fs::remove_dir_all(&dir);
    let cpu_s = costs[1].cpu_s - costs[0].cpu_s;
    println!(
        "{sensors} sensors: a checkpoint takes {cpu_s:.2} s CPU a round, {:.1} % of a core, and writes {:.1} MB",
        100.0 * cpu_s / ROUND.as_secs_f64(),
        (costs[1].written_bytes - costs[0].written_bytes) / 1e6
    );
}

async fn run(dir: &Path, (sensors, rounds): (u64, u32), checkpoint_every: Duration) -> Cost {
    std::fs::create_dir_all(dir).expect("a directory");
    let (config, _) = from_text("c.toml", TEXT, Path::new(".")).expect("a configuration");
    let (config, metrics) = (Arc::new(config), Arc::new(Metrics::new()));
    let store = Arc::new(Store::open(&dir.join("state")).expect("a store"));
    let settings = journal::Settings::new(dir.join("journal"));
    let journal = Journal::open(&settings, &metrics).expect("a journal");
    name(&journal, &config).await;
    let settings = EngineSettings { partitions: 1, checkpoint_every, idle_saves: 20 };
    let engine = Engine::start(&config, &journal, &store, &metrics, settings).await.expect("an engine");
    let mut load = Load { journal: &journal, engine: &engine, sensors, next: 0 };
    // The first round creates the sensors; the one after it saves them for the first time.
    load.round().await;
    load.round().await;
    let (cpu_s, written) = usage();
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        longest = longest.max(load.round().await);
    }
    let (cpu_after_s, written_after) = usage();
    engine.abandon().await;
    journal.close().await;
    let per_round = f64::from(rounds);
    Cost {
        cpu_s: (cpu_after_s - cpu_s) / per_round,
        written_bytes: (written_after - written) / per_round,
        longest,
    }
}

async fn name(journal: &Journal, config: &Config) {
    let record = Record::Config { hash: config.hash.as_str().into(), text: config.text.clone() };
    journal.readings.append(Work::Record(record)).await.expect("room on disk");
}

struct Load<'a> {
    journal: &'a Journal,
    engine: &'a Engine,
    sensors: u64,
    /// Number of the next reading.
    next: u64,
}

impl Load<'_> {
    /// One reading of every sensor, evenly spread over a round; the longest time that the lane took for a batch.
    async fn round(&mut self) -> Duration {
        let (start, begins) = (self.next, Instant::now());
        let mut longest = Duration::ZERO;
        while self.next < start + self.sensors {
            let due = (begins.elapsed().as_secs_f64() / ROUND.as_secs_f64() * self.sensors as f64) as u64;
            let end = start + due.min(self.sensors);
            if end > self.next {
                longest = longest.max(self.send(end).await);
            }
            tokio::time::sleep(BATCH_EVERY).await;
        }
        longest
    }

    async fn send(&mut self, end: u64) -> Duration {
        let mut builder = BatchBuilder::default();
        for n in self.next..end {
            // Neighbours in the store do not speak one after the other.
            let sensor = format!("sensor-{:06}", n.wrapping_mul(7_919) % self.sensors);
            let time = Timestamp::from_millis((n / self.sensors) as i64 * 30_000);
            let fields = [("x", Cell::Number((n % 100) as f64))];
            let (received, tags) = (clock::now(), &[]);
            builder.push(NewReading {
                source: "plant",
                sensor: &sensor,
                time,
                received,
                flags: 0,
                fields: &fields,
                tags,
            });
        }
        builder.end_message(Identity::None);
        self.next = end;
        let receipt =
            self.journal.readings.append(Work::Readings(builder.finish())).await.expect("room on disk");
        let (durable, end) = (Instant::now(), receipt.first.plus(receipt.count));
        while self.engine.lanes()[0].position().position < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        durable.elapsed()
    }
}

/// CPU seconds of this process, and bytes that it made the disk write.
fn usage() -> (f64, f64) {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let io = std::fs::read_to_string("/proc/self/io").expect("Linux says so");
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("Linux says so");
    (cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9, written.parse().expect("a number"))
}
