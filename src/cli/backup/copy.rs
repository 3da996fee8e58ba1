//! Files copied with their checksums.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Its length.
    pub bytes: u64,
    /// The checksum of its content.
    pub crc32c: u32,
}

/// Copies the first `bytes_max` bytes of `from` to `to`, which must not exist, durably.
///
/// # Errors
/// Where reading or writing fails.
pub fn copy_file(from: &Path, to: &Path, bytes_max: u64) -> io::Result<Copied> {
    let mut out = File::create_new(to)?;
    let copied = pass(File::open(from)?.take(bytes_max), &mut out)?;
    out.sync_all()?;
    Ok(copied)
}

/// Gives the file `from`, which nobody changes any more, the name `to` too; copies it where that cannot be.
///
/// # Errors
/// Where reading or writing fails.
pub fn link_or_copy(from: &Path, to: &Path) -> io::Result<Copied> {
    match fs::hard_link(from, to) {
        Ok(()) => check(to),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        // Another file system, or one that has no links.
        Err(_) => copy_file(from, to, u64::MAX),
    }
}

/// Length and checksum of the file at `path`.
///
/// # Errors
/// Where it cannot be read.
pub fn check(path: &Path) -> io::Result<Copied> {
    pass(File::open(path)?, &mut io::sink())
}

fn pass(from: impl Read, to: &mut impl Write) -> io::Result<Copied> {
    let mut from = BufReader::with_capacity(COPY_BYTES, from);
    let mut copied = Copied { bytes: 0, crc32c: 0 };
    loop {
        let count = {
            let bytes = io::BufRead::fill_buf(&mut from)?;
            to.write_all(bytes)?;
            copied.crc32c = crc32c::crc32c_append(copied.crc32c, bytes);
            bytes.len()
        };
        if count == 0 {
            return Ok(copied);
        }
        copied.bytes += count as u64;
        io::BufRead::consume(&mut from, count);
    }
}

/// Makes the names in `dir` durable; the current directory where it is empty.
///
/// # Errors
/// Where it cannot be opened.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

/// Makes every file and name below `dir` durable.
///
/// # Errors
/// Where one cannot be opened.
pub fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_say_what_they_hold() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to, link) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        let bytes: Vec<u8> = (0..3 * COPY_BYTES + 5).map(|at| (at % 251) as u8).collect();
        fs::write(&from, &bytes).unwrap();
        let whole = Copied { bytes: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) };
        assert_eq!(link_or_copy(&from, &link).unwrap(), whole);
        let part = copy_file(&from, &to, 1000).unwrap();
        assert_eq!(part, Copied { bytes: 1000, crc32c: crc32c::crc32c(&bytes[..1000]) });
        assert_eq!(check(&to).unwrap(), part);
        assert!(copy_file(&from, &to, 1).is_err(), "nothing is overwritten");
    }
}
