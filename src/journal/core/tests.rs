//! Retention and rolling on a simulated disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::*;
use crate::journal::disk::sim::SimDisk;
use crate::journal::{Content, Cores, Hold, Lag, OutputFrame, Settings};
use crate::telemetry::Metrics;

const SEGMENT_BYTES: u64 = 900;
const KEEP_ALL: Limits = Limits { bytes_max: u64::MAX, age_max: Duration::MAX, free_min_bytes: 0 };
const KEEP_LITTLE: Limits = Limits { bytes_max: 2 * SEGMENT_BYTES, ..KEEP_ALL };

struct Site {
    disk: SimDisk,
    metrics: Arc<Metrics>,
    cores: Cores,
    service_s: u64,
}

fn open(disk: &SimDisk, metrics: &Arc<Metrics>) -> Cores {
    let settings = Settings {
        disk: Arc::new(disk.clone()),
        segment_bytes: SEGMENT_BYTES,
        ..Settings::new(PathBuf::from("/data"))
    };
    Cores::open(&settings, metrics).expect("opens")
}

impl Site {
    fn new() -> Self {
        let (disk, metrics) = (SimDisk::new(1), Arc::new(Metrics::new()));
        let cores = open(&disk, &metrics);
        Self { disk, metrics, cores, service_s: 0 }
    }

    fn now() -> Now {
        Now { wall: Timestamp::from_millis(1), monotonic: Instant::now() }
    }

    /// Journals the clock, `seconds` later, as the application does, so often that segments fill.
    fn serve(&mut self, seconds: u64, ticks: u64) {
        for tick in 0..ticks {
            self.service_s += if tick == 0 { seconds } else { 0 };
            let clock = Clock { service_ns: self.service_s * 1_000_000_000, ..Clock::default() };
            let receipts = self.cores.readings.commit(vec![Work::Record(Record::Tick(clock))], Self::now());
            assert!(receipts[0].is_ok());
            self.cores.readings.upkeep(Self::now());
        }
    }

    fn pin(&self, holder: &str, offset: u64, hold: Hold) {
        self.cores.pins.set(holder, StreamName::Readings, Offset(offset), hold);
    }

    fn trim(&mut self, limits: Limits) -> Offset {
        self.cores.readings.retain(limits);
        self.cores.readings.trim(Self::now());
        self.cores.readings.shared.oldest()
    }

    fn removed(&self, why: &str) -> u64 {
        self.metrics.journal_removed_segments.with_label_values(&["readings", why]).get()
    }

    fn files(&self) -> usize {
        self.cores.readings.shared.folder.list().expect("lists").len()
    }
}

#[test]
fn pins_hold_a_full_stream_and_nothing_else_does() {
    let mut site = Site::new();
    site.serve(1, 100);
    let files = site.files();
    assert!(files > 5, "{files} segments");
    site.pin("lane/main", 0, Hold::Always);
    assert_eq!(site.trim(KEEP_LITTLE), Offset(0), "a lane needs everything");
    site.pin("lane/main", site.cores.readings.next.0, Hold::Always);
    site.pin("sink/slow", 0, Hold::Upto(Lag::Bytes(1 << 20)));
    assert_eq!(site.trim(KEEP_LITTLE), Offset(0), "so does a sink that is not too far behind");
    site.pin("sink/slow", 0, Hold::Upto(Lag::Bytes(SEGMENT_BYTES)));
    let oldest = site.trim(KEEP_LITTLE);
    assert!(oldest > Offset(50), "{oldest}");
    assert_eq!(site.removed("bytes"), (files - site.files()) as u64);
    assert!(site.files() <= 2, "{} segments", site.files());
    let missed = site.metrics.journal_left_behind_records.with_label_values(&["sink/slow"]).get();
    assert_eq!(missed, oldest.0, "counted to the record");
    assert_eq!(site.metrics.journal_left_behind_records.with_label_values(&["lane/main"]).get(), 0);
    // The first run reads from its memory.
    site.cores = open(&site.disk, &site.metrics);
    let gap = site.cores.readings.reader(Offset(0)).try_next().now_or_never().expect("does not wait");
    let Content::Record(record) = gap.expect("reads").expect("a gap").content else { panic!("no gap") };
    assert_eq!(*record, Record::Gap { from: Offset(0), to: oldest, why: "trimmed".into() });
}

#[test]
fn age_counts_service_not_the_wall_clock_and_quiet_streams_age_too() {
    let mut site = Site::new();
    let hour = Limits { age_max: Duration::from_secs(3600), ..KEEP_ALL };
    site.serve(1, 30);
    assert_eq!(site.trim(hour), Offset(0));
    // A day switched off, then a clock that jumps from 1970 to today: no second of service.
    site.cores = open(&site.disk, &site.metrics);
    assert_eq!(site.trim(hour), Offset(0));
    site.serve(3600, 1);
    assert_eq!(site.trim(hour), Offset(0), "not older than an hour");
    site.serve(901, 1);
    let oldest = site.trim(hour);
    assert!(oldest >= Offset(30), "{oldest}: what came in the first second is gone");
    site.serve(3700, 1);
    site.trim(hour);
    site.serve(3700, 1);
    site.trim(hour);
    assert!(site.files() <= 2, "{} segments", site.files());
    // Nothing is left but offsets go on.
    let next = site.cores.readings.next;
    site.cores = open(&site.disk, &site.metrics);
    assert_eq!(site.cores.readings.next, next);
    assert_eq!(site.cores.last_clock.map(|clock| clock.service_ns / 1_000_000_000), Some(site.service_s));
}

/// A quiet lane may have emitted last many segments ago: every segment opens with the table of all.
#[test]
fn what_a_quiet_lane_has_emitted_is_known_after_any_number_of_segments() {
    let mut site = Site::new();
    let emit = |cores: &mut Cores, lane: &str, offset| {
        let frame = OutputFrame { emitted: [(lane.into(), Offset(offset))].into(), ..OutputFrame::default() };
        let receipts = cores.results.commit(vec![Work::Outputs(Arc::new(frame))], Site::now());
        assert!(receipts[0].is_ok());
    };
    emit(&mut site.cores, "quiet", 7);
    for restart in 1..4 {
        (0..50).for_each(|offset| emit(&mut site.cores, "busy", restart * 100 + offset));
        site.cores = open(&site.disk, &site.metrics);
        let known =
            BTreeMap::from([("busy".into(), Offset(restart * 100 + 49)), ("quiet".into(), Offset(7))]);
        assert_eq!(site.cores.emitted, known, "restart {restart}");
    }
    assert!(site.cores.results.shared.folder.list().expect("lists").len() > 9, "too few segments");
}

#[test]
fn what_everyone_has_seen_makes_room() {
    let mut site = Site::new();
    site.serve(1, 100);
    let used = site.disk.used_bytes();
    site.disk.limit(used + 1000);
    site.pin("lane/main", 100, Hold::Always);
    assert_eq!(site.trim(Limits { free_min_bytes: 1000, ..KEEP_ALL }), Offset(0));
    assert!(site.trim(Limits { free_min_bytes: 1001, ..KEEP_ALL }) > Offset(0));
    assert_eq!(site.removed("room"), 1, "no more than needed");
}

#[test]
fn a_roll_costs_a_rename_and_a_sync_of_the_directory() {
    let mut site = Site::new();
    let mut last = site.files();
    let mut costs = Vec::new();
    for _ in 0..60 {
        let before = site.disk.operations();
        site.cores
            .readings
            .commit(vec![Work::Record(Record::Start { wall: Timestamp::default() })], Site::now());
        let after = site.disk.operations();
        if std::mem::replace(&mut last, site.files()) < site.files() {
            costs.push(std::array::from_fn::<_, 5, _>(|kind| after[kind] - before[kind]));
        }
        site.cores.readings.upkeep(Site::now());
    }
    // Write and sync are the group's own.
    assert!(costs.len() > 2);
    assert!(
        costs.iter().all(|cost| *cost == [1, 2, 1, 0, 0]),
        "write, sync, rename, remove, open: {costs:?}"
    );
}
