//! What can be asked of `forebay replay`. The comments on fields are the help texts.

use std::path::PathBuf;

use clap::Args;

use super::bound::Bound;
use crate::cli::data_dir::DataDirOption;

/// Help that follows the options.
pub const REPLAY_EXAMPLES: &str = "\
Runs what the journal holds (readings, the clock's ticks, quarantines) through the pipelines and alerts of a
configuration. Nothing live is touched: the journal is only read, beside a running gateway or without one. Beside one,
the newest second may still be missing. Rows go to the output, one JSON object a line, with the ids that live rows
of the same pipeline have. A summary goes to stderr.

A place is an offset (1234, or offset:1234), a time by the gateway's clock at arrival (2026-11-24T06:00:00Z) or an age
(-2h). Readings before --from that its first windows need are applied quietly; rows whose window began before the
journal does say \"partial\": true. Windows open at the end do not fire, as they have not in the gateway; with --end
they do.

--diff compares with the configuration that the gateway ran with (the last one in the journal before --to) and prints
what appears (+), vanishes (-) or changes (~). Exit codes as diff(1): 0 nothing, 1 something.

--to-sink delivers results to a sink as its routes say, until all are taken; what the sink refuses for good goes to
the output. Alerts are never sent from a replay, unless --alerts asks for it. A file sink is refused: the gateway cuts
its file to what it wrote itself.

Examples:
  forebay replay --from -2h --pipeline speeding | jq .values
  forebay replay --from 2026-11-24T06:00:00Z --to 2026-11-24T07:00:00Z --output rows.ndjson
  forebay replay --from -7d --config new.toml --diff           # before it goes live
  forebay replay --from 0 --pipeline speeding --to-sink tsdb   # fill a new database";

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayOptions {
    /// Where to begin
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub from: Bound,
    /// Where to end: what stands there is left out [default: the newest record]
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub to: Option<Bound>,
    /// Only this pipeline and the alerts on it; may be given more than once [default: everything]
    #[arg(short, long, value_name = "NAME")]
    pub pipeline: Vec<String>,
    /// Where the journal is.
    #[command(flatten)]
    pub data: DataDirOption,
    /// Print what differs from what the gateway's own configuration gives
    #[arg(long, conflicts_with = "to_sink")]
    pub diff: bool,
    /// Deliver results to this sink of the configuration
    #[arg(long, value_name = "NAME")]
    pub to_sink: Option<String>,
    /// Send alerts too
    #[arg(long, requires = "to_sink")]
    pub alerts: bool,
    /// Fire the windows that are open at the end
    #[arg(long)]
    pub end: bool,
    /// Where the rows go [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
