//! A disk that fills up under the streams, wherever they are.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::journal::disk::RealDisk;
use crate::journal::disk::sim::SimDisk;
use crate::journal::{Clock, Content, Core, Cores, Now, OutputFrame, Record, Refused, Settings, Work};
use crate::model::batch::NewReading;
use crate::model::{BatchBuilder, Identity, Offset, Timestamp};

const SEGMENT_BYTES: u64 = 900;
const BALLAST: u64 = 2_000;
/// More than enough for everything here.
const AMPLE: u64 = 1 << 20;

struct Site {
    disk: SimDisk,
    metrics: Arc<Metrics>,
    cores: Cores,
    now: Instant,
    acknowledged: BTreeMap<Offset, i64>,
    sent: i64,
}

impl Site {
    fn new(limit: u64) -> Self {
        let (disk, metrics) = (SimDisk::new(1), Arc::new(Metrics::new()));
        disk.limit(limit);
        let cores = open(&disk, &metrics);
        Self { disk, metrics, cores, now: Instant::now(), acknowledged: BTreeMap::new(), sent: 0 }
    }

    /// The program was killed and starts again.
    fn restart(&mut self) {
        self.disk.kill();
        self.cores = open(&self.disk, &self.metrics);
    }

    fn wait(&mut self) {
        self.now += RETRY_AFTER;
    }

    fn now(&self) -> Now {
        Now { wall: Timestamp::from_millis(1), monotonic: self.now }
    }

    /// Whether one message is taken.
    fn send(&mut self) -> bool {
        self.sent += 1;
        let mut builder = BatchBuilder::default();
        let (time, received) = (Timestamp::from_millis(self.sent), Timestamp::from_millis(1));
        let (source, sensor, flags) = ("s", "a", 0);
        builder.push(NewReading { source, sensor, time, received, flags, fields: &[], tags: &[] });
        builder.end_message(Identity::None);
        let work = Work::Readings(builder.finish());
        let receipt = commit(&mut self.cores.readings, work, Now { wall: received, monotonic: self.now });
        receipt.map(|first| self.acknowledged.insert(first, self.sent)).is_ok()
    }

    /// The gateway's own works: the clock, and results.
    fn serve(&mut self) -> [Result<Offset, Refused>; 2] {
        let now = self.now();
        let tick = Work::Record(Record::Tick(Clock::default()));
        let frame = OutputFrame { emitted: [("main".into(), Offset(1))].into(), ..OutputFrame::default() };
        [
            commit(&mut self.cores.readings, tick, now),
            commit(&mut self.cores.results, Work::Outputs(Arc::new(frame)), now),
        ]
    }

    /// Everything acknowledged is there, and nothing that was refused.
    fn check(&self) {
        let mut reader = self.cores.readings.reader(Offset(0));
        let mut found = BTreeMap::new();
        let mut next = || reader.try_next().now_or_never().expect("does not block").expect("reads");
        while let Some(chunk) = next() {
            match &chunk.content {
                Content::Readings(batch) => {
                    found.extend(batch.readings().map(|row| (row.offset(), row.time().nanos() / 1_000_000)))
                }
                Content::Record(record) => assert!(!matches!(**record, Record::Gap { .. }), "{record:?}"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(found, self.acknowledged);
    }
}

fn open(disk: &SimDisk, metrics: &Arc<Metrics>) -> Cores {
    let settings = Settings {
        disk: Arc::new(disk.clone()),
        segment_bytes: SEGMENT_BYTES,
        ballast_bytes: BALLAST,
        ..Settings::new(PathBuf::from("/data"))
    };
    Cores::open(&settings, metrics).expect("opens")
}

fn commit(core: &mut Core, work: Work, now: Now) -> Result<Offset, Refused> {
    let receipt = core.commit(vec![work], now)[0].map(|receipt| receipt.first);
    core.upkeep(now);
    receipt
}

/// Wherever in its segment the stream stands when the disk fills up, the first thing that finds no room is the next
/// segment.
#[test]
fn a_disk_that_is_full_where_the_next_segment_begins_costs_nothing_acknowledged() {
    for before in 0..40 {
        let mut site = Site::new(AMPLE);
        (0..before).for_each(|_| assert!(site.send()));
        site.disk.limit(site.disk.used_bytes());
        let mut taken = 0;
        while site.send() {
            taken += 1;
            assert!(taken < 40, "a segment without room was begun");
        }
        assert!(!site.cores.ballast.is_kept());
        for _ in 0..5 {
            site.wait();
            let served = site.serve();
            assert!(served.iter().all(Result::is_ok), "after {before}: {served:?}");
            assert!(!site.send(), "the room of the ballast is taken by messages");
        }
        site.check();
        site.disk.limit(AMPLE);
        site.wait();
        assert!(site.serve().iter().all(Result::is_ok));
        assert!(site.cores.ballast.is_kept() && site.send(), "after {before}: it goes on by itself");
        assert_eq!(site.metrics.disk_ballast_bytes.get(), BALLAST as i64);
        site.restart();
        site.check();
    }
}

#[test]
fn what_is_freed_stays_free_until_there_is_room_for_it_and_a_segment() {
    let mut site = Site::new(AMPLE);
    let used = site.disk.used_bytes();
    assert_eq!(used, 3 * SEGMENT_BYTES + BALLAST + id_bytes(&site), "everything has its room beforehand");
    site.cores.ballast.release("test", &io::ErrorKind::StorageFull.into());
    assert_eq!(site.disk.used_bytes(), used - BALLAST);
    for (free, is_kept) in [(0, false), (BALLAST + SEGMENT_BYTES - 1, false), (BALLAST + SEGMENT_BYTES, true)]
    {
        site.disk.limit(site.disk.used_bytes() + free);
        site.wait();
        assert!(site.serve().iter().all(Result::is_ok), "own works go into the segment that is there");
        assert_eq!((site.cores.ballast.is_kept(), site.send()), (is_kept, is_kept), "{free} bytes free");
    }
    site.check();
}

fn id_bytes(site: &Site) -> u64 {
    site.disk
        .list(Path::new("/data"))
        .expect("lists")
        .into_iter()
        .find(|file| file.name == "journal.id")
        .map_or(0, |file| file.bytes)
}

/// What the last run acknowledged can be worked off.
#[test]
fn a_start_on_a_full_disk_takes_nothing_and_does_its_own_work() {
    let mut site = Site::new(AMPLE);
    (0..7).for_each(|_| assert!(site.send()));
    for core in [&mut site.cores.readings, &mut site.cores.results, &mut site.cores.dead_letters] {
        core.close();
    }
    site.disk.limit(site.disk.used_bytes());
    site.restart();
    assert_eq!(site.metrics.disk_ballast_released.get(), 1);
    assert!(site.serve().iter().all(Result::is_ok) && !site.send());
    site.check();
    // The next start finds no ballast, and messages wait for room all the same.
    site.disk.limit(site.disk.used_bytes() + BALLAST / 2);
    site.restart();
    assert!(site.serve().iter().all(Result::is_ok) && !site.send());
    site.disk.limit(AMPLE);
    site.wait();
    assert!(site.serve().iter().all(Result::is_ok) && site.send());
    site.check();
}

#[test]
fn a_file_that_only_looks_large_is_given_its_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(NAME);
    let file = std::fs::File::create(&path).expect("creates");
    file.set_len(1 << 20).expect("lengthens");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let sizes = Sizes { ballast_bytes: 1 << 20, reserve_bytes: 0 };
    let ballast = Ballast::find(&disk, dir.path(), sizes, &Arc::new(Metrics::new()));
    let room = || std::fs::metadata(&path).expect("is there").blocks() * 512;
    assert_eq!((ballast.is_kept(), room()), (true, 0));
    ballast.settle();
    assert!(ballast.is_kept() && room() >= 1 << 20, "{} bytes of room", room());
    assert!(!ballast.release("test", &io::ErrorKind::PermissionDenied.into()) && ballast.is_kept());
    assert!(ballast.release("test", &io::ErrorKind::StorageFull.into()) && !path.exists());
    ballast.restore(Instant::now() + Duration::from_secs(1));
    assert!(ballast.is_kept() && room() >= 1 << 20);
}
