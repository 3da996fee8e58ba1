//! A case: its specification, the configuration made of it, and a run of the real binary.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value;

use super::rows::{LateRow, Row};

/// What a spec calls an aggregate, the column Flink wrote, and ours. What is not here is not compared (the README
/// of the cases says why).
const COLUMNS: &[(&str, &str, &str)] = &[
    ("avg", "avg_v", "avg(value)"),
    ("min", "min_v", "min(value)"),
    ("max", "max_v", "max(value)"),
    ("count", "cnt", "count()"),
    ("sum", "sum_v", "sum(value)"),
    ("stddev_pop", "sd_pop", "stddev_pop(value)"),
    ("avg:speed_kmh", "avg_speed", "avg(speed_kmh)"),
    ("max:speed_kmh", "max_speed", "max(speed_kmh)"),
    ("max:limit_kmh", "limit_kmh", "max(limit_kmh)"),
];

/// `spec.json`, as far as it is needed.
#[derive(Deserialize)]
pub(super) struct Spec {
    input: PathBuf,
    pub(super) input_events: u64,
    key: String,
    window: Window,
    watermark: Watermark,
    allowed_lateness_ms: u64,
    aggregates: Vec<String>,
    filter: Option<String>,
    having: Option<String>,
    pub(super) result: Counts,
}

#[derive(Deserialize)]
struct Window {
    #[serde(rename = "type")]
    kind: String,
    size_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Watermark {
    scope: String,
    delay_ms: u64,
}

#[derive(Deserialize)]
pub(super) struct Counts {
    pub(super) rows: usize,
    pub(super) late_dropped: Option<u64>,
}

pub(super) struct Case {
    dir: PathBuf,
    pub(super) spec: Spec,
}

/// What the binary gave.
pub(super) struct Outcome {
    pub(super) results: Vec<Row>,
    pub(super) late: Vec<LateRow>,
    pub(super) late_count: u64,
    pub(super) lines: u64,
}

impl Case {
    pub(super) fn load(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/oracle").join(name);
        let spec = fs::read_to_string(dir.join("spec.json")).expect("the case is there");
        Self { dir, spec: serde_json::from_str(&spec).expect("a spec that is understood") }
    }

    fn columns(&self) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
        COLUMNS.iter().filter(|(word, ..)| self.spec.aggregates.iter().any(|aggregate| aggregate == word))
    }

    fn config(&self) -> String {
        let spec = &self.spec;
        let scope = match &*spec.watermark.scope {
            "global" => "source",
            scope => scope,
        };
        let select: Vec<String> =
            self.columns().map(|(_, name, call)| format!("{name} = {call:?}")).collect();
        let mut text = format!(
            "[source.input]\ntopic = \"input\"\nformat = \"json\"\nsensor = \"{{/{key}}}\"\n\
             time = {{ at = \"/ts\", unit = \"ms\", missing = \"refuse\" }}\n\
             [pipeline.p]\nfrom = [\"input\"]\nwindow = {window}\n\
             watermark = {{ scope = {scope:?}, delay = \"{delay}ms\", lateness = \"{lateness}ms\", late = \"keep\" }}\n\
             select = {{ {select} }}\n",
            key = spec.key,
            window = spec.window.toml(),
            delay = spec.watermark.delay_ms,
            lateness = spec.allowed_lateness_ms,
            select = select.join(", "),
        );
        text.extend(spec.filter.iter().map(|filter| format!("where = {filter:?}\n")));
        text.extend(spec.having.iter().map(|having| format!("having = {:?}\n", by_column(having))));
        text
    }

    /// Runs the binary on the case.
    pub(super) fn backtest(&self) -> Outcome {
        let dir = tempfile::tempdir().expect("a directory");
        let (config, output) = (dir.path().join("forebay.toml"), dir.path().join("rows.ndjson"));
        fs::write(&config, self.config()).expect("the configuration is written");
        let run = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["backtest", "--json", "--source", "input", "--config"])
            .arg(&config)
            .arg("--input")
            .arg(self.dir.join(&self.spec.input))
            .arg("--output")
            .arg(&output)
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{said}\n{}", self.config());
        let summary: Value = serde_json::from_str(&said).expect("the summary is JSON");
        assert_eq!(summary["refused"], serde_json::json!({}), "nothing is refused");
        assert_eq!(summary["failures"], 0, "{summary}");
        let rows = values(&output);
        let of = |kind: &'static str| rows.iter().filter(move |row| row["type"] == kind);
        Outcome {
            results: of("result").map(Row::ours).collect(),
            late: of("late").map(LateRow::ours).collect(),
            late_count: summary["late"]["p"].as_u64().unwrap_or(0),
            lines: summary["lines"].as_u64().expect("a count"),
        }
    }

    /// The rows of Flink.
    pub(super) fn expected(&self) -> Vec<Row> {
        let names: Vec<&str> = self.columns().map(|(_, name, _)| *name).collect();
        self.file("expected").iter().flatten().map(|row| Row::flinks(row, &self.spec.key, &names)).collect()
    }

    /// The readings that were too late for Flink, where it recorded them.
    pub(super) fn expected_late(&self) -> Option<Vec<LateRow>> {
        Some(self.file("late")?.iter().map(|row| LateRow::flinks(row, &self.spec.key)).collect())
    }

    fn file(&self, name: &str) -> Option<Vec<Value>> {
        let paths = ["ndjson", "ndjson.gz"].map(|end| self.dir.join(format!("{name}.{end}")));
        paths.iter().find(|path| path.exists()).map(|path| values(path))
    }
}

impl Window {
    fn toml(&self) -> String {
        match (&*self.kind, self.size_ms) {
            ("tumbling", Some(size)) => format!("{{ kind = \"tumbling\", size = \"{size}ms\" }}"),
            (kind, _) => panic!("{kind} windows have no words here yet"),
        }
    }
}

/// A spec's `having` speaks of aggregates, ours of columns.
fn by_column(having: &str) -> String {
    let column =
        |word| COLUMNS.iter().find(|(aggregate, ..)| *aggregate == word).map_or(word, |found| found.1);
    having.split(' ').map(column).collect::<Vec<_>>().join(" ")
}

fn values(path: &Path) -> Vec<Value> {
    let mut text = String::new();
    let mut file = File::open(path).expect("the file is there");
    if path.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(file).read_to_string(&mut text).expect("the file is gzip");
    } else {
        file.read_to_string(&mut text).expect("the file is text");
    }
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}
