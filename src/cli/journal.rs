//! `forebay journal verify|info|gaps`: what a journal holds, and whether all of it can be read.
//!
//! [`scan`] reads every frame of a stream for `verify` and `gaps`; [`info`] looks at heads and control records only. All
//! of them work beside a running gateway: the end of its active segments is then still being written, not damaged.

use std::io;

use clap::Subcommand;

pub mod gaps;
pub mod info;
pub mod scan;
pub mod verify;

use super::Failure;
use super::arguments::Global;
use super::data_dir::DataDirOption;
use crate::model::Offset;

/// Help of `journal` as a whole.
pub const JOURNAL_EXAMPLES: &str = "\
Examples:
  forebay journal verify --config site.toml            exit 1 if anything is damaged
  forebay journal info --data-dir /var/lib/forebay
  forebay journal gaps --json | jq .from";

const VERIFY_EXAMPLES: &str = "\
Reads every frame of every stream: checksum, content, order and density of offsets. Each thing that is wrong is a line
with stream, segment file, place in bytes and offsets; exit 1 then. What a running gateway is just writing, and what
its next start will cut as a torn tail, is told and is no damage.

Examples:
  forebay journal verify
  forebay journal verify --data-dir /mnt/card/forebay --json | jq .problems";

const INFO_EXAMPLES: &str = "\
Examples:
  forebay journal info
  forebay journal info --json | jq '.streams[0].bytes_per_reading'";

const GAPS_EXAMPLES: &str = "\
Offsets that hold nothing: damaged, missing between frames, or recorded by the gateway as lost; one line each.

Examples:
  forebay journal gaps
  forebay journal gaps --json | jq -r '[.stream, .from, .to] | @tsv'";

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Read everything and name what is damaged
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(DataDirOption),
    /// Say what the streams hold
    #[command(after_help = INFO_EXAMPLES)]
    Info(DataDirOption),
    /// List offsets that hold nothing
    #[command(after_help = GAPS_EXAMPLES)]
    Gaps(DataDirOption),
}

/// Does what `command` asks for. Yields the exit code.
///
/// # Errors
/// Where the journal cannot be found or read, or the answer not be written.
pub fn run(global: &Global, command: &JournalCommand) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    match command {
        JournalCommand::Verify(option) => verify::run(&option.open(global)?, global.style(), &mut out),
        JournalCommand::Info(option) => info::run(&option.open(global)?, global.style(), &mut out),
        JournalCommand::Gaps(option) => gaps::run(&option.open(global)?, global.style(), &mut out),
    }
}

/// The name of the segment file that begins at `base`.
fn file_name(base: Offset) -> String {
    let path = crate::journal::past::segment_path(base);
    path.display().to_string()
}

/// `1.5 MiB`.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_that_fits() {
        for (count, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 << 30, "20.0 GiB")] {
            assert_eq!(bytes(count), text);
        }
    }
}
