//! A journal on a real disk: what is acknowledged is there after any restart.

use std::path::Path;

use super::*;
use crate::model::batch::NewReading;
use crate::model::{Batch, BatchBuilder, Identity};

fn in_system<F: Future>(future: F) -> F::Output {
    actix::System::new().block_on(future)
}

fn open(dir: &Path) -> Journal {
    Journal::open(&Settings::new(dir.to_owned()), &Arc::new(Metrics::new())).expect("the journal opens")
}

fn burst(numbers: std::ops::Range<u64>, identity: fn(u64) -> Identity) -> Batch {
    let mut builder = BatchBuilder::default();
    for number in numbers {
        let (time, received) = (Timestamp::from_millis(number as i64), clock::now());
        let fields = &[("n", crate::model::Cell::Number(number as f64))];
        builder.push(NewReading { source: "s", sensor: "a", time, received, flags: 0, fields, tags: &[] });
        builder.end_message(identity(number));
    }
    builder.finish()
}

async fn read_all(stream: &Stream, from: Offset) -> Vec<String> {
    let mut reader = stream.reader(from);
    let mut seen = Vec::new();
    while let Some(chunk) = reader.try_next().await.expect("reads") {
        match &chunk.content {
            Content::Readings(batch) => {
                let rows = batch.readings().filter(|r| r.offset() >= from);
                seen.extend(rows.map(|r| format!("{}:{}", r.offset(), r.time())));
            }
            other => seen.push(format!("{}:{other:?}", chunk.base)),
        }
    }
    seen
}

#[test]
fn what_is_acknowledged_is_there_after_a_restart_and_copies_are_known() {
    let dir = tempfile::tempdir().expect("a directory");
    in_system(async {
        let journal = open(dir.path());
        let receipt = journal.readings.append(Work::Readings(burst(0..5, Identity::Remember))).await;
        assert_eq!(receipt, Ok(Receipt { first: Offset(0), count: 5, duplicates: 0, repeated: 0 }));
        // No close: as after a kill.
    });
    in_system(async {
        let journal = open(dir.path());
        let copy = journal.readings.append(Work::Readings(burst(3..7, Identity::Match))).await;
        assert_eq!(copy, Ok(Receipt { first: Offset(6), count: 2, duplicates: 2, repeated: 0 }));
        let opened = "5:Record(Opened { clock: Clock { wall: Timestamp(0), service_ns: 0 }, emitted: {} })";
        let expected = ["0:0", "1:1", "2:2", "3:3", "4:4", opened, "6:5", "7:6"];
        assert_eq!(read_all(&journal.readings, Offset(0)).await, expected);
        assert_eq!(read_all(&journal.readings, Offset(4)).await, expected[4..]);
        journal.close().await;
    });
    in_system(async {
        assert_eq!(read_all(&open(dir.path()).readings, Offset(6)).await, ["6:5", "7:6"]);
    });
}

/// Every prefix of the last segment's bytes opens, keeps a prefix of the records and takes new ones.
#[test]
fn a_torn_tail_is_cut_at_any_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    let segment = in_system(async {
        let journal = open(dir.path());
        for n in 0..4 {
            journal
                .readings
                .append(Work::Readings(burst(n..n + 1, |_| Identity::None)))
                .await
                .expect("appends");
        }
        journal.close().await;
        segment::path(&dir.path().join("readings"), Offset(0))
    });
    let whole = std::fs::read(&segment).expect("the segment");
    for cut in (0..whole.len()).step_by(29) {
        let copy = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(copy.path().join("readings")).expect("a directory");
        std::fs::write(segment::path(&copy.path().join("readings"), Offset(0)), &whole[..cut])
            .expect("writes");
        in_system(async {
            let journal = open(copy.path());
            let before = read_all(&journal.readings, Offset(0)).await;
            let expected: Vec<_> = (0..before.len()).map(|n| format!("{n}:{n}")).collect();
            assert_eq!(before, expected, "cut at {cut}");
            let receipt = journal.readings.append(Work::Readings(burst(9..10, |_| Identity::None))).await;
            // What the new segment opens with comes first, unless nothing was left at all.
            let opened = u64::from(!before.is_empty());
            assert_eq!(receipt.expect("appends").first, Offset(before.len() as u64 + opened));
        });
    }
}

/// A flipped bit below the durable mark loses that frame only, and says so.
#[test]
fn damage_is_a_gap_not_an_end() {
    let dir = tempfile::tempdir().expect("a directory");
    in_system(async {
        let journal = open(dir.path());
        for n in 0..4 {
            journal
                .readings
                .append(Work::Readings(burst(n..n + 1, |_| Identity::None)))
                .await
                .expect("appends");
        }
        journal.close().await;
    });
    let path = segment::path(&dir.path().join("readings"), Offset(0));
    let mut bytes = std::fs::read(&path).expect("the segment");
    let frame = bytes.len() / 4;
    bytes[frame + frame / 2] ^= 4;
    std::fs::write(&path, bytes).expect("writes");
    in_system(async {
        let seen = read_all(&open(dir.path()).readings, Offset(0)).await;
        let gap = "1:Record(Gap { from: Offset(1), to: Offset(2), why: \"damaged\" })";
        assert_eq!(seen, ["0:0", gap, "2:2", "3:3"]);
    });
}

#[test]
fn emitted_survives_restarts_that_write_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let emitted: BTreeMap<Arc<str>, Offset> = [("main".into(), Offset(9))].into();
    in_system(async {
        let journal = open(dir.path());
        let frame = OutputFrame { emitted: emitted.clone(), ..OutputFrame::default() };
        journal.results.append(Work::Outputs(Arc::new(frame))).await.expect("appends");
    });
    for _ in 0..4 {
        in_system(async {
            let journal = open(dir.path());
            assert_eq!(journal.emitted(), emitted);
            assert_eq!(
                journal.readings.durable(),
                Offset(9),
                "offsets that a cursor knows are not given again"
            );
        });
    }
}

#[test]
fn a_reader_waits_for_what_is_durable() {
    let dir = tempfile::tempdir().expect("a directory");
    in_system(async {
        let journal = open(dir.path());
        let mut reader = journal.readings.reader(Offset(0));
        assert!(reader.try_next().await.expect("reads").is_none());
        let (chunk, receipt) = tokio::join!(
            reader.next(),
            journal.readings.append(Work::Readings(burst(0..1, |_| Identity::None)))
        );
        assert_eq!(chunk.expect("reads").base, receipt.expect("appends").first);
    });
}

/// A sender that is gone may have been heard: once the stream has settled, what it said counts.
#[test]
fn what_a_sender_gave_up_counts_once_the_stream_has_settled() {
    let dir = tempfile::tempdir().expect("a directory");
    in_system(async {
        let journal = open(dir.path());
        for to in 1..=5 {
            let emitted: BTreeMap<Arc<str>, Offset> = [("main".into(), Offset(to))].into();
            let frame = Arc::new(OutputFrame { emitted: emitted.clone(), ..OutputFrame::default() });
            let append = journal.results.append(Work::Outputs(frame));
            // Polled once: it is on its way to the writer.
            assert!(futures_util::FutureExt::now_or_never(append).is_none());
            journal.results.settle().await;
            assert_eq!(journal.emitted(), emitted);
        }
        journal.close().await;
    });
}
