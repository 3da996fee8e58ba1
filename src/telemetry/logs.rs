//! Log output: text for people or JSON for collectors, on stderr.
//!
//! `RUST_LOG` chooses levels (`info,forebay::journal=debug`), `FOREBAY_LOG_FORMAT` or an argument the shape.
//! Colour is for terminals only, and not where `NO_COLOR` is set (<https://no-color.org>).

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The variable that chooses the format where no argument does.
pub const FORMAT_VARIABLE: &str = "FOREBAY_LOG_FORMAT";
/// The variable that chooses levels.
pub const LEVEL_VARIABLE: &str = "RUST_LOG";

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Neither of the two formats.
    #[error("unknown log format {0:?} (known: text, json)")]
    Format(String),
    /// The level filter cannot be read.
    #[error("{LEVEL_VARIABLE}={value:?}: {reason}")]
    Level {
        /// What the variable says.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process logs already.
    #[error("logging cannot be set up: {0}")]
    Installed(#[from] TryInitError),
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(LogError::Format(other.to_owned())),
        }
    }
}

impl LogFormat {
    /// The format that `FOREBAY_LOG_FORMAT` asks for; text where it is not set.
    ///
    /// # Errors
    /// If the variable holds neither `text` nor `json`.
    pub fn from_env() -> Result<Self, LogError> {
        std::env::var(FORMAT_VARIABLE).map_or(Ok(Self::Text), |text| text.parse())
    }
}

/// Starts logging for the whole process. `levels` applies where `RUST_LOG` is not set: `"info"`.
///
/// # Errors
/// If `RUST_LOG` or `levels` is not a filter, or logging has started before.
pub fn start(format: LogFormat, levels: &str) -> Result<(), LogError> {
    let filter = filter(std::env::var(LEVEL_VARIABLE).as_deref().unwrap_or(levels))?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(colour).finish().try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

fn filter(directives: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(directives)
        .map_err(|error| LogError::Level { value: directives.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_words() {
        assert_eq!("json".parse::<LogFormat>().expect("known"), LogFormat::Json);
        assert_eq!(
            "xml".parse::<LogFormat>().expect_err("unknown").to_string(),
            "unknown log format \"xml\" (known: text, json)"
        );
    }

    #[test]
    fn a_bad_filter_is_named() {
        assert!(filter("info,forebay::journal=debug").is_ok());
        let text = filter("forebay=loud").expect_err("no such level").to_string();
        assert!(text.starts_with("RUST_LOG=\"forebay=loud\": "), "{text}");
    }
}
