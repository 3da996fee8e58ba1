//! Small files that are replaced whole, and names with a number at the end.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Makes the name of `path` durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Replaces the file at `path` durably: afterwards it holds `bytes`, after a crash the old or the new bytes.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = new_name(path);
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    publish(path)
}

/// Where a file is written before it takes the place of `path`.
pub(super) fn new_name(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    name.into()
}

/// Puts the file at [`new_name`], which is synced, in the place of `path`.
pub(super) fn publish(path: &Path) -> io::Result<()> {
    fs::rename(new_name(path), path)?;
    sync_parent(path)
}

/// Files and directories beside `path` named like it with `infix` and a number behind, by number.
pub(super) fn numbered(path: &Path, infix: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let stem = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + infix;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(&stem)?.parse().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort();
    Ok(found)
}
