//! What can be asked for on the command line. The comments on fields and variants are the help texts.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use super::backup::restore::{RESTORE_EXAMPLES, RestoreOptions};
use super::backup::{BACKUP_EXAMPLES, BackupOptions};
use super::check::Show;
use super::demo::{DEMO_EXAMPLES, DemoArguments};
use super::journal::{JOURNAL_EXAMPLES, JournalCommand};
use super::replay::arguments::{REPLAY_EXAMPLES, ReplayOptions};
use super::{Failure, Style};
use crate::telemetry::logs::{self, LogFormat};

/// Where a configuration is looked for, in this order, if none is named.
const CONFIG_PATHS: [&str; 2] = ["/etc/forebay/forebay.toml", "forebay.toml"];

/// Levels of logs where `RUST_LOG` does not say.
const LOG_LEVELS: &str = "info";
/// The same for the demo, whose lines are the show.
const DEMO_LOG_LEVELS: &str = "warn";

const LONG_ABOUT: &str = "\
IoT site gateway: devices speak MQTT, CoAP or HTTP to it; it turns what they send into readings, checks
them, writes them to disk before it acknowledges them, computes event-time windows per sensor, raises
alerts, and delivers results to databases, files and pagers, each at its own pace.";

const EXAMPLES: &str = "\
Examples:
  forebay run                                    the gateway
  forebay demo                                   what it does, with real data, in 80 seconds
  forebay check                                  what is wrong with the configuration, all at once
  forebay check --graph                          who feeds whom
  forebay backtest -i day.ndjson.gz -s fleet     yesterday's payloads through the pipelines of now
  forebay replay --from -2h -c new.toml --diff   what a changed configuration would have made of today
  forebay journal verify                         whether everything on disk can be read
  forebay backup /var/backups/monday             everything that was acknowledged, elsewhere
  forebay status                                 how the running gateway is doing
  forebay reload --dry-run                       what an edited configuration would change in it

Exit codes: 0 done, 1 failed, 64 wrong arguments, 78 bad configuration or data of a newer format.";

const RUN_EXAMPLES: &str = "\
Binds every listener, recovers the journal, and serves. Logs go to stderr. SIGTERM and SIGINT drain: what was
received is journalled and acknowledged, windows are saved, sinks get what is there, then it exits with 0.

Examples:
  forebay run --config site.toml
  RUST_LOG=forebay=debug forebay run --log-format json";

const CHECK_EXAMPLES: &str = "\
Every problem is a line with file, line, column and key:
  forebay.toml:31:9: pipeline.speeding.select.mean: unknown field \"sped\" in source \"fleet\" (did you mean \"speed\"?)

Examples:
  forebay check --config site.toml && forebay reload --config site.toml
  forebay check --json | jq .problems";

const BACKTEST_EXAMPLES: &str = "\
Takes one payload a line, as if it had arrived in this order at the source, and runs the same code as the
gateway: intake with schema, windows, alerts. Rows go to the output, one JSON object a line: `result`, `alert`,
`late` (where the pipeline has late = \"keep\") and `dead-letter` for what intake refuses. At the end of the input
every open window fires. A summary goes to stderr.

There is no clock: idle, max_ahead, absent, resolve_after and repeat do nothing, and a reading that needs its
arrival time is refused as `time`.

Examples:
  forebay backtest --input day.ndjson.gz --source fleet --output rows.ndjson
  zstd -dc day.zst | forebay backtest -i - -s fleet | jq 'select(.type == \"alert\")'
  forebay backtest -i v17.ndjson -s fleet --topic fleet/v17/telemetry   # the topic names the sensor";

const STATUS_EXAMPLES: &str = "\
Asks the running gateway by its admin socket (`admin` of [gateway]; the configuration says where that is).

Examples:
  forebay status
  forebay status --socket /run/forebay/admin.sock
  forebay status --url http://127.0.0.1:8080 --json | jq .lanes";

const RELOAD_EXAMPLES: &str = "\
Has the running gateway read its configuration anew and bring it into force while devices go on sending; SIGHUP
does the same. A pipeline keeps its open windows unless what they depend on differs (from, where, key, tags, lane,
window, watermark, select): then it is rebuilt from the journal beside the running lane, so that windows open at the
change come out whole, by the new rule. An alert keeps its state unless it reads something else. A removed
sink loses its place in the journal; a new one starts at the end. A file with problems changes nothing.

[gateway], [journal] and a sink's kind are fixed while the gateway runs. Sinks wait up to 30 s for lanes that are
behind; rows of the time before the change that come later go by the new routes.

Exit codes: 0 in force (or could be), 1 not possible, 78 the file has problems.

Examples:
  forebay reload --dry-run
  forebay reload --config site.toml
  forebay reload --json | jq -r '.changes[] | select(.fate == \"rebuilt\") | .name'";

/// IoT site gateway: durable before acknowledged, windows per sensor, alerts, sinks
#[derive(Debug, Parser)]
#[command(name = "forebay", version, long_about = LONG_ABOUT, after_help = EXAMPLES, subcommand_required = true)]
pub struct Arguments {
    /// Arguments of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Arguments of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file; conf.d/*.toml beside it belongs to it
    /// [default: /etc/forebay/forebay.toml, else ./forebay.toml]
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Shape of log lines on stderr: text or json [default: FOREBAY_LOG_FORMAT, else text]
    #[arg(long, value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until SIGTERM
    #[command(after_help = RUN_EXAMPLES)]
    Run,
    /// Show it: a gateway of its own, a real machine's eleven weeks over MQTT, CoAP and HTTP
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArguments),
    /// Say everything that is wrong with the configuration
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckOptions),
    /// Run recorded payloads through a configuration, without sockets, journal or clock
    #[command(after_help = BACKTEST_EXAMPLES)]
    Backtest(BacktestOptions),
    /// Run the journal's past through a configuration, without touching live state
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayOptions),
    /// Check the journal, or say what it holds
    #[command(subcommand, after_help = JOURNAL_EXAMPLES)]
    Journal(JournalCommand),
    /// Write the gateway's data into a new directory, also while it runs
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(BackupOptions),
    /// Make a data directory of a backup
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreOptions),
    /// Say how the running gateway is doing
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusOptions),
    /// Bring an edited configuration into force in the running gateway
    #[command(after_help = RELOAD_EXAMPLES)]
    Reload(ReloadOptions),
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// Print who feeds whom
    #[arg(long)]
    pub graph: bool,
}

/// Arguments of `backtest`.
#[derive(Debug, Args)]
pub struct BacktestOptions {
    /// Payloads, one a line; `-` is stdin, a name in .gz is decompressed
    #[arg(short, long, value_name = "FILE")]
    pub input: PathBuf,
    /// The source they arrive at: the name of a [source.*] table
    #[arg(short, long, value_name = "NAME")]
    pub source: String,
    /// The topic they arrive on, where its levels name the sensor
    #[arg(short, long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Where the rows go [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusOptions {
    /// The gateway's admin socket [default: as the configuration says]
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    pub socket: Option<PathBuf>,
    /// Ask an HTTP listener instead: http://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Arguments of `reload`.
#[derive(Debug, Args)]
pub struct ReloadOptions {
    /// Say what would be kept, changed, rebuilt, new and removed, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The gateway's admin socket [default: as the configuration says]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

impl Command {
    /// Levels of logs where `RUST_LOG` does not say.
    pub fn log_levels(&self) -> &'static str {
        if matches!(self, Self::Demo(_)) { DEMO_LOG_LEVELS } else { LOG_LEVELS }
    }
}

/// The configuration file where none is named.
///
/// # Errors
/// Where none is where it is looked for.
pub fn default_config_path() -> Result<PathBuf, Failure> {
    let found = CONFIG_PATHS.iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| Failure::NoConfiguration(CONFIG_PATHS.join(" nor ./")))
}

impl Global {
    /// The configuration file to read.
    ///
    /// # Errors
    /// Where none is named and none is where it is looked for.
    pub fn config_path(&self) -> Result<PathBuf, Failure> {
        self.config.clone().map_or_else(default_config_path, Ok)
    }

    /// The shape of what is printed.
    pub fn style(&self) -> Style {
        if self.json { Style::Json } else { Style::Text }
    }

    /// Starts logging, at `levels` where `RUST_LOG` does not say.
    ///
    /// # Errors
    /// Where a variable of the environment asks for something unknown.
    pub fn start_logs(&self, levels: &str) -> Result<(), Failure> {
        let format = self.log_format.map_or_else(LogFormat::from_env, Ok);
        format
            .and_then(|format| logs::start(format, levels))
            .map_err(|error| Failure::Usage(error.to_string()))
    }
}

impl CheckOptions {
    /// What is printed of a configuration without problems.
    pub fn show(&self, style: Style) -> Show {
        match (style, self.graph) {
            (Style::Json, _) => Show::Json,
            (Style::Text, true) => Show::Graph,
            (Style::Text, false) => Show::Summary,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_arguments_stand_before_or_after_the_command() {
        for line in ["forebay --config a.toml --json check", "forebay check --json -c a.toml"] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(arguments.global.config_path().unwrap(), Path::new("a.toml"), "{line}");
            assert_eq!(arguments.global.style(), Style::Json, "{line}");
        }
    }

    #[test]
    fn every_command_shows_an_example_of_itself() {
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("forebay {name}")), "{name}: {help}");
        }
    }
}
