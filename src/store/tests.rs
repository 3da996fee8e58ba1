//! The store over real sled and over memory that breaks on purpose.

use std::sync::Arc;
use std::time::Duration;

use super::memory::MemoryDisk;
use super::pieces::PIECE_BYTES_MAX;
use super::*;

mod failing;
mod media;
mod restoring;

/// Whether there is time for everything: `FOREBAY_FAULTS=long`.
fn is_long() -> bool {
    std::env::var("FOREBAY_FAULTS").is_ok_and(|how| how == "long")
}

/// A store in memory, with its manifest and dumps in a directory.
struct Site {
    dir: tempfile::TempDir,
    disk: MemoryDisk,
    metrics: Arc<Metrics>,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir, disk: MemoryDisk::default(), metrics: Arc::new(Metrics::new()) }
    }

    fn state_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    fn open(&self) -> Result<Store, StoreError> {
        let setup = Setup { dir: self.state_dir(), journal: "j".into(), metrics: self.metrics.clone() };
        let home = Home::on(Arc::new(self.disk.clone()), setup, Duration::from_millis(200));
        Store::over(home, Manifest::read(&self.state_dir())?)
    }

    /// Opens and says how often stores were set aside so far.
    fn reopened(&self) -> (Store, u64) {
        let store = self.open().expect("opens");
        (store, self.metrics.store_damaged.get())
    }

    /// What a power cut leaves of it, with the first `survivors` batches since the last flush.
    fn power_cut(&mut self, survivors: usize) {
        self.disk = self.disk.power_cut(survivors);
    }
}

fn key(key: &str) -> StateKey<'_> {
    StateKey { lane: "main", keying: 7, key }
}

fn put(store: &Store, name: &str, state: &[u8], due: &[u8]) -> Result<(), StoreError> {
    store.put_states([StateRow { key: key(name), state, due }].into_iter())
}

fn at(offset: u64) -> Mark {
    Mark::from([(StreamName::Readings, Offset(offset))])
}

/// Every state with its due row, and every cursor asked for.
fn contents(store: &Store, cursors: &[&str]) -> Vec<(String, Vec<u8>)> {
    let keys = store.keys("main").expect("reads");
    let states = keys
        .iter()
        .map(|(_, name)| (name.clone(), store.state(&key(name)).expect("reads").expect("a key has a state")));
    let dues = store.dues("main").expect("reads");
    let dues = dues.into_iter().map(|(_, name, due)| (format!("due {name}"), due));
    let cursors =
        cursors.iter().filter_map(|name| Some(((*name).to_owned(), store.cursor(name).expect("reads")?)));
    states.chain(dues).chain(cursors).collect()
}

fn value(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

const SIZES: [usize; 5] = [0, 1, PIECE_BYTES_MAX - 6, PIECE_BYTES_MAX, 3 * PIECE_BYTES_MAX + 5];

#[test]
fn values_of_any_size_come_back_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state");
    {
        let store = Store::open(&path).expect("opens");
        for size in SIZES {
            put(&store, &format!("s{size}"), &value(size), b"due").expect("writes");
        }
        store.put_cursor("lane/main", b"c").expect("writes");
    }
    let store = Store::open(&path).expect("opens again");
    for size in SIZES {
        assert_eq!(store.state(&key(&format!("s{size}"))).expect("reads"), Some(value(size)));
    }
    let mut names: Vec<_> = SIZES.iter().map(|size| (7, format!("s{size}"))).collect();
    names.sort();
    let dues: Vec<_> = names.iter().map(|(keying, name)| (*keying, name.clone(), b"due".to_vec())).collect();
    assert_eq!(store.keys("main").expect("reads"), names);
    assert_eq!(store.dues("main").expect("reads"), dues);
    assert_eq!(store.keys("mai").expect("reads"), []);
    assert_eq!(store.cursor("lane/main").expect("reads").as_deref(), Some(b"c".as_slice()));
    assert_eq!(store.cursor("lane/other").expect("reads"), None);
}

#[test]
fn only_pieces_that_differ_are_written_and_stale_ones_go() {
    let site = Site::new();
    let store = site.open().expect("opens");
    let mut long = value(3 * PIECE_BYTES_MAX);
    put(&store, "a", &long, b"").expect("writes");
    store.flush().expect("flushes");
    let rows = site.disk.rows();
    *long.last_mut().expect("not empty") ^= 1;
    put(&store, "a", &long, b"").expect("writes");
    // The head holds the checksum; its neighbours stay; the account says that a batch came.
    assert_eq!(site.disk.unflushed_keys(), 3, "head, last piece, account");
    put(&store, "a", &long, b"").expect("writes");
    assert_eq!(site.disk.unflushed_keys(), 3, "nothing new, nothing written");
    put(&store, "a", &[2; 10], b"").expect("writes");
    assert_eq!(site.disk.rows(), rows - 3, "four pieces became one");
    assert_eq!(store.state(&key("a")).expect("reads"), Some(vec![2; 10]));
}

#[test]
fn a_removed_lane_leaves_its_neighbours() {
    let site = Site::new();
    let lanes = ["main", "main+birth-7", "mai"];
    {
        let store = site.open().expect("opens");
        for lane in lanes {
            let keys: Vec<String> = (0..BATCH_KEYS_MAX + 3).map(|n| n.to_string()).collect();
            let key = |key| StateKey { lane, keying: 0, key };
            store
                .put_states(keys.iter().map(|name| StateRow { key: key(name), state: &[1, 2], due: &[3] }))
                .expect("writes");
            store.commit(&format!("lane/{lane}"), &value(20_000), at(5)).expect("writes");
        }
        assert_eq!(store.cursor_names("lane/main").expect("reads"), ["lane/main", "lane/main+birth-7"]);
        store.remove_lane("main", "lane/main").expect("removes");
    }
    let (store, damaged) = site.reopened();
    let counts =
        lanes.map(|lane| (store.keys(lane).expect("reads").len(), store.dues(lane).expect("reads").len()));
    let all = BATCH_KEYS_MAX + 3;
    assert_eq!((damaged, counts), (0, [(0, 0), (all, all), (all, all)]));
    assert_eq!(store.cursor_names("lane/").expect("reads"), ["lane/mai", "lane/main+birth-7"]);
}

#[test]
fn a_removed_sink_does_not_come_back_from_the_log() {
    let site = Site::new();
    {
        let store = site.open().expect("opens");
        for name in ["sink/a", "sink/ab"] {
            store.put_sink(name, &"x".repeat(20_000), at(5)).expect("writes");
        }
        store.remove_sink("sink/a").expect("removes");
        store.remove_sink("sink/none").expect("has nothing to remove");
    }
    let log = std::fs::metadata(site.state_dir().with_extension("sinks")).expect("is there");
    assert!(log.len() > 40_000, "the log still holds both");
    let (store, damaged) = site.reopened();
    assert_eq!((damaged, store.cursor_names("sink/").expect("reads")), (0, vec!["sink/ab".to_owned()]));
    assert_eq!(store.cursor("sink/ab").expect("reads"), Some(vec![b'x'; 20_000]));
}

#[test]
fn a_sinks_commit_outlives_everything_but_the_log() {
    let site = Site::new();
    let store = site.open().expect("opens");
    store.put_sink("sink/a", "1", at(1)).expect("writes");
    store.commit("lane/main", b"c", at(1)).expect("writes");
    store.put_sink("sink/a", "2", at(2)).expect("writes");
    store.put_sink("sink/a", "3", at(3)).expect("writes");
    drop(store);
    // sled is gone, and the log ends in a torn line.
    let path = site.state_dir().with_extension("sinks");
    let log = std::fs::read(&path).expect("reads");
    for (length, cursor) in [(log.len(), "3"), (log.len() - 2, "2"), (0, "1")] {
        std::fs::write(&path, &log[..length]).expect("writes");
        let manifest = Manifest::read(&site.state_dir()).expect("reads").expect("is there");
        assert_eq!(manifest.floor(StreamName::Readings), Offset(cursor.parse().expect("a number")));
        let home = {
            let setup = Setup { dir: site.state_dir(), journal: "j".into(), metrics: site.metrics.clone() };
            Home::on(Arc::new(MemoryDisk::default()), setup, Duration::from_secs(5))
        };
        let saved = std::fs::read(site.state_dir().with_extension("manifest")).expect("reads");
        let store = Store::over(home, Some(manifest)).expect("opens");
        assert_eq!(store.cursor("sink/a").expect("reads").as_deref(), Some(cursor.as_bytes()));
        std::fs::write(site.state_dir().with_extension("manifest"), saved).expect("writes");
    }
}
