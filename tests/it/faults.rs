//! Breaking the daemon from outside: kills, power cuts, damaged media, stalled and full disks.
//!
//! Each part runs small within `tests/run`, and as long as it is told to by `tests/faults/run`. Everything random
//! comes from one seed, which a failure names: with it the same faults are built again (what the daemon and the
//! scheduler make of them is theirs).
//!
//! | module | |
//! |---|---|
//! | [`accounts`] | what is sent, and by brute force what must come of it |
//! | [`clients`] | devices on three protocols that keep a message until it is acknowledged |
//! | [`kills`] | kill -9, SIGTERM and kills during recovery |
//! | [`recording`], [`image`], [`cuts`] | every write recorded, disks as a power cut could leave them |
//! | [`damage`] | flipped bits, cut files, zeroed sectors |
//! | [`planted`] | planted bugs fit the code |
//! | [`stalls`] | a disk that does not answer, a disk that is full again and again |

use std::env;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Site, http};

mod accounts;
mod clients;
mod cuts;
mod damage;
mod image;
mod kills;
mod planted;
mod recording;
mod stalls;

/// How long a part runs: until `count` faults, or for a time where one is given.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub seed: u64,
    count: usize,
    deadline: Option<Instant>,
}

impl Extent {
    /// What `tests/faults/run` asks for; `count` faults, and any seed, where nobody asks.
    pub fn of_run(count: usize) -> Self {
        let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
        let minutes = number("FOREBAY_FAULTS_MINUTES");
        let deadline = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
        let wanted = number("FOREBAY_FAULTS_COUNT").map(|count| count as usize);
        let count = wanted.unwrap_or(if deadline.is_some() { usize::MAX } else { count });
        let seed = number("FOREBAY_FAULTS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
        Self { seed, count, deadline }
    }

    /// Whether there is to be another fault after `done` of them.
    pub fn goes_on(&self, done: usize) -> bool {
        done < self.count && self.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }
}

/// Numbers that a seed decides (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// `true` in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// Fields of a JSON object, `bytes` long all together, that hardly compress.
pub fn noise(seed: u64, bytes: usize) -> String {
    const TEXT_BYTES: usize = 1_000;
    let mut dice = Dice::new(seed);
    let noise: String = (0..bytes / 16).map(|_| format!("{:016x}", dice.number())).collect();
    let texts = noise.as_bytes().chunks(TEXT_BYTES).map(String::from_utf8_lossy);
    texts.enumerate().map(|(at, text)| format!(r#""f{at}":"{text}""#)).collect::<Vec<_>>().join(",")
}

/// Images that did not come back as they must.
#[derive(Debug, Default)]
pub struct Failures {
    texts: Vec<String>,
    checked: usize,
}

/// A long run says how far it is each time so many more were checked.
const TOLD_EVERY: usize = 100;
/// Failures told in full.
const SHOWN: usize = 3;
/// After so many a part ends.
const ENOUGH: usize = 5;
/// Characters told of the others.
const WIDTH: usize = 160;

impl Failures {
    /// Notes how a check ended; a failure with what the daemon of `site` complained about.
    pub fn note(&mut self, outcome: Result<(), String>, image: &str, site: &Site) {
        self.checked += 1;
        if self.checked.is_multiple_of(TOLD_EVERY) {
            eprintln!("… {} checked, {}", self.checked, self.summary());
        }
        let Err(what) = outcome else { return };
        if self.texts.len() < SHOWN {
            let log = site.log();
            let complaint = |line: &&str| !line.contains(r#""level":"INFO""#);
            let complaints: Vec<&str> = log.lines().filter(complaint).collect();
            eprintln!("{image}: {what}\n{}", complaints.join("\n"));
        } else {
            eprintln!("{image}: {}", what.chars().take(WIDTH).collect::<String>());
        }
        self.texts.push(format!("{image}: {what}"));
    }

    /// Whether it is worth going on.
    pub fn are_few(&self) -> bool {
        self.texts.len() < ENOUGH
    }

    /// How many there are.
    pub fn summary(&self) -> String {
        format!("{} failures", self.texts.len())
    }

    pub fn assert_none(&self, seed: u64) {
        let texts = &self.texts;
        assert!(texts.is_empty(), "seed {seed}: {} failures, the first: {}", texts.len(), texts[0]);
    }
}

/// A file that does not grow for so long may be complete: time to look.
const LOOK_AFTER: Duration = Duration::from_millis(100);
/// A file that does not grow for so long gets no more if nobody in the daemon is behind.
const QUIET_AFTER: Duration = Duration::from_millis(1_500);
/// A file that does not grow for so long gets no more.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// Waits until `file` of the running `site` is complete, or gets no more.
pub fn until_settled(site: &Site, file: &str, is_complete: impl Fn() -> bool) {
    let length = || fs::metadata(site.path(file)).map_or(0, |facts| facts.len());
    let (mut known, mut since, mut looked) = (length(), Instant::now(), false);
    while since.elapsed() < SETTLED_AFTER {
        thread::sleep(Duration::from_millis(10));
        if length() != known {
            (known, since, looked) = (length(), Instant::now(), false);
        } else if !looked && since.elapsed() > LOOK_AFTER {
            looked = true;
            if is_complete() {
                return;
            }
        } else if since.elapsed() > QUIET_AFTER && nobody_is_behind(site) {
            return;
        }
    }
}

/// Whether lanes and sinks say that they have seen everything.
fn nobody_is_behind(site: &Site) -> bool {
    let page = http::get(site.addr("http"), "/metrics").text();
    let lags = |name: &str| page.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    let is_zero = |lags: Vec<&str>| !lags.is_empty() && lags.iter().all(|line| line.ends_with(" 0"));
    is_zero(lags("forebay_lane_lag_records{")) && is_zero(lags("forebay_sink_lag_records{"))
}

/// p50, p99 and the largest, in milliseconds.
pub fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    let ms = |time: Option<&Duration>| time.map_or(0, |time| time.as_millis());
    format!("p50 {} ms, p99 {} ms, max {} ms", ms(at(50)), ms(at(99)), ms(times.last()))
}
