//! The journal on a disk that fails, fills up and loses power: nothing acknowledged is lost, nothing invented,
//! nothing seen before it is durable, and the stream goes on by itself.
//!
//! Segments are tiny, so next ones are made ahead, begun and removed all the time. Quick parts run with every
//! `cargo test`; `FOREBAY_FAULTS=long cargo test --release --lib journal::faults` fails the first five hundred
//! operations of each kind, every one in four ways, and cuts the power thousands of times.

use super::disk::sim::{Dice, Failure, Fault, Operation, SimDisk, Span};
use site::Site;

mod site;

/// Whether the long parts run.
fn is_long() -> bool {
    std::env::var("FOREBAY_FAULTS").is_ok_and(|value| value == "long")
}

/// One run with a restart in its middle; the fault, if there is one, passes at last.
fn run(fault: Option<Fault>, steps: u64) -> (SimDisk, Site) {
    let disk = SimDisk::new(1);
    if let Some(fault) = fault {
        disk.fail(fault);
    }
    let mut dice = Dice::new(2);
    let mut site = Site::start(&disk);
    let mut failing_steps = 0;
    for step in 0..steps {
        let refused = site.step(&mut dice);
        failing_steps += u64::from(refused);
        if failing_steps == 8 {
            disk.heal();
        }
        if step == steps / 2 {
            disk.kill();
            site.restart(&disk);
        }
    }
    disk.heal();
    site.settle();
    (disk, site)
}

fn check_images(disk: &SimDisk, site: &Site, what: &str) {
    let mut dice = Dice::new(3);
    for image in 0..2 {
        site.clone_model().check(&disk.power_cut(&mut dice), &format!("{what}, image {image}"));
    }
    disk.kill();
    site.clone_model().check(disk, &format!("{what}, killed"));
}

/// Enough for each kind of operation to come.
const QUICK_STEPS: u64 = 32;

const FAILURES: [(Failure, Span); 4] = [
    (Failure::Broken, Span::Once),
    (Failure::Broken, Span::Onwards),
    (Failure::Full, Span::Once),
    (Failure::Full, Span::Onwards),
];

/// A run until the fault has come, and a while longer; it is restarted now and then.
fn run_past(fault: Fault) -> (SimDisk, Site) {
    const STEPS_MAX: u64 = 20_000;
    const STEPS_AFTER: u64 = 30;
    let disk = SimDisk::new(1);
    disk.fail(fault);
    let mut dice = Dice::new(2);
    let mut site = Site::start(&disk);
    let mut after = 0;
    for step in 0..STEPS_MAX {
        site.step(&mut dice);
        let seen = fault.on.map_or(0, |kind| disk.operations()[kind as usize]);
        after += u64::from(seen >= fault.nth);
        if after == STEPS_AFTER / 2 {
            disk.heal();
        }
        if after == STEPS_AFTER {
            site.settle();
            return (disk, site);
        }
        if step % 64 == 63 {
            disk.kill();
            site.restart(&disk);
        }
    }
    panic!("{fault:?} did not come in {STEPS_MAX} steps");
}

#[test]
fn every_operation_may_fail() {
    let (disk, site) = run(None, QUICK_STEPS);
    let operations = disk.operations();
    let all: u64 = operations.iter().sum();
    assert!(operations.iter().all(|count| *count > 0), "each kind comes: {operations:?}");
    check_images(&disk, &site, "no fault");
    for nth in 1..=all {
        for (failure, span) in FAILURES {
            let (disk, site) = run(Some(Fault { on: None, nth, failure, span }), QUICK_STEPS);
            check_images(&disk, &site, &format!("operation {nth} of {all}: {failure:?} {span:?}"));
        }
    }
    eprintln!("{all} operations, {operations:?} of {:?}, in {} ways", Operation::ALL, FAILURES.len());
}

#[test]
fn the_first_operations_of_each_kind_may_fail() {
    let first = if is_long() { 500 } else { 6 };
    for kind in Operation::ALL {
        for nth in 1..=first {
            for (failure, span) in FAILURES {
                let fault = Fault { on: Some(kind), nth, failure, span };
                let (disk, site) = run_past(fault);
                check_images(&disk, &site, &format!("{fault:?}"));
            }
        }
    }
    eprintln!("the first {first} of each of {:?}, in {} ways", Operation::ALL, FAILURES.len());
}

#[test]
fn power_may_go_at_any_time() {
    let seeds = if is_long() { 5000 } else { 300 };
    for seed in 0..seeds {
        let mut dice = Dice::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut site = Site::start(&disk);
        for _ in 0..1 + dice.below(4) {
            for _ in 0..dice.below(40) {
                site.step(&mut dice);
            }
            disk = disk.power_cut(&mut dice);
            site.restart(&disk);
        }
        site.settle();
        site.clone_model().check(&disk, &format!("seed {seed}"));
    }
}

/// What a failed segment still holds behind its durable end was refused: its sender's copy is no duplicate of it.
#[test]
fn a_refused_message_is_new_when_it_comes_after_a_restart() {
    let disk = SimDisk::new(1);
    let mut site = Site::start(&disk);
    site.send(0, 1);
    // The write goes through, its sync does not, nor does cutting the segment.
    disk.fail(Fault { on: None, nth: 2, failure: Failure::Broken, span: Span::Onwards });
    assert!(site.send(0, 1));
    disk.heal();
    while site.send(0, 1) {
        site.wait();
    }
    site.restart(&disk);
    site.settle();
    site.clone_model().check(&disk, "after the copy");
}
