//! Damaged media: one flipped bit, one cut, one zeroed sector in one file of a data directory.
//!
//! A run is recorded row by row (the file sink of the undamaged site). Each image is a copy of its data directory
//! with one fault, opened by the real daemon with a new sink that reads everything from the beginning. What that
//! sink gets is compared by id with what was there:
//!
//! - nothing may be there that was not, or twice, or changed;
//! - what is missing must have stood in the damaged frames, and somebody must have complained;
//! - a daemon that does not start says why.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use forebay::journal::frame::{HEADER_BYTES, decode_header};
use forebay::model::ResultId;
use serde_json::Value;

use super::accounts::{CHECK, PIPELINE, Reading};
use super::clients::{Fleet, Running};
use super::{Dice, Extent, Failures, until_settled};
use crate::harness::{BASE, Site, eventually, http, tool};

const FLEET: Fleet = Fleet { mqtt: 2, mqtt_rate: 250.0, coap: 1, http: 1, slow_rate: 50.0 };
/// Within `tests/run`.
const IMAGES: usize = 25;
const STINTS: usize = 4;
const STINT_MS: (u64, u64) = (700, 1_200);
const SECTOR_BYTES: u64 = 4096;
/// In percent of the faults in a segment: in the header of a frame, which is a small part of it.
const IN_HEADER: u64 = 30;
/// Who a journal is cannot be guessed.
const MAY_REFUSE: [&str; 1] = ["journal.id"];
/// What is done to a file.
#[derive(Clone, Debug)]
enum Fault {
    Flip { at: u64, bit: u8 },
    Cut { at: u64 },
    Zero { from: u64, to: u64 },
}

impl Fault {
    fn draw(bytes: &[u8], frames: &[Frame], dice: &mut Dice) -> Self {
        let length = bytes.len() as u64;
        let at = dice.below(length);
        match dice.below(3) {
            0 if !frames.is_empty() && dice.chance(IN_HEADER) => {
                let frame = &frames[dice.below(frames.len() as u64) as usize];
                Self::Flip {
                    at: frame.place.start + dice.below(HEADER_BYTES as u64),
                    bit: dice.below(8) as u8,
                }
            }
            0 => Self::Flip { at, bit: dice.below(8) as u8 },
            1 => Self::Cut { at },
            _ => {
                let from = at / SECTOR_BYTES * SECTOR_BYTES;
                Self::Zero { from, to: (from + SECTOR_BYTES).min(length) }
            }
        }
    }

    fn apply(&self, path: &Path, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        match *self {
            Self::Flip { at, bit } => file.write_all_at(&[bytes[at as usize] ^ 1 << bit], at).unwrap(),
            Self::Cut { at } => file.set_len(at).unwrap(),
            Self::Zero { from, to } => file.write_all_at(&vec![0; (to - from) as usize], from).unwrap(),
        }
    }

    fn place(&self) -> Range<u64> {
        match *self {
            Self::Flip { at, .. } => at..at + 1,
            Self::Cut { at } => at..u64::MAX,
            Self::Zero { from, to } => from..to,
        }
    }
}

/// A frame of a segment: where it stands and which records it holds.
struct Frame {
    place: Range<u64>,
    records: Range<u64>,
}

/// The frames of a file, which has none if it is no segment.
fn frames(path: &Path, bytes: &[u8]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    if path.extension().is_none_or(|extension| extension != "seg") {
        return frames;
    }
    let mut at = 0;
    while let Some(raw) = bytes.get(at..at + HEADER_BYTES)
        && let Ok(header) = decode_header(raw.try_into().unwrap())
    {
        let end = at + header.frame_bytes() as usize;
        frames.push(Frame { place: at as u64..end as u64, records: header.base.0..header.end().0 });
        at = end;
    }
    frames
}

/// An undamaged site, stopped, and every row it brought out.
struct Original {
    site: Site,
    rows: HashMap<String, Value>,
    journal: ResultId,
}

impl Original {
    fn new(dice: &mut Dice) -> Self {
        let mut site = Site::run(PIPELINE);
        let devices = Running::start(&site, FLEET, None);
        for stint in 0..STINTS {
            thread::sleep(dice.millis(STINT_MS.0, STINT_MS.1));
            let answer = http::post(site.addr("http"), "faults/x/telemetry", "", b"no JSON");
            assert_eq!(answer.status, 400, "{answer:?}");
            if stint % 2 == 0 {
                site.kill9()
            } else {
                site.stop()
            }
            site.start();
        }
        let sent: u64 = devices.finish().values().sum();
        let readings = || (site.rows("reading").len() as u64 >= sent).then_some(());
        eventually("every reading is delivered", readings);
        if dice.chance(50) {
            site.kill9()
        } else {
            site.stop()
        }
        let id = fs::read_to_string(site.path("data/journal/journal.id")).unwrap();
        let rows = site.rows_in("rows.ndjson").into_iter().map(|row| (id_of(&row), row)).collect();
        Self { site, rows, journal: ResultId::EMPTY.with_text(id.split_ascii_whitespace().next().unwrap()) }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.site.path("data")];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    open.push(entry.path());
                } else if entry.file_name() == "ballast" {
                    // Room without content: there is nothing to damage.
                } else if kind.is_file() && entry.metadata().unwrap().len() > 0 {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }
}

fn id_of(row: &Value) -> String {
    row["id"].as_str().unwrap().to_owned()
}

/// How an image came out, other than wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Nothing is missing.
    Harmless,
    /// Something is missing or came again, and somebody complained.
    Detected,
    /// The daemon does not start, and says why.
    Refused,
}

/// One image: a copy of the original with one fault.
struct Damaged<'a> {
    original: &'a Original,
    site: Site,
    /// Rows that stood in the damaged frames: ids of readings, and how many rows of the other streams.
    readings: HashSet<String>,
    others: u64,
    summary: String,
    family: &'static str,
}

impl<'a> Damaged<'a> {
    fn new(original: &'a Original, dice: &mut Dice) -> Self {
        let files = original.files();
        let path = &files[dice.below(files.len() as u64) as usize];
        let bytes = fs::read(path).unwrap();
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        let frames = frames(path, &bytes);
        let fault = Fault::draw(&bytes[..written], &frames, dice);
        let site = Site::with_config(&format!("{BASE}{PIPELINE}{CHECK}"));
        let mut copy = Command::new("cp");
        copy.args(["-r", "--sparse=always"]).arg(original.site.path("data")).arg(site.path("data"));
        tool::succeed(&mut copy);
        let inside = path.strip_prefix(original.site.path("")).unwrap();
        fault.apply(&site.path(inside.to_str().unwrap()), &bytes);
        let place = fault.place();
        let is_hit = |frame: &&Frame| frame.place.start < place.end && place.start < frame.place.end;
        let hit: Vec<u64> = frames.iter().filter(is_hit).flat_map(|frame| frame.records.clone()).collect();
        let is_readings = inside.to_string_lossy().contains("/readings/");
        let id = |offset: &u64| original.journal.with_number(*offset).to_string();
        Self {
            original,
            site,
            readings: if is_readings { hit.iter().map(id).collect() } else { HashSet::new() },
            others: if is_readings { 0 } else { hit.len() as u64 },
            summary: format!("{} {fault:?}", inside.display()),
            family: family(inside),
        }
    }

    fn check(&mut self) -> Result<Outcome, String> {
        let outcome = self.open();
        let log = self.site.log();
        match log.lines().find(|line| line.contains("panicked at") && !line.contains("/sled-")) {
            Some(line) => Err(format!("a panic: {line}")),
            None => outcome,
        }
    }

    fn open(&mut self) -> Result<Outcome, String> {
        if let Err(status) = self.site.try_start() {
            let says_why =
                self.site.log().contains(r#""level":"ERROR""#) && MAY_REFUSE.contains(&self.family);
            return if says_why { Ok(Outcome::Refused) } else { Err(format!("ended at start: {status}")) };
        }
        let after = Reading::new("after", 0);
        let answer = http::post(self.site.addr("http"), &after.topic(), "", after.payload().as_bytes());
        if answer.status != 202 {
            return Err(format!("{answer:?}"));
        }
        until_settled(&self.site, "check.ndjson", || self.compare() == Ok(Outcome::Harmless));
        self.site.stop();
        let old_sink = self.site.rows_in("rows.ndjson");
        if !old_sink.iter().any(|row| row["sensor"] == "after-0") {
            return Err("the sink that was there before lacks what was sent afterwards".into());
        }
        self.compare()
    }

    /// What the new sink got against what there was.
    fn compare(&self) -> Result<Outcome, String> {
        let mut found = HashMap::new();
        let mut again = 0;
        for row in self.site.rows_in("check.ndjson") {
            again += usize::from(found.insert(id_of(&row), row).is_some());
        }
        let original = &self.original.rows;
        let is_new =
            |(id, row): &(&String, &Value)| row["sensor"] != "after-0" && original.get(*id) != Some(row);
        if let Some((_, row)) = found.iter().find(is_new) {
            return Err(format!("a row that was not there: {row}"));
        }
        if !found.values().any(|row| row["sensor"] == "after-0") {
            return Err("what was sent afterwards is missing".into());
        }
        let missing: Vec<&Value> =
            original.iter().filter(|(id, _)| !found.contains_key(*id)).map(|(_, row)| row).collect();
        let (readings, others): (Vec<&Value>, Vec<&Value>) =
            missing.iter().partition(|row| row["type"] == "reading");
        if let Some(row) = readings.iter().find(|row| !self.readings.contains(row["id"].as_str().unwrap())) {
            return Err(format!(
                "{} readings missing, and this one's frame was whole: {row}",
                readings.len()
            ));
        }
        if others.len() as u64 > self.others {
            return Err(format!(
                "{} rows missing, {} were damaged: {}",
                others.len(),
                self.others,
                others[0]
            ));
        }
        if missing.is_empty() && again == 0 {
            return Ok(Outcome::Harmless);
        }
        let summary = format!("{} rows missing, {again} again", missing.len());
        match self.has_complained() {
            true => Ok(Outcome::Detected),
            false => Err(format!("silently {summary}")),
        }
    }

    fn has_complained(&self) -> bool {
        let is_complaint = |line: &str| {
            line.contains(r#""level":"ERROR""#)
                || line.contains(r#""level":"WARN""#) && !line.contains("idle is off")
        };
        self.site.log().lines().any(is_complaint)
    }
}

/// What kind of file it is, for the summary.
fn family(path: &Path) -> &'static str {
    let text = path.to_string_lossy();
    let families = ["/readings/", "/results/", "/dead-letters/", "/messages/", "journal.id", "data/state"];
    families.into_iter().find(|family| text.contains(family)).unwrap_or("others")
}

#[test]
fn damage_is_harmless_or_detected() {
    let extent = Extent::of_run(IMAGES);
    eprintln!("damage: seed {}", extent.seed);
    let mut dice = Dice::new(extent.seed);
    let (mut tally, mut failures, mut images) = (BTreeMap::new(), Failures::default(), 0);
    while extent.goes_on(images) && failures.are_few() {
        let original = Original::new(&mut dice);
        let end = images + IMAGES_OF_ORIGINAL;
        while images < end && extent.goes_on(images) && failures.are_few() {
            let mut damaged = Damaged::new(&original, &mut dice);
            let outcome = damaged.check();
            if let Ok(outcome) = outcome {
                *tally.entry((damaged.family, outcome)).or_insert(0) += 1;
            }
            failures.note(outcome.map(|_| ()), &damaged.summary, &damaged.site);
            images += 1;
        }
    }
    eprintln!("damage: {images} images; {}; {tally:?}", failures.summary());
    failures.assert_none(extent.seed);
}

/// Images of one original, in a long run.
const IMAGES_OF_ORIGINAL: usize = 250;
