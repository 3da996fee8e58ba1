//! `forebay restore`: a data directory made of a backup, for a gateway that goes on where the other one was.
//!
//! The journal gets a new id: the gateway that was backed up may have gone on, and ids of results must not repeat.
//! Offsets go on behind everything that the backup holds: segments keep their names, and the next start counts on
//! from there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::copy::{self, Copied, copy_file, sync_dir, sync_tree};
use super::manifest::{Manifest, NAME};
use super::{CONFIG, failed};
use crate::cli::{Failure, OK};
use crate::journal::disk::RealDisk;
use crate::journal::identity;

/// Help that follows the options.
pub const RESTORE_EXAMPLES: &str = "\
Checks every file of the backup first, then fills a new or empty data directory. The journal gets a new id, so that
results of the restored gateway never repeat ids of the other one; offsets go on. The configuration in the backup
(forebay.toml, without secrets) is not put anywhere.

Examples:
  forebay restore --from /var/backups/forebay-monday --data-dir /var/lib/forebay
  forebay restore --from /mnt/usb/forebay --data-dir /tmp/look && forebay journal info --data-dir /tmp/look";

/// Where the restored data directory is put together.
const PART: &str = ".restoring";
/// In this order: a gateway looks for the journal.
const PARTS: [&str; 3] = [super::STORE_MANIFEST, super::DUMPS, "journal"];

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct RestoreOptions {
    /// The backup: a directory that `forebay backup` wrote
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// The data directory to fill; must not exist or be empty
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// Restores as `options` say. Yields the exit code.
///
/// # Errors
/// Where the backup is damaged, the target is not empty, or reading or writing fails.
pub fn run(options: &RestoreOptions) -> Result<u8, Failure> {
    let RestoreOptions { from, data_dir } = options;
    let manifest = Manifest::read(from);
    let manifest = manifest.map_err(|error| failed(&format!("{} is no backup", from.display()), &error))?;
    verify(from, &manifest)?;
    refuse_used(data_dir)?;
    let id = fill(from, &manifest, data_dir);
    let id = id.map_err(|error| failed(&format!("cannot fill {}", data_dir.display()), &error))?;
    let config = from.join(CONFIG);
    tracing::info!(
        data_dir = %data_dir.display(),
        files = manifest.files.len(),
        journal = id,
        was = manifest.journal,
        configuration = %config.display(),
        "restored"
    );
    Ok(OK)
}

/// Every file is there and what it was.
fn verify(from: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for file in &manifest.files {
        match copy::check(&from.join(&file.path)) {
            Ok(found) if found == (Copied { bytes: file.bytes, crc32c: file.crc32c }) => {}
            Ok(found) if found.bytes != file.bytes => {
                problems.push(format!("{} has {} bytes, not {}", file.path, found.bytes, file.bytes));
            }
            Ok(_) => problems.push(format!("{} has a wrong checksum", file.path)),
            Err(error) => problems.push(format!("{}: {error}", file.path)),
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let (dir, name) = (from.display(), NAME);
    Err(Failure::Failed(format!("{dir} is not what its {name} says: {}", problems.join("; "))))
}

fn refuse_used(data_dir: &Path) -> Result<(), Failure> {
    let mut entries = match fs::read_dir(data_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::unreadable(data_dir, &error)),
    };
    // What an earlier try left behind does not count.
    match entries.find(|entry| entry.as_ref().map_or(true, |entry| entry.file_name() != PART)) {
        None => Ok(()),
        Some(_) => {
            Err(Failure::Usage(format!("{} is not empty: restore into a new directory", data_dir.display())))
        }
    }
}

/// Copies everything, mints an id, and puts it in place; the id.
fn fill(from: &Path, manifest: &Manifest, data_dir: &Path) -> io::Result<String> {
    let part = data_dir.join(PART);
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    fs::create_dir_all(part.join("journal"))?;
    for file in manifest.files.iter().filter(|file| file.path != CONFIG) {
        let target = part.join(&file.path);
        if let Some(dir) = target.parent() {
            fs::create_dir_all(dir)?;
        }
        let copied = copy_file(&from.join(&file.path), &target, u64::MAX)?;
        if copied != (Copied { bytes: file.bytes, crc32c: file.crc32c }) {
            return Err(io::Error::other(format!("{} changed while it was copied", file.path)));
        }
    }
    let id = identity::load_or_mint(&RealDisk, &part.join("journal/journal.id"))?;
    sync_tree(&part)?;
    for name in PARTS {
        let own = part.join(name);
        if own.exists() {
            fs::rename(own, data_dir.join(name))?;
            sync_dir(data_dir)?;
        }
    }
    fs::remove_dir_all(&part)?;
    sync_dir(data_dir)?;
    Ok(id)
}
