//! Why a command ends early, and the exit code of it.

use std::io::{self, Write};
use std::path::Path;

use super::{BAD_CONFIGURATION, FAILED, OK, USAGE};
use crate::config::Problems;

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments do not fit each other, or what they refer to.
    #[error("{0}")]
    Usage(String),
    /// No file was named, and none is where it is looked for.
    #[error("no configuration: there is neither {0}, give --config FILE")]
    NoConfiguration(String),
    /// The configuration has problems.
    #[error("{0}")]
    Configuration(#[from] Problems),
    /// Something outside does not do its part.
    #[error("{0}")]
    Failed(String),
    /// Data that a newer program wrote.
    #[error("{0}")]
    NewerFormat(String),
    /// The results cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
}

impl Failure {
    /// The failure to read `path`.
    pub fn unreadable(path: &Path, error: &io::Error) -> Self {
        let text = format!("cannot read {}: {error}", path.display());
        if error.kind() == io::ErrorKind::Unsupported { Self::NewerFormat(text) } else { Self::Failed(text) }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::NoConfiguration(_) | Self::Configuration(_) | Self::NewerFormat(_) => BAD_CONFIGURATION,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => OK,
            Self::Failed(_) | Self::Output(_) => FAILED,
        }
    }

    /// Says it on `errors`, unless it is no failure after all; yields the exit code.
    pub fn report(&self, errors: &mut dyn Write) -> u8 {
        let code = self.code();
        if code != OK {
            // Nowhere is left to say that it cannot be said.
            let _ = match self {
                // Each line begins with the file's name, as editors expect it.
                Self::Configuration(problems) => writeln!(errors, "{problems}"),
                _ => writeln!(errors, "forebay: {self}"),
            };
        }
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Problem;

    #[test]
    fn each_failure_has_its_code() {
        let problem = Problem {
            file: "forebay.toml".into(),
            line: 3,
            column: 1,
            path: "gateway.id".into(),
            message: "is empty".into(),
        };
        let output = |kind: io::ErrorKind| Failure::Output(kind.into());
        for (failure, code, text) in [
            (Failure::Usage("no such source".into()), 64, "forebay: no such source\n"),
            (Failure::Configuration(Problems(vec![problem])), 78, "forebay.toml:3:1: gateway.id: is empty\n"),
            (Failure::Failed("x cannot be read".into()), 1, "forebay: x cannot be read\n"),
            (
                Failure::unreadable(Path::new("x"), &io::Error::new(io::ErrorKind::Unsupported, "format 9")),
                78,
                "forebay: cannot read x: format 9\n",
            ),
            (output(io::ErrorKind::BrokenPipe), 0, ""),
            (output(io::ErrorKind::StorageFull), 1, "forebay: cannot write the output: no storage space\n"),
        ] {
            let mut said = Vec::new();
            assert_eq!(failure.report(&mut said), code, "{failure}");
            assert_eq!(String::from_utf8(said).unwrap(), text);
        }
    }
}
