//! `forebay run`: the gateway, until SIGTERM or SIGINT.

use std::io::{self, Write};
use std::path::Path;

use super::{BAD_CONFIGURATION, FAILED, Failure, OK};
use crate::store::StoreError;
use crate::{app, config};

/// Runs the gateway that the configuration at `path` describes. Yields the exit code.
///
/// # Errors
/// Where stderr cannot be written.
pub fn run(path: &Path) -> Result<u8, Failure> {
    let (config, warnings) = match config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => {
            writeln!(io::stderr().lock(), "{problems}").map_err(Failure::Output)?;
            return Ok(BAD_CONFIGURATION);
        }
    };
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    match app::block_on(app::run(config, app::Origin::File(path.to_owned()))) {
        Ok(()) => Ok(OK),
        Err(error) => {
            tracing::error!("{error:#}");
            Ok(if is_newer_format(&error) { BAD_CONFIGURATION } else { FAILED })
        }
    }
}

/// Data that a newer program wrote: starting again will not help, somebody has to act.
fn is_newer_format(error: &anyhow::Error) -> bool {
    let unsupported = |error: &io::Error| error.kind() == io::ErrorKind::Unsupported;
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(unsupported)
            || cause.downcast_ref::<StoreError>().is_some_and(StoreError::is_newer)
    })
}
