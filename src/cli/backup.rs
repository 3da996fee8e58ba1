//! `forebay backup` and `forebay restore`: a gateway's data in another directory, and a gateway made of it.
//!
//! A backup is a directory: the journal's streams, the store's newest dump and its manifest, the configuration's text
//! and [`manifest::Manifest`], which has length and crc32c of every file. It is made beside a running gateway or without
//! one. The order of copying makes it consistent: what refers to something is copied first (dump, then results, then
//! readings), so what it refers to is in the backup too.
//!
//! Invariants: the backup's name appears only once everything under it is on disk; nothing in the data directory
//! changes; the target of a restore holds a journal only once all of it is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

pub mod copy;
pub mod manifest;
pub mod restore;

use self::copy::{Copied, copy_file, link_or_copy, sync_dir};
use self::manifest::{Manifest, Saved};
use super::arguments::Global;
use super::data_dir::{DataDir, DataDirOption};
use super::{Failure, OK};
use crate::config;
use crate::journal::Record;
use crate::journal::past::{Extent, Past, segment_path};
use crate::model::StreamName;
use crate::telemetry::clock;

/// Help that follows the options.
pub const BACKUP_EXAMPLES: &str = "\
Writes a new directory with everything that was acknowledged, beside a running gateway or without one. Segments that
are complete are linked where the file system allows it, else copied; so a backup on the same disk costs little room
and is no protection against the loss of that disk: copy the directory elsewhere (rsync -H, tar). Every file is read once;
backup.json has its length and checksum.

Examples:
  forebay backup /var/backups/forebay-monday
  forebay backup /mnt/usb/forebay --data-dir /var/lib/forebay && tar -C /mnt/usb -czf f.tgz forebay";

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct BackupOptions {
    /// The directory to write; must not exist
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
    /// Where the data is.
    #[command(flatten)]
    pub data: DataDirOption,
}

/// Copied in this order: results say how far readings were processed, so the readings come after them.
const STREAMS: [StreamName; 3] = [StreamName::Results, StreamName::Readings, StreamName::DeadLetters];

/// The last segments of a stream that a gateway may still change: it writes to one, and cuts the one before when
/// it starts.
const CHANGING_SEGMENTS: usize = 2;

/// Names in a data directory and in a backup.
const STORE_MANIFEST: &str = "state.manifest";
const DUMPS: &str = "dumps";
const CONFIG: &str = "forebay.toml";

/// Writes the backup that `options` ask for. Yields the exit code.
///
/// # Errors
/// Where there is no journal, the target exists, or reading or writing fails.
pub fn run(global: &Global, options: &BackupOptions) -> Result<u8, Failure> {
    let data = options.data.open(global)?;
    let target = &options.to;
    if target.exists() {
        return Err(Failure::Usage(format!("{} exists: a backup is a new directory", target.display())));
    }
    let part = target.with_added_extension("part");
    let config = config_text(global, options, &data)?;
    let made = make(&data, config.as_deref(), &part).and_then(|manifest| {
        fs::rename(&part, target)?;
        sync_dir(target.parent().unwrap_or(Path::new("")))?;
        Ok(manifest)
    });
    match made {
        Ok(manifest) => {
            let (files, bytes) = (manifest.files.len(), manifest.bytes());
            tracing::info!(target = %target.display(), files, bytes, "backup complete");
            Ok(OK)
        }
        Err(error) => {
            // What cannot be removed is named .part and replaced by the next try.
            let _ = fs::remove_dir_all(&part);
            Err(failed(&format!("cannot back up {}", data.path.display()), &error))
        }
    }
}

fn failed(what: &str, error: &io::Error) -> Failure {
    let text = format!("{what}: {error}");
    if error.kind() == io::ErrorKind::Unsupported {
        Failure::NewerFormat(text)
    } else {
        Failure::Failed(text)
    }
}

/// The configuration without its secrets: of the file, or the last one in the journal where only the data is named.
fn config_text(global: &Global, options: &BackupOptions, data: &DataDir) -> Result<Option<String>, Failure> {
    if options.data.data_dir.is_none() || global.config.is_some() {
        return Ok(Some(config::load(&global.config_path()?)?.0.text.to_string()));
    }
    let past = data.stream(StreamName::Readings)?;
    let text = |record: &Record| match record {
        Record::Config { text, .. } => Some(text.to_string()),
        _ => None,
    };
    let found = past.last_before(past.end(), usize::MAX, text);
    let found = found.map_err(|error| Failure::unreadable(&data.stream_dir(StreamName::Readings), &error))?;
    Ok(found.map(|(_, text)| text))
}

fn make(data: &DataDir, config: Option<&str>, part: &Path) -> io::Result<Manifest> {
    if part.exists() {
        fs::remove_dir_all(part)?;
    }
    fs::create_dir_all(part)?;
    let mut manifest = Manifest::new(&data.journal_id, clock::now());
    store(data, part, &mut manifest)?;
    for name in STREAMS {
        let dir = data.stream_dir(name);
        if dir.exists() {
            stream(&dir, &part.join("journal").join(name.as_str()), name, &mut manifest)?;
        }
    }
    if let Some(text) = config {
        fs::write(part.join(CONFIG), text)?;
        let copied = copy::check(&part.join(CONFIG))?;
        manifest.add(Path::new(CONFIG), copied);
    }
    manifest.write(part)?;
    copy::sync_tree(part)?;
    Ok(manifest)
}

/// The store's manifest and its newest dump, where there are any: states can be rebuilt from the journal.
fn store(data: &DataDir, part: &Path, manifest: &mut Manifest) -> io::Result<()> {
    let own = Path::new(STORE_MANIFEST);
    if data.path.join(own).exists() {
        manifest.add(own, copy_file(&data.path.join(own), &part.join(own), u64::MAX)?);
    }
    let Some(dump) = newest_dump(&data.path.join(DUMPS))? else { return Ok(()) };
    let own = Path::new(DUMPS).join(&dump);
    fs::create_dir_all(part.join(DUMPS))?;
    let copied = link_or_copy(&data.path.join(&own), &part.join(&own))?;
    manifest.add(&own, copied);
    Ok(())
}

/// The name of the dump with the highest number.
fn newest_dump(dir: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut newest: Option<(u64, String)> = None;
    for entry in entries {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let number = name.strip_prefix("dump-").and_then(|number| number.parse::<u64>().ok());
        newest = newest.max(number.map(|number| (number, name)));
    }
    Ok(newest.map(|(_, name)| name))
}

/// Segments that are complete, and the last one as far as its frames are whole: also those that a running gateway has
/// not made durable yet. The copy is durable by itself, and a message in it that is sent again is recognised.
fn stream(dir: &Path, to: &Path, name: StreamName, manifest: &mut Manifest) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let past = Past::open(dir, Extent::Whole)?;
    let last = past.segments().last().copied();
    let complete = past.segments().len().saturating_sub(CHANGING_SEGMENTS);
    for (at, base) in past.segments().iter().enumerate() {
        let target = to.join(segment_path(*base));
        let copied = if Some(*base) == last {
            let wanted = past.rest().at_bytes;
            let copied = copy_file(&past.path(*base), &target, wanted)?;
            if copied.bytes != wanted {
                return Err(io::Error::other("the gateway started anew meanwhile: try again"));
            }
            copied
        } else {
            let from = past.path(*base);
            let copied = if at < complete {
                link_or_copy(&from, &target)
            } else {
                copy_file(&from, &target, u64::MAX)
            };
            match copied {
                // Retention was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                copied => copied?,
            }
        };
        let own = Path::new("journal").join(name.as_str()).join(segment_path(*base));
        manifest.add(&own, copied);
    }
    Ok(())
}

impl Manifest {
    fn add(&mut self, path: &Path, Copied { bytes, crc32c }: Copied) {
        self.files.push(Saved { path: path.display().to_string(), bytes, crc32c });
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}
