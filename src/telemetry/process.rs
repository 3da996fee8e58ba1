//! The process's own figures, under the names every Prometheus client uses; read from `/proc/self`.
//!
//! Only files below `/proc/self` are read: the shipped unit hides the rest (`ProcSubset=pid`). What cannot be
//! read is left out. Source: <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};

use crate::model::Timestamp;

/// `USER_HZ`: the unit of times in `/proc/self/stat`, 100 on every Linux that Rust's std runs on.
const TICKS_PER_SECOND: f64 = 100.0;
const NANOS_PER_SECOND: f64 = 1e9;

/// A collector that reads anew at each scrape, so that two scrapes at once cannot disturb each other.
pub(super) struct Process {
    started_seconds: f64,
    descs: Vec<Desc>,
}

impl Process {
    pub(super) fn new(started: Timestamp) -> Self {
        let started_seconds = started.nanos() as f64 / NANOS_PER_SECOND;
        let descs = sample(&Figures::default(), started_seconds);
        Self { started_seconds, descs: descs.iter().flat_map(|metric| metric.desc()).cloned().collect() }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = sample(&Figures::read(), self.started_seconds);
        metrics.iter().flat_map(|metric| metric.collect()).collect()
    }
}

fn sample(figures: &Figures, started_seconds: f64) -> Vec<Box<dyn Collector>> {
    let cpu =
        Counter::with_opts(Opts::new("process_cpu_seconds_total", "User and system CPU seconds spent."))
            .expect("the name is valid");
    cpu.inc_by(figures.cpu_seconds);
    vec![
        Box::new(cpu),
        gauge("process_resident_memory_bytes", "Resident memory.", figures.resident_bytes),
        gauge("process_open_fds", "Open file descriptors.", figures.open_fds),
        gauge("process_max_fds", "Most file descriptors the process may open.", figures.max_fds),
        gauge("process_threads", "Threads of the process.", figures.threads),
        gauge("process_start_time_seconds", "Start of the process since the Unix epoch.", started_seconds),
    ]
}

fn gauge(name: &str, help: &str, value: f64) -> Box<dyn Collector> {
    let gauge = Gauge::new(name, help).expect("the name is valid");
    gauge.set(value);
    Box::new(gauge)
}

#[derive(Debug, Default, PartialEq)]
struct Figures {
    cpu_seconds: f64,
    resident_bytes: f64,
    open_fds: f64,
    max_fds: f64,
    threads: f64,
}

impl Figures {
    fn read() -> Self {
        let text = |name| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Self { open_fds: open_fds(), ..Self::parse(&text("stat"), &text("status"), &text("limits")) }
    }

    /// From the texts of `stat`, `status` and `limits` (proc(5)); 0 for what a text does not say.
    fn parse(stat: &str, status: &str, limits: &str) -> Self {
        Self {
            cpu_seconds: cpu_ticks(stat).unwrap_or(0.0) / TICKS_PER_SECOND,
            resident_bytes: number_after(status, "VmRSS:").unwrap_or(0.0) * 1024.0,
            threads: number_after(status, "Threads:").unwrap_or(0.0),
            max_fds: number_after(limits, "Max open files").unwrap_or(0.0),
            open_fds: 0.0,
        }
    }
}

/// `utime` and `stime`, fields 14 and 15. The command's name (field 2) may hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_ascii_whitespace().skip(11);
    Some(times.next()?.parse::<f64>().ok()? + times.next()?.parse::<f64>().ok()?)
}

fn number_after(text: &str, label: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

fn open_fds() -> f64 {
    // One of them is the directory itself.
    fs::read_dir("/proc/self/fd").map_or(0.0, |entries| entries.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_process_whose_name_is_hostile() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 1234 1000 200";
        let status = "Name:\ta) b (c\nVmRSS:\t    2048 kB\nThreads:\t9\n";
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024    4096    files\n";
        let want = Figures {
            cpu_seconds: 2.0,
            resident_bytes: 2097152.0,
            open_fds: 0.0,
            max_fds: 1024.0,
            threads: 9.0,
        };
        assert_eq!(Figures::parse(stat, status, limits), want);
    }

    #[test]
    fn reads_this_process() {
        let figures = Figures::read();
        assert!(figures.resident_bytes > 100_000.0 && figures.open_fds >= 3.0, "{figures:?}");
        assert!(figures.threads >= 1.0 && figures.max_fds >= figures.open_fds, "{figures:?}");
    }

    #[test]
    fn garbage_reads_as_nothing() {
        assert_eq!(Figures::parse("", "VmRSS:", "Max open files unlimited"), Figures::default());
    }
}
