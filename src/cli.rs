//! The command line: arguments in, an exit code out.
//!
//! [`arguments`] says what can be asked for, a module each does it. Results go to stdout, everything said about
//! them to stderr. A reader of stdout that leaves early (`| head`) is no failure.

use std::ffi::OsString;
use std::io;

use clap::Parser;

pub mod arguments;
pub mod backtest;
pub mod backup;
pub mod check;
pub mod data_dir;
pub mod demo;
pub mod failure;
pub mod journal;
pub mod reload;
pub mod replay;
pub mod run;
pub mod status;
pub mod time;

use arguments::{Arguments, Command};
pub use failure::Failure;

/// Exit code: done.
pub const OK: u8 = 0;
/// Exit code: it did not work.
pub const FAILED: u8 = 1;
/// Exit code: the arguments are wrong (`EX_USAGE` of sysexits.h).
pub const USAGE: u8 = 64;
/// Exit code: the configuration is bad, or the data is of a newer format (`EX_CONFIG` of sysexits.h).
pub const BAD_CONFIGURATION: u8 = 78;

/// The shape of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Does what `arguments` (the program's name first) ask for, and yields the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nowhere is left to say that it cannot be printed.
            let _ = error.print();
            return if error.use_stderr() { USAGE } else { OK };
        }
    };
    run(&arguments).unwrap_or_else(|failure| failure.report(&mut io::stderr().lock()))
}

fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let global = &arguments.global;
    global.start_logs(arguments.command.log_levels())?;
    match &arguments.command {
        Command::Run => run::run(&global.config_path()?),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Check(options) => {
            let (mut out, mut errors) = (io::stdout().lock(), io::stderr().lock());
            let show = options.show(global.style());
            check::run(&global.config_path()?, show, &mut out, &mut errors).map_err(Failure::Output)
        }
        Command::Backtest(options) => backtest::run(&global.config_path()?, options, global.style()),
        Command::Replay(options) => replay::run(global, options),
        Command::Journal(command) => journal::run(global, command),
        Command::Backup(options) => backup::run(global, options),
        Command::Restore(options) => backup::restore::run(options),
        Command::Status(options) => status::run(global, options),
        Command::Reload(options) => reload::run(global, options),
    }
}
