//! A store that is not what it was is found out, set aside and restored.

use std::fs;
use std::io;

use super::super::memory::{Failure, Opening};
use super::*;

const CURSORS: [&str; 2] = ["lane/main", "sink/log"];

/// Twenty states, a dump of them, and a sink that went on after it.
fn filled(site: &Site) -> Vec<(String, Vec<u8>)> {
    let store = site.open().expect("opens");
    for n in 0..20 {
        put(&store, &format!("k{n:02}"), &value(n * 700), &[n as u8]).expect("writes");
    }
    store.put_sink("sink/log", "{\"at\":5}", at(5)).expect("writes");
    store.commit("lane/main", b"c1", at(10)).expect("writes");
    store.dump().expect("dumps");
    store.put_sink("sink/log", "{\"at\":7}", at(7)).expect("writes");
    store.commit("lane/main", b"c1", at(10)).expect("writes");
    contents(&store, &CURSORS)
}

#[test]
fn every_row_that_is_lost_changed_or_stale_is_found_and_the_dump_restored() {
    let rows = {
        let site = Site::new();
        filled(&site);
        site.disk.rows()
    };
    let lose = |value: &mut Option<Vec<u8>>| *value = None;
    let flip = |value: &mut Option<Vec<u8>>| {
        let value = value.as_mut().expect("there");
        match value.last_mut() {
            Some(byte) => *byte ^= 4,
            None => value.push(0),
        }
    };
    for row in 0..rows {
        for change in [lose, flip] {
            let site = Site::new();
            let before = filled(&site);
            site.disk.damage(row, change);
            let (store, damaged) = site.reopened();
            assert_eq!((damaged, site.disk.times_set_aside()), (1, 1), "row {row}");
            assert_eq!(contents(&store, &CURSORS), before, "row {row}");
            drop(store);
            assert_eq!(site.reopened().1, 1, "restored once: row {row}");
        }
    }
}

#[test]
fn a_store_that_went_back_in_time_is_found_out() {
    let site = Site::new();
    let store = site.open().expect("opens");
    put(&store, "a", b"1", b"").expect("writes");
    store.commit("lane/main", b"c1", at(10)).expect("writes");
    let old = site.disk.power_cut(0);
    put(&store, "a", b"2", b"").expect("writes");
    store.commit("lane/main", b"c2", at(20)).expect("writes");
    assert_eq!(
        Manifest::read(&site.state_dir()).expect("reads").expect("is there").floor(StreamName::Readings),
        Offset(20)
    );
    let site = Site { disk: old, ..site };
    let (store, damaged) = site.reopened();
    assert_eq!(
        (damaged, store.cursor("lane/main").expect("reads")),
        (1, None),
        "no dump: empty, the journal knows"
    );
}

#[test]
fn panics_hangs_and_condemned_stores_are_restored_and_a_full_disk_only_waits() {
    for opening in [Opening::Panics, Opening::Hangs] {
        let site = Site::new();
        let before = filled(&site);
        site.disk.opening(opening);
        let (store, damaged) = site.reopened();
        assert_eq!((damaged, contents(&store, &CURSORS)), (1, before), "{opening:?}");
    }
    let site = Site::new();
    let before = filled(&site);
    site.disk.opening(Opening::IsFull);
    assert!(matches!(site.open(), Err(StoreError::Full(_))));
    site.disk.heal();
    let (store, damaged) = site.reopened();
    assert_eq!((damaged, contents(&store, &CURSORS)), (0, before));
}

#[test]
fn damage_found_while_running_stops_all_use_but_sinks_commits_until_it_is_mended() {
    let site = Site::new();
    let before = filled(&site);
    let store = site.open().expect("opens");
    // A row in the middle: a state.
    site.disk.damage(site.disk.rows() / 2, |value| value.as_mut().expect("there")[0] ^= 0x40);
    let keys = store.keys("main").expect("reads");
    let found = keys.iter().find_map(|(_, name)| store.state(&key(name)).err()).expect("one is damaged");
    assert!(found.is_damage(), "{found}");
    assert!(store.flush().expect_err("not used any more").is_damage());
    let damage = store.damage().expect("it says so");
    assert!(damage.contains("row"), "{damage}");
    // The next start does not use it either, nor does a start in the same process.
    let (next, damaged) = Site {
        dir: tempfile::tempdir().expect("a directory"),
        ..Site { disk: site.disk.power_cut(0), ..Site::new() }
    }
    .reopened();
    assert_eq!((damaged, next.keys("main").expect("reads").len()), (1, 0));
    store.put_sink("sink/log", "{\"at\":8}", at(8)).expect("is kept outside");
    assert_eq!((store.found(), store.mend().expect("is mended")), (Found::Whole, Found::Restored));
    let mut after = contents(&store, &CURSORS);
    assert_eq!(after.pop(), Some(("sink/log".to_owned(), b"{\"at\":8}".to_vec())));
    assert_eq!((store.damage(), after.as_slice()), (None, &before[..before.len() - 1]));
    assert_eq!((store.found(), site.disk.times_set_aside()), (Found::Restored, 1));
}

#[test]
fn an_engine_that_panics_is_damage_and_one_that_was_closed_is_opened_anew() {
    let site = Site::new();
    let before = filled(&site);
    let store = site.open().expect("opens");
    site.disk.fail(site.disk.operations(), Failure::Once(io::ErrorKind::Other));
    assert!(matches!(store.flush(), Err(StoreError::Io(_))));
    assert_eq!((store.mend().expect("opens"), contents(&store, &CURSORS)), (Found::Whole, before.clone()));
    let panicked = store.put_states(std::iter::from_fn(|| panic!("planted")));
    assert!(panicked.expect_err("it panicked").is_damage());
    assert_eq!(store.damage().as_deref(), Some("using it panicked"));
    assert_eq!((store.mend().expect("is mended"), contents(&store, &CURSORS)), (Found::Restored, before));
}

#[test]
fn a_restore_that_is_cut_short_is_not_taken_for_the_store() {
    let site = Site::new();
    let before = filled(&site);
    let operations = {
        let site = copy(&site);
        site.disk.damage(3, |value| *value = None);
        let start = site.disk.operations();
        site.open().expect("opens");
        site.disk.operations() - start
    };
    for cut in 0..operations {
        let site = copy(&site);
        site.disk.damage(3, |value| *value = None);
        site.disk.fail(site.disk.operations() + cut, Failure::FromNowOn(io::ErrorKind::Other));
        if site.open().is_ok() {
            continue;
        }
        // Everything reached the disk, or nothing did.
        for survivors in [0, usize::MAX] {
            let site = Site { disk: site.disk.power_cut(survivors), ..copy(&site) };
            site.disk.heal();
            let (store, _) = site.reopened();
            assert_eq!(contents(&store, &CURSORS), before, "cut at {cut}");
        }
    }
}

/// The same store on another disk, with copies of its files.
fn copy(site: &Site) -> Site {
    let copy = Site { disk: site.disk.power_cut(0), ..Site::new() };
    for entry in walk(site.dir.path()) {
        let to = copy.dir.path().join(entry.strip_prefix(site.dir.path()).expect("is in it"));
        fs::create_dir_all(to.parent().expect("has one")).expect("creates");
        fs::copy(entry, to).expect("copies");
    }
    copy
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("reads") {
        let path = entry.expect("reads").path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn damaged_dumps_are_passed_over_and_the_newest_two_kept() {
    let site = Site::new();
    let store = site.open().expect("opens");
    for n in 1..=3_u8 {
        put(&store, "a", &[n], b"").expect("writes");
        store.commit("lane/main", &[n], at(n.into())).expect("writes");
        store.dump().expect("dumps");
        assert_eq!(store.dumped().expect("there is one").get("lane/main"), Some(&at(n.into())));
    }
    drop(store);
    let dumps = site.dir.path().join("dumps");
    let newest = fs::read(dumps.join("dump-3")).expect("is kept");
    let mut names: Vec<_> =
        walk(&dumps).iter().map(|path| path.file_name().expect("a name").to_owned()).collect();
    names.sort();
    assert_eq!(names, ["dump-2", "dump-3"]);
    for at in 0..newest.len() * 2 {
        // First every byte changed, then every length.
        let bad = match at.checked_sub(newest.len()) {
            None => {
                newest.iter().enumerate().map(|(n, byte)| if n == at { byte ^ 1 } else { *byte }).collect()
            }
            Some(length) => newest[..length].to_vec(),
        };
        fs::write(dumps.join("dump-3"), bad).expect("writes");
        let site = copy(&site);
        let store = Store::over(home(&site), None).expect("opens");
        drop(store);
        site.disk.damage(0, |value| *value = None);
        let store = Store::over(home(&site), None).expect("opens");
        assert_eq!(store.state(&key("a")).expect("reads"), Some(vec![2]), "the older one: {at}");
        assert_eq!(
            store.find_dump().expect("reads").expect("is there").get("lane/main"),
            Some(&super::at(2))
        );
    }
}

fn home(site: &Site) -> Home {
    let setup = Setup { dir: site.state_dir(), journal: "j".into(), metrics: site.metrics.clone() };
    Home::on(Arc::new(site.disk.clone()), setup, Duration::from_secs(5))
}

#[test]
fn without_a_manifest_an_empty_store_is_filled_from_the_dump_of_the_same_journal_only() {
    let site = Site::new();
    let before = filled(&site);
    fs::remove_file(site.state_dir().with_extension("manifest")).expect("removes");
    let other = Site { disk: MemoryDisk::default(), ..copy(&site) };
    let (store, damaged) = other.reopened();
    let before: Vec<_> = before.into_iter().filter(|(name, _)| name != "sink/log").collect();
    assert_eq!((damaged, contents(&store, &["lane/main"])), (1, before));
    let other = Site { disk: MemoryDisk::default(), ..copy(&site) };
    let setup = Setup { dir: other.state_dir(), journal: "another".into(), metrics: other.metrics.clone() };
    let home = Home::on(Arc::new(other.disk.clone()), setup, Duration::from_secs(5));
    assert_eq!(Store::over(home, None).expect("opens").keys("main").expect("reads"), []);
}

#[test]
fn a_newer_format_is_left_alone() {
    let site = Site::new();
    filled(&site);
    let path = site.state_dir().with_extension("manifest");
    let text = fs::read_to_string(&path).expect("reads");
    let json = text.lines().next().expect("a line").replacen("\"format\":1", "\"format\":2", 1);
    fs::write(&path, format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes()))).expect("writes");
    let operations = site.disk.operations();
    assert!(site.open().err().expect("does not open").is_newer());
    assert_eq!(site.disk.operations(), operations);
    // A manifest that is damaged is no reason to distrust the store.
    fs::write(&path, json).expect("writes");
    assert_eq!(site.reopened().1, 0);
}

#[test]
fn beginnings_are_kept_until_there_is_a_cursor() {
    let site = Site::new();
    let dir = site.state_dir();
    let readers = |names: &[(&str, Past)]| -> Vec<Reader> {
        names.iter().map(|(name, past)| Reader { name: (*name).to_owned(), past: *past }).collect()
    };
    let new =
        readers(&[("lane/main", Past::Unknown), ("lane/old", Past::HasRun), ("sink/log", Past::Unknown)]);
    Manifest::default().begin_at(&dir, &new, &at(3)).expect("saves");
    let mut manifest = Manifest::read(&dir).expect("reads").expect("is there");
    manifest.begin_at(&dir, &new, &at(9)).expect("saves");
    let begins = |store: &Store| {
        ["lane/main", "lane/old", "sink/log"].map(|name| store.begin(name, StreamName::Readings))
    };
    let store = site.open().expect("opens");
    assert_eq!(begins(&store), [Some(Offset(3)), None, Some(Offset(3))]);
    store.put_sink("sink/log", "{}", at(5)).expect("writes");
    store.commit("lane/main", b"c", at(6)).expect("writes");
    drop(store);
    let mut manifest = Manifest::read(&dir).expect("reads").expect("is there");
    manifest.begin_at(&dir, &readers(&[("sink/log", Past::Unknown)]), &at(9)).expect("saves");
    assert_eq!(
        begins(&site.open().expect("opens")),
        [None, None, None],
        "gone with its lane; a cursor is better"
    );
}
