//! The `Config` record is the border: lanes process what stands before it by the old text, what follows by the new.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forebay::config::{Config, from_text};
use forebay::engine::{Engine, EngineSettings};
use forebay::journal::{self, Content, Journal, Record, Work};
use forebay::model::batch::NewReading;
use forebay::model::{BatchBuilder, Cell, Identity, Offset, Timestamp};
use forebay::store::Store;
use forebay::telemetry::Metrics;

/// Each reading fires the window of the one before it; nothing of that is emitted.
const QUIET: &str = r#"
[source.s]
topic = "s"
[pipeline.all]
from = ["s"]
start = "earliest"
window = { kind = "tumbling", size = "1ms" }
select = { n = "count()" }
having = "n > 1"
[pipeline.other]
from = ["s"]
lane = "other"
window = { kind = "tumbling", size = "1ms" }
select = { n = "count()" }
having = "n > 1"
"#;
/// Readings well before the record.
const BEFORE: i64 = 400;
/// Readings right behind it. So few that appending them together keeps their order: tokio has a task that does more at
/// once take turns.
const BEHIND: i64 = 100;

fn config(text: &str) -> Arc<Config> {
    Arc::new(from_text("f.toml", text, Path::new(".")).unwrap().0)
}

fn reading(n: i64) -> Work {
    let time = Timestamp::from_millis(n);
    let mut builder = BatchBuilder::default();
    let fields = &[("x", Cell::Number(1.0))];
    let (source, sensor, received, tags) = ("s", "a", time, &[]);
    builder.push(NewReading { source, sensor, time, received, flags: 0, fields, tags });
    builder.end_message(Identity::None);
    Work::Readings(builder.finish())
}

fn record(config: &Config) -> Work {
    Work::Record(Record::Config { hash: config.hash.as_str().into(), text: config.text.clone() })
}

/// Which readings caused rows of the lane's pipeline.
async fn causes(journal: &Journal, pipeline: &str) -> Vec<Offset> {
    let (mut reader, mut causes) = (journal.results.reader(Offset(0)), Vec::new());
    while let Some(chunk) = reader.try_next().await.unwrap() {
        let Content::Outputs(frame) = chunk.content else { panic!("results holds outputs only") };
        let rows = frame.causes.iter().zip(&frame.outputs);
        let of_pipeline =
            rows.filter(|(_, row)| serde_json::to_value(row).unwrap().to_string().contains(pipeline));
        causes.extend(of_pipeline.map(|(cause, _)| *cause));
    }
    causes
}

#[test]
fn lanes_exchange_their_plans_at_the_record_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (config(QUIET), config(&QUIET.replace("n > 1", "n > 0")));
    actix::System::new().block_on(async {
        let (store, metrics) =
            (Arc::new(Store::open(&dir.path().join("state")).unwrap()), Arc::new(Metrics::new()));
        let settings = journal::Settings {
            linger: Duration::ZERO,
            ..journal::Settings::new(dir.path().join("journal"))
        };
        let journal = Journal::open(&settings, &metrics).unwrap();
        let settings =
            EngineSettings { partitions: 2, checkpoint_every: Duration::from_millis(5), idle_saves: 1 };
        let mut engine = Engine::start(&old, &journal, &store, &metrics, settings).await.unwrap();
        // A record of a time before changes nothing.
        journal.readings.append(record(&old)).await.unwrap();
        for n in 0..BEFORE {
            journal.readings.append(reading(n)).await.unwrap();
        }
        // All at once, so that lanes find readings on both sides of the record in their hands.
        let mut appends =
            vec![journal.readings.append(reading(BEFORE)), journal.readings.append(record(&new))];
        appends.extend((1..BEHIND).map(|n| journal.readings.append(reading(BEFORE + n))));
        let receipts = futures_util::future::try_join_all(appends).await.unwrap();
        let border = receipts[1].first;
        // Lanes may be past the record by now.
        engine.exchange(&new, border).await.unwrap();
        engine.passed(border).await;
        assert!(engine.lanes().iter().all(|lane| lane.position().emitted > border));
        let failed = engine.stop().await;
        assert!(failed.is_empty(), "{failed:?}");
        let expected: Vec<_> = receipts[2..].iter().map(|receipt| receipt.first).collect();
        assert!(expected.iter().all(|offset| *offset > border));
        for pipeline in ["all", "other"] {
            assert_eq!(causes(&journal, pipeline).await, expected, "{pipeline}");
        }
        journal.close().await;
    });
}
