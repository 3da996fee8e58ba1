//! A journal in use, and what its senders know of it: what was acknowledged, what was only tried.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;

use crate::journal::disk::sim::{Dice, SimDisk};
use crate::journal::{
    Clock, Content, Cores, Hold, Limits, Now, OutputFrame, Reader, Record, Refused, Settings, Work,
};
use crate::model::batch::NewReading;
use crate::model::{BatchBuilder, DeadLetter, Identity, Offset, Reason, StreamName, Timestamp};
use crate::telemetry::{Metrics, clock};

/// Segments so small that a few commits fill one.
const SEGMENT_BYTES: u64 = 900;
/// More than a failed stream needs to try the disk again.
const STEP: Duration = Duration::from_millis(400);
/// A healed disk is taken into use within so many steps.
const SETTLE_STEPS: u64 = 8;
/// So little that every few commits a segment goes.
const LIMITS: Limits =
    Limits { bytes_max: 3 * SEGMENT_BYTES, age_max: Duration::from_secs(3600), free_min_bytes: 0 };
/// The streams by their numbers here.
const STREAMS: [StreamName; 3] = [StreamName::Readings, StreamName::DeadLetters, StreamName::Results];

/// What senders know.
#[derive(Clone, Default)]
pub(super) struct Model {
    /// What was acknowledged, by stream and offset.
    acknowledged: [BTreeMap<Offset, String>; 3],
    /// Numbers that were sent and not acknowledged: they may be found after a crash, once.
    waiting: [BTreeSet<u64>; 2],
    /// How far lanes may have emitted.
    emitted_tried: Offset,
    emitted: Offset,
    /// Nothing from here on may be removed.
    pinned: [Offset; 3],
    /// Seconds of service that were journalled, and that were tried.
    ticked: u64,
    ticked_tried: u64,
    numbers: u64,
}

pub(super) struct Site {
    cores: Cores,
    live: Vec<Reader>,
    seen: [BTreeMap<Offset, String>; 3],
    model: Model,
    started: Instant,
    steps: u32,
}

fn settings(disk: &SimDisk) -> Settings {
    Settings {
        disk: Arc::new(disk.clone()),
        segment_bytes: SEGMENT_BYTES,
        ballast_bytes: SEGMENT_BYTES,
        ..Settings::new(PathBuf::from("/data/journal"))
    }
}

/// Opens the journal; a fault may hit that too, and a service manager tries again.
fn open(disk: &SimDisk) -> Cores {
    // One set for all runs: making it takes longer than a run.
    static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| Arc::new(Metrics::new()));
    let open = || Cores::open(&settings(disk), &METRICS);
    open()
        .or_else(|_| open())
        .or_else(|_| {
            disk.heal();
            open()
        })
        .expect("a healed disk opens")
}

fn readers(cores: &Cores) -> Vec<Reader> {
    [&cores.readings, &cores.dead_letters, &cores.results].map(|core| core.reader(Offset(0))).into()
}

impl Site {
    pub(super) fn start(disk: &SimDisk) -> Self {
        let cores = open(disk);
        let (live, started) = (readers(&cores), clock::monotonic());
        let mut site =
            Self { cores, live, seen: Default::default(), model: Model::default(), started, steps: 0 };
        site.retain();
        site
    }

    /// As an application does that has read its saved cursors.
    fn retain(&mut self) {
        for (stream, pinned) in STREAMS.into_iter().zip(self.model.pinned) {
            self.cores.pins.set("reader", stream, pinned, Hold::Always);
        }
        let Cores { readings, dead_letters, results, .. } = &mut self.cores;
        for core in [readings, dead_letters, results] {
            core.retain(LIMITS);
        }
    }

    /// A consumer has saved how far it has come.
    fn save_cursor(&mut self, stream: usize) {
        let Some((last, _)) = self.model.acknowledged[stream].last_key_value() else { return };
        self.model.pinned[stream] = *last;
        self.cores.pins.set("reader", STREAMS[stream], *last, Hold::Always);
    }

    /// The program ends without a word and starts again on `disk`.
    pub(super) fn restart(&mut self, disk: &SimDisk) {
        self.cores = open(disk);
        self.model.check_opened(&self.cores, disk, "after a restart");
        self.retain();
        self.live = readers(&self.cores);
        self.seen = Default::default();
        self.look();
    }

    pub(super) fn clone_model(&self) -> Model {
        self.model.clone()
    }

    fn now(&self) -> Now {
        Now { wall: clock::now(), monotonic: self.started + STEP * self.steps }
    }

    /// One group commit in one of the streams; whether it was refused.
    pub(super) fn step(&mut self, dice: &mut Dice) -> bool {
        self.steps += 1;
        if dice.once_in(4) {
            self.save_cursor(dice.below(3) as usize);
        }
        let refused = match dice.below(7) {
            0 => self.send(0, 1 + dice.below(5)),
            1 | 2 => self.resend(0, 1 + dice.below(5)),
            3 => self.send(1, 1 + dice.below(3)),
            4 => self.resend(1, 1 + dice.below(3)),
            5 => self.tick(),
            _ => self.emit(),
        };
        self.look();
        refused
    }

    /// What was refused is sent again until it is taken: the journal has recovered by itself.
    pub(super) fn settle(&mut self) {
        for _ in 0..SETTLE_STEPS {
            self.steps += 1;
            let refused = [self.resend(0, 1), self.resend(1, 1), self.emit()];
            self.look();
            if refused == [false; 3] {
                assert!(self.model.waiting.iter().all(BTreeSet::is_empty));
                return;
            }
        }
        panic!("refused for {SETTLE_STEPS} steps on a healthy disk");
    }

    /// Time passes.
    pub(super) fn wait(&mut self) {
        self.steps += 1;
    }

    /// Sends `count` new messages; whether they were refused.
    pub(super) fn send(&mut self, stream: usize, count: u64) -> bool {
        let numbers = self.model.numbers + 1..self.model.numbers + 1 + count;
        self.model.numbers += count;
        self.commit(stream, numbers.map(|number| (number, Identity::Remember(number))).collect())
    }

    /// Sends what was refused once more, as copies, and `count` new messages.
    fn resend(&mut self, stream: usize, count: u64) -> bool {
        let waiting = self.model.waiting[stream].clone();
        let copies = waiting.into_iter().map(|number| (number, Identity::Match(number)));
        let refused = self.commit(stream, copies.collect());
        self.send(stream, count) || refused
    }

    fn commit(&mut self, stream: usize, messages: Vec<(u64, Identity)>) -> bool {
        self.model.waiting[stream].extend(messages.iter().map(|(number, _)| *number));
        let works = messages.iter().map(|message| work(stream, message)).collect();
        let now = self.now();
        let core = if stream == 0 { &mut self.cores.readings } else { &mut self.cores.dead_letters };
        let receipts = core.commit(works, now);
        core.upkeep(now);
        for ((number, _), receipt) in messages.iter().zip(&receipts) {
            let Ok(receipt) = receipt else { continue };
            self.model.waiting[stream].remove(number);
            self.model.acknowledge(stream, receipt.first, number.to_string());
        }
        receipts.contains(&Err(Refused::Disk))
    }

    fn emit(&mut self) -> bool {
        // A lane has seen durable readings only.
        let to = self.model.acknowledged[0].last_key_value().map_or(Offset(0), |(offset, _)| offset.plus(1));
        self.model.emitted_tried = to;
        let frame = OutputFrame { emitted: [("main".into(), to)].into(), ..OutputFrame::default() };
        let now = self.now();
        let receipt = self.cores.results.commit(vec![Work::Outputs(Arc::new(frame))], now)[0];
        self.cores.results.upkeep(now);
        match receipt {
            Ok(receipt) => {
                self.model.emitted = to;
                self.model.acknowledge(2, receipt.first, to.to_string());
                false
            }
            Err(_) => true,
        }
    }

    fn tick(&mut self) -> bool {
        self.model.ticked_tried = self.model.ticked_tried.max(self.model.ticked) + 1;
        let service_ns = self.model.ticked_tried * 1_000_000_000;
        let (tick, now) = (Record::Tick(Clock { service_ns, ..Clock::default() }), self.now());
        let receipt = self.cores.readings.commit(vec![Work::Record(tick)], now)[0];
        self.cores.readings.upkeep(now);
        if receipt.is_ok() {
            self.model.ticked = self.model.ticked_tried;
        }
        receipt.is_err()
    }

    /// Readers that follow have seen exactly what was acknowledged, and the tables that `results` opens with.
    fn look(&mut self) {
        for (stream, reader) in self.live.iter_mut().enumerate() {
            // It stays where it is if the disk fails, and is asked again.
            let _ = read(reader, &mut self.seen[stream]);
            if read(reader, &mut self.seen[stream]).is_err() {
                continue;
            }
            let known = &self.model.acknowledged[stream];
            let seen = &self.seen[stream];
            assert!(
                known.range(self.model.pinned[stream]..).all(|record| seen.get(record.0) == Some(record.1)),
                "an acknowledged record is not seen"
            );
            let unknown = seen.iter().filter(|record| stream < 2 && !known.contains_key(record.0));
            let numbers: Vec<_> = unknown.map(|(_, text)| text.parse().expect("a number")).collect();
            // Left by a crash before the last restart, found again and durable since.
            assert!(
                numbers.iter().all(|number| self.model.waiting[stream].contains(number)),
                "seen but refused: {numbers:?}"
            );
        }
    }
}

impl Model {
    fn acknowledge(&mut self, stream: usize, offset: Offset, text: String) {
        let before = self.acknowledged[stream].insert(offset, text.clone());
        assert!(before.is_none_or(|before| before == text), "offset {offset} is given to a second record");
    }

    /// The journal on `disk` opens and holds what it should.
    pub(super) fn check(&self, disk: &SimDisk, what: &str) {
        self.check_opened(&open(disk), disk, what);
    }

    fn check_opened(&self, cores: &Cores, disk: &SimDisk, what: &str) {
        let mut tries = 0;
        for (stream, mut reader) in readers(cores).into_iter().enumerate() {
            let mut found = BTreeMap::new();
            while read(&mut reader, &mut found).is_err() {
                tries += 1;
                if tries > 2 {
                    disk.heal();
                }
            }
            let known = &self.acknowledged[stream];
            let lost =
                known.range(self.pinned[stream]..).find(|record| found.get(record.0) != Some(record.1));
            assert!(lost.is_none(), "{what}: stream {stream} lost {lost:?}, found {found:?}");
            if stream == 2 {
                continue;
            }
            let others: Vec<_> = found.iter().filter(|record| !known.contains_key(record.0)).collect();
            let waiting = |text: &str| self.waiting[stream].iter().any(|number| number.to_string() == text);
            assert!(others.iter().all(|(_, text)| waiting(text)), "{what}: invented {others:?}");
            let texts: BTreeSet<_> = found.values().collect();
            assert_eq!(texts.len(), found.len(), "{what}: a message stands twice in stream {stream}");
        }
        let emitted = cores.emitted.get("main").copied().unwrap_or_default();
        let range = self.emitted..=self.emitted_tried;
        assert!(range.contains(&emitted), "{what}: emitted {emitted:?}, not in {range:?}");
        let ticked = cores.last_clock.unwrap_or_default().service_ns / 1_000_000_000;
        let range = self.ticked..=self.ticked_tried;
        assert!(range.contains(&ticked), "{what}: the clock says {ticked}, not in {range:?}");
    }
}

fn work(stream: usize, (number, identity): &(u64, Identity)) -> Work {
    let received = clock::now();
    if stream == 1 {
        return Work::DeadLetters(vec![DeadLetter {
            source: "s".into(),
            reason: Reason::Schema,
            detail: "bad".into(),
            topic: number.to_string().into(),
            principal: "p".into(),
            received,
            line: None,
            payload: Bytes::new(),
            length_bytes: 0,
            identity: *identity,
        }]);
    }
    let mut builder = BatchBuilder::default();
    let (time, fields) = (Timestamp::from_millis(*number as i64), &[]);
    builder.push(NewReading { source: "s", sensor: "a", time, received, flags: 0, fields, tags: &[] });
    builder.end_message(*identity);
    Work::Readings(builder.finish())
}

/// Adds everything that a reader finds from its position on, as number by offset.
fn read(reader: &mut Reader, found: &mut BTreeMap<Offset, String>) -> io::Result<()> {
    let next =
        |reader: &mut Reader| reader.try_next().now_or_never().expect("a simulated disk does not block");
    while let Some(chunk) = next(reader)? {
        match &chunk.content {
            Content::Readings(batch) => {
                found.extend(
                    batch.readings().map(|row| (row.offset(), (row.time().nanos() / 1_000_000).to_string())),
                );
            }
            Content::DeadLetters(letters) => {
                let letters = letters.iter().enumerate();
                found.extend(
                    letters.map(|(at, letter)| (chunk.base.plus(at as u64), letter.topic.to_string())),
                );
            }
            Content::Outputs(frame) => {
                found.insert(chunk.base, frame.emitted.get("main").copied().unwrap_or_default().to_string());
            }
            Content::Record(record) => match &**record {
                Record::Opened { .. } | Record::Tick(_) => {}
                Record::Gap { why, .. } if &**why == "trimmed" => {}
                record => panic!("nothing is lost, yet there is {record:?}"),
            },
        }
    }
    Ok(())
}
