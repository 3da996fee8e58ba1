//! A gateway's data directory seen from outside: commands look at it beside the running gateway, or without one.
//!
//! Nothing is locked for longer than a look. Whether a gateway runs decides how far its streams may be read: what it
//! has just written may not be on disk yet, and what a dead one left is read as its next start would.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::arguments::Global;
use crate::config;
use crate::journal::identity;
use crate::journal::past::{Extent, Past};
use crate::model::StreamName;

/// Where the data is, for commands that read it.
#[derive(Clone, Debug, Args)]
pub struct DataDirOption {
    /// The gateway's data directory [default: as the configuration says]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl DataDirOption {
    /// The directory named, or that of the configuration.
    ///
    /// # Errors
    /// Where it holds no journal, or the configuration that should say where it is is bad.
    pub fn open(&self, global: &Global) -> Result<DataDir, Failure> {
        let path = match &self.data_dir {
            Some(path) => path.clone(),
            None => config::load(&global.config_path()?)?.0.gateway.data_dir,
        };
        DataDir::open(&path)
    }
}

/// Whether a gateway is at work in a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gateway {
    /// It holds the lock.
    Running,
    /// Nobody does.
    Stopped,
}

/// A data directory with a journal in it.
#[derive(Clone, Debug)]
pub struct DataDir {
    /// Its path.
    pub path: PathBuf,
    /// As it was when it was opened.
    pub gateway: Gateway,
    /// The journal's id, part of every result's id.
    pub journal_id: String,
}

impl DataDir {
    /// Looks at the data directory at `path`.
    ///
    /// # Errors
    /// Where it holds no journal, or may not be read.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let id = path.join("journal/journal.id");
        let text = std::fs::read_to_string(&id).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Failure::Failed(format!("{} holds no journal: there is no {}", path.display(), id.display()))
            }
            _ => Failure::unreadable(&id, &error),
        })?;
        let journal_id = identity::parse(&text)
            .ok_or_else(|| Failure::Failed(format!("{} is damaged: it holds {text:?}", id.display())))?
            .to_owned();
        let gateway = gateway(&path.join("lock")).map_err(|error| Failure::unreadable(path, &error))?;
        Ok(Self { path: path.to_owned(), gateway, journal_id })
    }

    /// How far streams may be read.
    pub fn extent(&self) -> Extent {
        match self.gateway {
            Gateway::Running => Extent::Durable,
            Gateway::Stopped => Extent::Whole,
        }
    }

    /// The directory of a stream.
    pub fn stream_dir(&self, stream: StreamName) -> PathBuf {
        self.path.join("journal").join(stream.as_str())
    }

    /// The stream as far as it may be read.
    ///
    /// # Errors
    /// Where it cannot be read; data of a newer format has an exit code of its own.
    pub fn stream(&self, stream: StreamName) -> Result<Past, Failure> {
        let dir = self.stream_dir(stream);
        Past::open(&dir, self.extent()).map_err(|error| Failure::unreadable(&dir, &error))
    }
}

/// Asks for a share of the gateway's lock and gives it back at once. A directory without a lock file has never had a
/// gateway.
fn gateway(lock: &Path) -> io::Result<Gateway> {
    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;
    let file = match File::open(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Gateway::Stopped),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Gateway::Stopped),
        Err(Errno::WOULDBLOCK) => Ok(Gateway::Running),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{FlockOperation, flock};

    use super::*;

    #[test]
    fn a_held_lock_means_a_running_gateway() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(gateway(&path).unwrap(), Gateway::Stopped);
        let lock = File::create(&path).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(gateway(&path).unwrap(), Gateway::Running);
        drop(lock);
        assert_eq!(gateway(&path).unwrap(), Gateway::Stopped);
    }

    #[test]
    fn a_directory_without_a_journal_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let failure = DataDir::open(dir.path()).unwrap_err();
        assert!(failure.to_string().contains("holds no journal"), "{failure}");
        assert_eq!(failure.code(), crate::cli::FAILED);
    }
}
