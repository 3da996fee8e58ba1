//! What is kept outside of the engine while the store is open: the manifest, and behind it a log of what sinks
//! have committed since it was written.
//!
//! A sink such as a file is exact only if it finds its very last cursor again, also after sled is lost. So a
//! sink's cursor is durable through one line of this log (and sled's own files need no sync for it); whenever the
//! manifest is replaced it takes the cursors over, and the log begins anew: lines count only beside the manifest whose
//! serial they carry. Lines are a crc32c and JSON; what is no such line was never acknowledged, or is damaged, and is
//! passed over.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ledger::Accounts;
use super::manifest::Manifest;
use super::marks::Mark;
use super::{StoreError, files};

/// Bytes of the log at which the manifest is replaced.
const LOG_BYTES_MAX: u64 = 1 << 20;

/// One commit of a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The cursor's name.
    pub(super) name: String,
    /// Where the sink stands.
    pub(super) mark: Mark,
    /// The cursor.
    pub(super) text: String,
}

/// The log that belongs to the manifest at `path`.
fn log_path(path: &Path) -> PathBuf {
    path.with_extension("sinks")
}

/// A line of the log.
#[derive(Serialize, Deserialize)]
struct Line {
    /// The manifest's that it follows.
    serial: u64,
    entry: Entry,
}

/// The last commit of each sink in the log of the manifest at `path`. `serial` is the manifest's, if it can be read.
pub(super) fn commits(path: &Path, serial: Option<u64>) -> io::Result<Vec<Entry>> {
    let bytes = match fs::read(log_path(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(decode);
    let lines = lines.filter(|line| serial.is_none_or(|serial| serial == line.serial));
    let last: BTreeMap<String, Entry> = lines.map(|line| (line.entry.name.clone(), line.entry)).collect();
    Ok(last.into_values().collect())
}

fn encode(line: &Line) -> Vec<u8> {
    let json = serde_json::to_string(line).expect("texts and numbers serialise");
    format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes())).into_bytes()
}

fn decode(line: &[u8]) -> Option<Line> {
    let (crc, json) = line.split_first_chunk::<9>()?;
    let is_right = *crc == format!("{:08x} ", crc32c::crc32c(json)).as_bytes();
    if is_right { serde_json::from_slice(json).ok() } else { None }
}

/// The manifest of an open store, and its log.
pub(super) struct Outside {
    pub(super) manifest: Manifest,
    path: PathBuf,
    /// The log, once something was written to it.
    log: Option<File>,
    log_bytes: u64,
    /// Which manifest is on the disk is known; else the log's lines might not count.
    is_saved: bool,
}

impl Outside {
    /// Of an open store: `manifest` has taken over the log of the run before.
    pub(super) fn new(path: &Path, manifest: Manifest) -> Self {
        Self { manifest, path: path.to_owned(), log: None, log_bytes: 0, is_saved: false }
    }

    /// Replaces the manifest; `accounts` are durable. The log begins anew.
    pub(super) fn save(&mut self, accounts: Accounts) -> Result<(), StoreError> {
        self.manifest.accounts = accounts;
        self.is_saved = false;
        self.manifest.save(&self.path)?;
        (self.is_saved, self.log_bytes) = (true, 0);
        Ok(())
    }

    /// Makes a sink's cursor durable.
    pub(super) fn commit(&mut self, entry: Entry) -> Result<(), StoreError> {
        if self.is_saved && self.log_bytes < LOG_BYTES_MAX {
            let line = encode(&Line { serial: self.manifest.serial(), entry: entry.clone() });
            if let Err(error) = self.append(&line) {
                // What is in the file now is not known: the next one goes into the manifest.
                (self.log, self.is_saved) = (None, false);
                return Err(error.into());
            }
            self.manifest.take_over(entry);
            return Ok(());
        }
        self.manifest.take_over(entry);
        self.save(self.manifest.accounts)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let log = match &self.log {
            Some(log) => log,
            None => self.log.insert(open(&self.path)?),
        };
        if self.log_bytes == 0 {
            log.set_len(0)?;
        }
        log.write_all_at(line, self.log_bytes)?;
        log.sync_data()?;
        self.log_bytes += line.len() as u64;
        Ok(())
    }
}

fn open(manifest: &Path) -> io::Result<File> {
    let path = log_path(manifest);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
    files::sync_parent(&path)?;
    Ok(file)
}
