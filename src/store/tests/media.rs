//! Real sled on a bad medium: bits flipped and ends cut off in every file.
//!
//! Afterwards either everything is right, or the store was set aside and the dump restored. `FOREBAY_FAULTS=long`
//! runs thousands of images.

use std::fs;
use std::path::PathBuf;

use super::super::sled::SledDir;
use super::*;

const QUICK: u64 = 150;
const LONG: u64 = 4_000;
/// Files that a directory of sled's may hold are damaged in turn.
const SEED: u64 = 0x5eed_f0e5;

fn random(state: &mut u64) -> u64 {
    // xorshift64*, <https://www.jstatsoft.org/article/view/v008i14>
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

fn open(dir: &Path) -> (Store, u64) {
    let metrics = Arc::new(Metrics::new());
    let state = dir.join("state");
    let setup = Setup { dir: state.clone(), journal: "j".into(), metrics: metrics.clone() };
    let home = Home::on(Arc::new(SledDir(state.clone())), setup, Duration::from_secs(20));
    let store = Store::over(home, Manifest::read(&state).expect("reads")).expect("opens");
    (store, metrics.store_damaged.get())
}

const CURSORS: [&str; 1] = ["lane/main"];

type Contents = Vec<(String, Vec<u8>)>;

/// A store that was stopped and started, went on after its dump and was then stopped: what the dump holds, and what
/// the store holds.
fn make(dir: &Path) -> (Contents, Contents) {
    let fill = |store: &Store, round: usize| {
        for n in 0..200 {
            put(store, &format!("k{n:03}"), &value(20 + n * 5 + round), &[round as u8; 9]).expect("writes");
        }
        store.commit("lane/main", &[round as u8], at(round as u64)).expect("writes");
    };
    let dumped = {
        let (store, _) = open(dir);
        fill(&store, 0);
        store.dump().expect("dumps");
        contents(&store, &CURSORS)
    };
    let (store, damaged) = open(dir);
    assert_eq!(damaged, 0);
    fill(&store, 1);
    (dumped, contents(&store, &CURSORS))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("reads") {
        let path = entry.expect("reads").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let to = to.join(file.strip_prefix(from).expect("is in it"));
        fs::create_dir_all(to.parent().expect("has one")).expect("creates");
        fs::copy(file, to).expect("copies");
    }
}

#[test]
fn flipped_bits_and_cut_files_are_harmless_or_found() {
    let images = if is_long() { LONG } else { QUICK };
    let whole = tempfile::tempdir().expect("a directory");
    let (dumped, stored) = make(whole.path());
    let (mut seed, mut found, mut files_hit) = (SEED, 0, std::collections::BTreeSet::new());
    for number in 0..images {
        let image = tempfile::tempdir().expect("a directory");
        copy(whole.path(), image.path());
        let targets = files(&image.path().join("state"));
        let target = &targets[(random(&mut seed) % targets.len() as u64) as usize];
        files_hit.insert(
            target.file_name().expect("a name").to_string_lossy().split('.').next().map(str::to_owned),
        );
        let what = hurt(target, &mut seed);
        let (store, damaged) = open(image.path());
        let contents = contents(&store, &CURSORS);
        match damaged {
            0 => assert!(contents == stored, "image {number}, silent loss: {what}"),
            _ => assert!(contents == dumped, "image {number}, not as dumped: {what}"),
        }
        found += damaged;
    }
    eprintln!("{images} images: {found} set aside and restored, the others harmless; files {files_hit:?}");
    assert!(found > images / 10, "only {found} of {images} hurt anything");
    assert!(files_hit.len() >= 3, "{files_hit:?}");
}

/// Flips a bit, cuts the end off, or zeroes a sector.
fn hurt(file: &Path, seed: &mut u64) -> String {
    let mut bytes = fs::read(file).expect("reads");
    let at = (random(seed) % bytes.len().max(1) as u64) as usize;
    let what = match random(seed) % 3 {
        _ if bytes.is_empty() => {
            bytes.push(1);
            "a byte too many"
        }
        0 => {
            bytes[at] ^= 1 << (random(seed) % 8);
            "a bit flipped"
        }
        1 => {
            bytes.truncate(at);
            "cut"
        }
        _ => {
            let sector = at / 512 * 512;
            let end = bytes.len().min(sector + 512);
            bytes[sector..end].fill(0);
            "a sector zeroed"
        }
    };
    fs::write(file, bytes).expect("writes");
    format!("{what} at {at} of {}", file.display())
}
