//! Dumps: all rows in one file of our own, for the day sled's files are damaged.
//!
//! One every few minutes; the newest two are kept. A dump counts once it was synced, renamed and read back.
//! Cursors are read first, then states: a state may be ahead of its lane's checkpoint, never behind, and a sensor
//! skips what it has applied. Retention must not pass what the newest dump needs ([`Header::marks`]).
//!
//! Format: a line of JSON, the [`Header`]; rows, each with tree, name and value; an end mark with their number and
//! the crc32c of everything before.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::backend::Tree;
use super::home::Home;
use super::ledger::Ledger;
use super::marks::Marks;
use super::{FORMAT, StoreError, files, pieces};
use crate::model::bytes::put_varint;
use crate::telemetry::clock;

/// Dumps that are kept.
const KEPT: usize = 2;
/// Rows that are written before the pace is looked at.
const BURST_ROWS: u64 = 256;
/// It rests so many times as long as it has worked: it takes a tenth of a core. Not in a hurry.
const REST_FACTOR: u32 = 9;
/// Longest header.
const HEADER_BYTES_MAX: u64 = 16 << 20;
/// Stands in the place of a tree behind the last row.
const END: u8 = 0xff;

/// What a dump says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    format: u64,
    /// The journal that positions refer to.
    journal: String,
    /// Wall time of its beginning, ms.
    made_ms: i64,
    /// Where lanes and sinks stood, or before: nothing from there on may leave the journal.
    pub(super) marks: Marks,
}

/// A dump that was read from beginning to end and is whole.
pub(super) struct Dump {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// Rows in it.
    pub(super) rows: u64,
}

/// A row of a dump.
pub(super) type DumpedRow = (Tree, Vec<u8>, Vec<u8>);

/// Writes a dump of `ledger`, reads it back and removes old ones.
///
/// # Errors
/// [`StoreError`]: the older dumps stay.
pub(super) fn write(home: &Home, ledger: &Ledger, marks: Marks) -> Result<Dump, StoreError> {
    let journal = home.journal.to_string();
    let header = Header { format: FORMAT, journal, made_ms: clock::now().floor_millis(), marks };
    let folder = home.dumps.parent().expect("dumps lie in a folder of their own");
    fs::create_dir_all(folder)?;
    files::sync_parent(folder)?;
    let older = files::numbered(&home.dumps, "-")?;
    let path =
        home.dumps.with_file_name(format!("dump-{}", older.last().map_or(1, |(number, _)| number + 1)));
    if let Err(error) = write_new(home, &path, ledger, &header) {
        // It takes room that somebody may be waiting for.
        let _ = fs::remove_file(files::new_name(&path));
        return Err(error);
    }
    files::publish(&path)?;
    let dump = read(path.clone()).inspect_err(|_| drop(fs::remove_file(&path)))?;
    for (_, path) in older.iter().rev().skip(KEPT - 1) {
        fs::remove_file(path)?;
    }
    Ok(dump)
}

fn write_new(home: &Home, path: &Path, ledger: &Ledger, header: &Header) -> Result<(), StoreError> {
    let mut out = Summed { inner: BufWriter::new(File::create(files::new_name(path))?), crc: 0 };
    serde_json::to_writer(&mut out, header).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    let (mut rows, mut since) = (0_u64, clock::monotonic());
    for tree in [Tree::Cursors, Tree::States] {
        for row in ledger.scan(tree, &[]) {
            let (key, _) = row?;
            let Some(name) = pieces::name_of_head(&key) else { continue };
            // All pieces of one value: a save beside us may be replacing them.
            let value = ledger.while_still(tree, || pieces::get(ledger, tree, name))?;
            let Some(value) = value else { continue };
            let mut head = vec![tree as u8];
            put_varint(&mut head, name.len() as u64);
            head.extend_from_slice(name);
            put_varint(&mut head, value.len() as u64);
            out.write_all(&head)?;
            out.write_all(&value)?;
            rows += 1;
            if rows % BURST_ROWS == 0 && !home.is_hurried.load(Ordering::Relaxed) {
                since = rest(since);
            }
        }
    }
    let mut end = vec![END];
    put_varint(&mut end, rows);
    out.write_all(&end)?;
    let crc = out.crc.to_le_bytes();
    out.write_all(&crc)?;
    Ok(out.inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?)
}

fn rest(since: Instant) -> Instant {
    std::thread::sleep(since.elapsed().saturating_mul(REST_FACTOR).min(Duration::from_secs(1)));
    clock::monotonic()
}

/// The newest dump of this journal that is whole. Damaged ones are passed over.
///
/// # Errors
/// [`StoreError::Newer`], or where the directory cannot be read.
pub(super) fn newest(home: &Home) -> Result<Option<Dump>, StoreError> {
    for (_, path) in files::numbered(&home.dumps, "-")?.into_iter().rev() {
        match read(path.clone()) {
            Ok(dump) if dump.header.journal == *home.journal => return Ok(Some(dump)),
            Ok(_) => tracing::warn!(path = %path.display(), "dump of another journal, not used"),
            Err(newer @ StoreError::Newer { .. }) => return Err(newer),
            Err(error) => tracing::error!(path = %path.display(), %error, "dump cannot be read, not used"),
        }
    }
    Ok(None)
}

/// Reads the dump at `path` to its end.
fn read(path: PathBuf) -> Result<Dump, StoreError> {
    let mut rows = Rows::open(&path)?;
    rows.by_ref().try_for_each(|row| row.map(drop))?;
    Ok(Dump { header: rows.header, rows: rows.count, path })
}

impl Dump {
    /// Its rows.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn rows(
        &self,
    ) -> Result<impl Iterator<Item = Result<DumpedRow, StoreError>> + use<>, StoreError> {
        Rows::open(&self.path)
    }
}

/// Counts the crc32c of what passes.
struct Summed<T> {
    inner: T,
    crc: u32,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..read]);
        Ok(read)
    }
}

/// The rows of a dump; the checksum is compared behind the last one.
struct Rows {
    input: Summed<BufReader<File>>,
    /// Bytes of the file: nothing in it is longer.
    length: u64,
    header: Header,
    count: u64,
    is_over: bool,
    path: PathBuf,
}

impl Rows {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut input = Summed { inner: BufReader::new(file), crc: 0 };
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') && (line.len() as u64) < length.min(HEADER_BYTES_MAX) {
            line.push(byte(&mut input)?);
        }
        let damaged = || StoreError::Damaged(format!("header of {}", path.display()));
        let header: Header = serde_json::from_slice(&line).map_err(|_| damaged())?;
        if header.format > FORMAT {
            let what = path.display().to_string();
            return Err(StoreError::Newer { what, format: header.format, reads: FORMAT });
        }
        Ok(Self { input, length, header, count: 0, is_over: false, path: path.to_owned() })
    }

    fn damaged(&self) -> StoreError {
        StoreError::Damaged(format!("row {} of {}", self.count, self.path.display()))
    }

    fn take(&mut self) -> Result<Option<DumpedRow>, StoreError> {
        let kind = byte(&mut self.input)?;
        if kind == END {
            return self.end();
        }
        let tree = Tree::ALL.get(usize::from(kind)).copied().ok_or_else(|| self.damaged())?;
        let name = self.bytes()?;
        let value = self.bytes()?;
        self.count += 1;
        Ok(Some((tree, name, value)))
    }

    fn end(&mut self) -> Result<Option<DumpedRow>, StoreError> {
        let count = self.varint()?;
        let crc = self.input.crc;
        let mut found = [0; 4];
        self.input.read_exact(&mut found)?;
        let is_right = count == self.count && found == crc.to_le_bytes();
        if is_right { Ok(None) } else { Err(self.damaged()) }
    }

    fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        let length = self.varint()?;
        if length > self.length {
            return Err(self.damaged());
        }
        let mut bytes = vec![0; length as usize];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn varint(&mut self) -> Result<u64, StoreError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = byte(&mut self.input)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged())
    }
}

fn byte(input: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    input.read_exact(&mut byte)?;
    Ok(byte[0])
}

impl Iterator for Rows {
    type Item = Result<DumpedRow, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let row = match self.take() {
            // A file that ends early.
            Err(StoreError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.damaged()),
            row => row,
        };
        self.is_over = !matches!(row, Ok(Some(_)));
        row.transpose()
    }
}
