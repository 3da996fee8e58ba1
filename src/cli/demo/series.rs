//! The shipped series: what a real machine's sensor said, and when its operators say that it failed.
//!
//! Source and licence: `data/README.md`. The times have no zone and are taken as UTC.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::Context as _;
use flate2::read::GzDecoder;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::Timestamp;

/// The series' name among the labels.
const NAME: &str = "machine_temperature_system_failure.csv";
const SAMPLES: &[u8] = include_bytes!("data/machine_temperature_system_failure.csv.gz");
const LABELS: &str = include_str!("data/anomaly_windows.json");

/// Seconds from one sample to the next.
pub const INTERVAL_SECONDS: f64 = 300.0;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When it was taken.
    pub time: Timestamp,
    /// Degrees Fahrenheit.
    pub temperature: f64,
}

/// A labelled failure: an alert in this window is a right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// First point of the window.
    pub from: Timestamp,
    /// Last point of the window.
    pub to: Timestamp,
}

impl Failure {
    /// Whether `time` lies in the window.
    pub fn holds(&self, time: Timestamp) -> bool {
        (self.from..=self.to).contains(&time)
    }
}

/// The samples in the order they were taken, and the failures.
#[derive(Debug)]
pub struct Series {
    /// Every [`INTERVAL_SECONDS`].
    pub samples: Vec<Sample>,
    /// In order of time.
    pub failures: Vec<Failure>,
}

impl Series {
    /// The series in this program.
    ///
    /// # Errors
    /// None, unless the shipped files were damaged before the build.
    pub fn shipped() -> anyhow::Result<Self> {
        let mut text = String::new();
        GzDecoder::new(SAMPLES).read_to_string(&mut text).context("the shipped series is damaged")?;
        Ok(Self { samples: samples(&text)?, failures: failures(LABELS)? })
    }
}

/// `timestamp,value` a line, below a heading.
fn samples(text: &str) -> anyhow::Result<Vec<Sample>> {
    let sample = |line: &str| {
        let (at, temperature) = line.split_once(',').with_context(|| format!("no comma in {line:?}"))?;
        let temperature = temperature.parse().with_context(|| format!("no number in {line:?}"))?;
        Ok(Sample { time: time(at)?, temperature })
    };
    text.lines().skip(1).map(sample).collect()
}

fn failures(text: &str) -> anyhow::Result<Vec<Failure>> {
    let mut labels: BTreeMap<String, Vec<[String; 2]>> = serde_json::from_str(text)?;
    let windows = labels.remove(NAME).with_context(|| format!("no labels for {NAME}"))?;
    windows.iter().map(|[from, to]| Ok(Failure { from: time(from)?, to: time(to)? })).collect()
}

fn time(text: &str) -> anyhow::Result<Timestamp> {
    let civil: DateTime = text.parse().with_context(|| format!("no time: {text:?}"))?;
    let zoned = civil.to_zoned(TimeZone::UTC)?;
    Ok(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

/// `2013-12-10 07:00`.
pub fn show_time(time: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(time.floor_millis()) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_series_is_whole() {
        let series = Series::shipped().unwrap();
        let (first, last) = (series.samples[0], series.samples[series.samples.len() - 1]);
        assert_eq!(series.samples.len(), 22_695);
        assert_eq!((show_time(first.time).as_str(), first.temperature), ("2013-12-02 21:15", 73.967_322_07));
        assert_eq!((show_time(last.time).as_str(), last.temperature), ("2014-02-19 15:25", 96.903_860_85));
        let starts: Vec<_> = series.failures.iter().map(|failure| show_time(failure.from)).collect();
        assert_eq!(starts, ["2013-12-10 06:25", "2013-12-15 17:50", "2014-01-27 14:20", "2014-02-07 14:55"]);
    }

    /// The pace counts on it.
    #[test]
    fn samples_are_five_minutes_apart_but_for_one_hour_that_is_there_twice() {
        let samples = Series::shipped().unwrap().samples;
        let gap_s = |pair: &[Sample]| (pair[1].time.nanos() - pair[0].time.nanos()) / 1_000_000_000;
        let odd: Vec<_> = samples.windows(2).filter(|pair| gap_s(pair) != INTERVAL_SECONDS as i64).collect();
        assert_eq!(odd.len(), 1);
        assert_eq!(show_time(odd[0][0].time), "2014-01-07 02:55");
        assert_eq!(show_time(odd[0][1].time), "2014-01-07 02:00");
    }

    #[test]
    fn a_damaged_line_is_named() {
        for (text, said) in [
            ("timestamp,value\n2013-12-02 21:15:00;1", "no comma in \"2013-12-02 21:15:00;1\""),
            ("timestamp,value\n2013-12-02 21:15:00,x", "no number in \"2013-12-02 21:15:00,x\""),
            ("timestamp,value\nsoon,1", "no time: \"soon\""),
        ] {
            assert_eq!(samples(text).unwrap_err().to_string(), said);
        }
    }
}
