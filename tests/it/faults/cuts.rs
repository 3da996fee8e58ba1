//! Power cuts: a recorded run, and from it disks as a power cut at any moment could have left them.
//!
//! The recording holds starts, a clean stop, kills and a kill during recovery. Each image is opened by the real
//! daemon. It must serve, lose nothing acknowledged, and bring the file sink and a new sink that reads the journal from
//! its beginning to exactly the rows that the readings on disk demand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::accounts::{self, CHECK, PIPELINE, Reading};
use super::clients::{Fleet, Running};
use super::image::Image;
use super::recording::{self, Node, Op};
use super::{Dice, Extent, Failures, until_settled};
use crate::harness::{BASE, Site, http};

/// Not fast: what matters is how many different moments there are.
const FLEET: Fleet = Fleet { mqtt: 2, mqtt_rate: 120.0, coap: 1, http: 1, slow_rate: 30.0 };
/// Within `tests/run`.
const IMAGES: usize = 30;
/// Images of one recording, in a long run.
const IMAGES_OF_RECORDING: usize = 500;
/// How long the daemon runs between its ends, in milliseconds.
const RUN_MS: (u64, u64) = (1_000, 2_500);
/// Long enough for a checkpoint of a running lane.
const CHECKPOINT: Duration = Duration::from_secs(33);
/// A run that is over, its operations, and the file of its sink.
struct Recorded {
    site: Site,
    ops: Vec<Op>,
    rows: Option<Node>,
}

impl Recorded {
    fn new(recorder: &Path, dice: &mut Dice, is_long: impl Fn() -> bool) -> Self {
        let mut site = Site::with_config(&format!("{BASE}{PIPELINE}"));
        let log = recording::record(&mut site, recorder);
        let diary = recording::diary(&log);
        site.start();
        let devices = Running::start(&site, FLEET, Some(diary));
        thread::sleep(dice.millis(RUN_MS.0, RUN_MS.1));
        site.stop();
        site.start();
        thread::sleep(if is_long() { CHECKPOINT } else { dice.millis(RUN_MS.0, RUN_MS.1) });
        site.kill9();
        site.spawn();
        thread::sleep(dice.millis(5, 150));
        site.kill9();
        site.start();
        thread::sleep(dice.millis(RUN_MS.0, RUN_MS.1));
        devices.finish();
        site.kill9();
        let ops = recording::read(&site, &log);
        fs::remove_file(log).unwrap();
        eprintln!("cuts: recorded {}", recording::summary(&ops));
        let rows = recording::last_node(&ops, "rows.ndjson");
        Self { site, ops, rows }
    }

    fn rows_file(&self) -> PathBuf {
        self.site.path("rows.ndjson")
    }
}

/// What became of the images.
#[derive(Debug, Default)]
struct Outcomes {
    images: usize,
    acknowledged: u64,
    failures: Failures,
}

impl Outcomes {
    fn goes_on(&self, extent: Extent) -> bool {
        extent.goes_on(self.images) && self.failures.are_few()
    }

    /// Opens one image.
    fn check(&mut self, recorded: &Recorded, dice: &mut Dice) {
        let cut = moment(&recorded.ops, dice);
        let image = Image::new(&recorded.ops, cut, dice);
        let mut site = Site::with_config(&format!("{BASE}{PIPELINE}{CHECK}"));
        let at_home = recorded.rows_file();
        image.build(&site.path(""), recorded.rows.map(|node| (node, &*at_home)), dice);
        let acknowledged = image.acknowledged(&FLEET.names());
        self.images += 1;
        self.acknowledged += acknowledged.values().sum::<u64>();
        let outcome = open(&mut site, &acknowledged);
        self.failures.note(outcome, &image.summary(), &site);
        if !at_home.exists() {
            fs::rename(site.path("rows.ndjson"), at_home).unwrap();
        }
    }
}

/// The daemon must serve, take a message, end well, and have brought everything out.
fn open(site: &mut Site, acknowledged: &BTreeMap<String, u64>) -> Result<(), String> {
    site.try_start().map_err(|status| format!("ended at start: {status}"))?;
    let after = Reading::new("after", 0);
    let answer = http::post(site.addr("http"), &after.topic(), "", after.payload().as_bytes());
    if answer.status != 202 {
        return Err(format!("{answer:?}"));
    }
    let mut expected = acknowledged.clone();
    expected.insert("after".into(), 1);
    let check = |site: &Site| {
        ["rows.ndjson", "check.ndjson"].iter().try_for_each(|file| {
            accounts::check_exact(&site.rows_in(file), &expected).map_err(|what| format!("{file}: {what}"))
        })
    };
    until_settled(site, "check.ndjson", || check(site).is_ok());
    site.stop();
    check(site)?;
    if site.log().contains("panicked") { Err("a panic in the log".into()) } else { Ok(()) }
}

/// A moment of the recording: half of them just after an acknowledgement.
fn moment(ops: &[Op], dice: &mut Dice) -> usize {
    let cut = dice.below(ops.len() as u64) as usize;
    let next = ops[cut..].iter().position(|op| matches!(op, Op::Acknowledged { .. }));
    if dice.chance(50) { cut + next.map_or(0, |next| next + 1) } else { cut }
}

#[test]
fn power_cuts_lose_nothing_acknowledged() {
    let extent = Extent::of_run(IMAGES);
    let Some(recorder) = recording::recorder() else { return };
    eprintln!("cuts: seed {}", extent.seed);
    let mut dice = Dice::new(extent.seed);
    let mut outcomes = Outcomes::default();
    while outcomes.goes_on(extent) {
        let recorded = Recorded::new(&recorder, &mut dice, || extent.goes_on(IMAGES_OF_RECORDING));
        assert_eq!(recorded.rows.is_some(), recorded.rows_file().exists());
        let end = outcomes.images + IMAGES_OF_RECORDING;
        while outcomes.images < end && outcomes.goes_on(extent) {
            outcomes.check(&recorded, &mut dice);
        }
    }
    let Outcomes { images, acknowledged, failures } = outcomes;
    eprintln!("cuts: {images} images, {acknowledged} acknowledgements before them; {}", failures.summary());
    failures.assert_none(extent.seed);
}
