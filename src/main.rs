//! The binary: arguments, a command, an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(forebay::cli::main(std::env::args_os()))
}
