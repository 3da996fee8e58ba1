//! `forebay replay`: the past through a configuration, without touching live state.
//!
//! The way of a record: [`range`] says which part of the journal and what stands before it, [`play`] reads and decodes
//! ahead, [`machine`] runs the steps of the daemon's lanes; what they put out goes to a file or stdout, to a sink
//! ([`to_sink`]), or is compared with what another configuration puts out ([`diff`]). [`summary`] says at the end
//! what there was.
//!
//! Invariants: the journal is only read, and no lock is held; nothing is delivered unless a sink is named, and no
//! alert unless alerts are asked for.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

pub mod arguments;
pub mod bound;
pub mod diff;
pub mod machine;
pub mod play;
pub mod range;
pub mod summary;
pub mod to_sink;

use self::arguments::ReplayOptions;
use self::bound::Bound;
use self::machine::{Machine, Selection};
use self::play::{OpenWindows, Played};
use self::range::Range;
use self::summary::{Counts, Effort, Summary};
use super::arguments::Global;
use super::backtest::rows::Rows;
use super::data_dir::DataDir;
use super::{Failure, OK, Style};
use crate::config::{self, Config, SinkKind};
use crate::engine::emission::Effects;
use crate::journal::past::Past;
use crate::model::{Offset, StreamName, Timestamp};
use crate::telemetry::clock;

/// Runs the part of the journal that `options` name through the configuration of `global`.
///
/// # Errors
/// Where the configuration is bad, the journal cannot be read, or the rows have no place to go.
pub fn run(global: &Global, options: &ReplayOptions) -> Result<u8, Failure> {
    let path = global.config_path()?;
    let (config, _warnings) = config::load(&path)?;
    let config = Arc::new(config);
    let data_dir = options.data.data_dir.clone().unwrap_or_else(|| config.gateway.data_dir.clone());
    let data = DataDir::open(&data_dir)?;
    let past = data.stream(StreamName::Readings)?;
    let setting = Setting { bounds: bounds(&past, options)?, config, data, past, style: global.style() };
    if options.diff {
        let folder = path.parent().unwrap_or(Path::new(""));
        return diff::run(&setting, options, folder);
    }
    let mut replay = Replay::new(&setting, options)?;
    match &options.to_sink {
        Some(sink) => to_sink::run(&setting, &mut replay, options, sink),
        None => {
            let mut rows = Rows::new(open_output(&setting.config, options.output.as_deref())?);
            replay.run(|effects| rows.effects(&effects).map_err(Failure::Output))?;
            rows.flush().map_err(Failure::Output)?;
            replay.say();
            Ok(OK)
        }
    }
}

/// What every kind of replay starts from.
pub struct Setting {
    /// First offset, and one past the last.
    pub bounds: (Offset, Offset),
    /// The configuration that is tried.
    pub config: Arc<Config>,
    /// The gateway's directory.
    pub data: DataDir,
    /// Its readings.
    pub past: Past,
    /// The shape of what is printed.
    pub style: Style,
}

fn bounds(past: &Past, options: &ReplayOptions) -> Result<(Offset, Offset), Failure> {
    let now = clock::now();
    let find = |bound: &Bound| bound.offset(past, now).map_err(|error| cannot_read(&error));
    let from = find(&options.from)?;
    let to = options.to.as_ref().map_or(Ok(past.end()), find)?;
    if to < from {
        return Err(Failure::Usage(format!("--to is offset {to}, which lies before --from, offset {from}")));
    }
    Ok((from, to))
}

fn cannot_read(error: &io::Error) -> Failure {
    Failure::unreadable(Path::new("the journal"), error)
}

/// The output; never a file that a sink of the gateway owns.
fn open_output(config: &Config, path: Option<&Path>) -> Result<Box<dyn Write + Send>, Failure> {
    let Some(path) = path else { return Ok(Box::new(io::stdout())) };
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    for sink in &config.sinks {
        if let SinkKind::File(file) = &sink.kind
            && real(&file.path) == real(path)
        {
            let (name, path) = (&sink.name, path.display());
            return Err(Failure::Usage(format!("{path} belongs to sink {name}: give another file")));
        }
    }
    let file = File::create(path);
    let file = file.map_err(|error| Failure::Failed(format!("cannot create {}: {error}", path.display())))?;
    Ok(Box::new(file))
}

impl ReplayOptions {
    fn open_windows(&self) -> OpenWindows {
        if self.end { OpenWindows::Fire } else { OpenWindows::Stay }
    }
}

/// One configuration over a part of the journal.
pub struct Replay<'a> {
    setting: &'a Setting,
    range: Range,
    machine: Machine,
    open_windows: OpenWindows,
    played: Played,
    counts: Counts,
    effort: Effort,
}

impl<'a> Replay<'a> {
    /// The replay of what `options` name; nothing has run yet.
    ///
    /// # Errors
    /// Where a pipeline is unknown, or the journal cannot be read.
    pub fn new(setting: &'a Setting, options: &ReplayOptions) -> Result<Self, Failure> {
        let selected = Selection::of(&setting.config, &options.pipeline)?;
        let span = selected.span(&setting.config);
        let range = Range::find(&setting.past, setting.bounds, span).map_err(|error| cannot_read(&error))?;
        let machine = ready(&setting.config, &selected, &setting.data.journal_id, &range);
        let (played, counts, effort) = (Played::default(), Counts::default(), Effort::default());
        Ok(Self { setting, range, machine, open_windows: options.open_windows(), played, counts, effort })
    }

    /// Runs it; `out` gets what comes out.
    ///
    /// # Errors
    /// Where the journal cannot be read, or `out` fails.
    pub fn run(&mut self, mut out: impl FnMut(Effects) -> Result<(), Failure>) -> Result<(), Failure> {
        let Self { setting, range, machine, open_windows, played, counts, effort } = self;
        let (begun, cpu) = (clock::monotonic(), clock::process_cpu());
        let mut take = |_: usize, effects: Effects| {
            counts.add(&effects);
            out(effects)
        };
        let machines = std::slice::from_mut(machine);
        *played = play::play(&setting.past, range, machines, &mut take)?;
        if *open_windows == OpenWindows::Fire {
            play::finish(range, machines, last_arrival(played), &mut take)?;
        }
        *effort = Effort { took: begun.elapsed(), cpu: clock::process_cpu().saturating_sub(cpu) };
        Ok(())
    }

    /// Says on stderr what there was.
    pub fn say(&self) {
        let Self { range, played, counts, effort, .. } = self;
        let summary = Summary { range, played, counts, effort: *effort };
        // Whoever closed stderr does not want to know.
        let _ = summary.write(self.setting.style, &mut io::stderr().lock());
    }
}

/// The lanes of `config` where `range` begins.
fn ready(config: &Arc<Config>, selected: &Selection, journal_id: &str, range: &Range) -> Machine {
    let mut machine = Machine::new(config, selected, journal_id).at(range.clock);
    range.quarantines.iter().for_each(|record| machine.set_aside(record));
    machine
}

fn last_arrival(played: &Played) -> Timestamp {
    played.arrivals.map_or_else(Timestamp::default, |[_, last]| last)
}
