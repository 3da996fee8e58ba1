//! Sorts any number of rows in bounded memory: sorted runs go to a temporary file and are merged when read back.
//!
//! The file has no name after it is opened, so it is gone with the program, however that ends.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::row::Item;

/// Bytes of rows kept in memory, roughly.
const HELD_BYTES_MAX: usize = 16 << 20;
/// Bytes of a run read at once.
const RUN_READ_BYTES: usize = 8 << 10;

/// Takes rows in any order.
pub struct Sorter {
    held: Vec<Item>,
    held_bytes: usize,
    held_bytes_max: usize,
    spill: Option<Spill>,
}

/// The runs written so far, one after the other.
struct Spill {
    file: Arc<File>,
    /// Ends of the runs in the file.
    ends: Vec<u64>,
}

impl Default for Sorter {
    fn default() -> Self {
        Self { held: Vec::new(), held_bytes: 0, held_bytes_max: HELD_BYTES_MAX, spill: None }
    }
}

impl Sorter {
    /// Takes a row.
    ///
    /// # Errors
    /// Where the temporary file cannot be written.
    pub fn push(&mut self, item: Item) -> io::Result<()> {
        self.held_bytes += item.bytes();
        self.held.push(item);
        if self.held_bytes > self.held_bytes_max { self.write_run() } else { Ok(()) }
    }

    /// The rows in order; those of one place in the order they came.
    ///
    /// # Errors
    /// Where the temporary file cannot be written or read.
    pub fn finish(mut self) -> io::Result<Sorted> {
        if self.spill.is_none() {
            self.sort();
            return Ok(Sorted { runs: vec![Run::memory(self.held)] });
        }
        self.write_run()?;
        let Some(Spill { file, ends }) = self.spill else { return Ok(Sorted { runs: Vec::new() }) };
        let starts = [0].into_iter().chain(ends.iter().copied());
        let runs = starts.zip(&ends).map(|(at, end)| Run::file(Part { file: file.clone(), at, end: *end }));
        Ok(Sorted { runs: runs.collect::<io::Result<_>>()? })
    }

    fn sort(&mut self) {
        self.held.sort_by(|a, b| a.place.cmp(&b.place));
    }

    fn write_run(&mut self) -> io::Result<()> {
        self.sort();
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill { file: Arc::new(nameless()?), ends: Vec::new() }),
        };
        let mut out = BufWriter::new(&*spill.file);
        for item in self.held.drain(..) {
            serde_json::to_writer(&mut out, &item)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        drop(out);
        spill.ends.push((&*spill.file).stream_position()?);
        self.held_bytes = 0;
        Ok(())
    }
}

fn nameless() -> io::Result<File> {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("forebay-replay-{}-{number}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Rows in order.
pub struct Sorted {
    runs: Vec<Run>,
}

impl Sorted {
    /// The next row.
    ///
    /// # Errors
    /// Where the temporary file cannot be read.
    pub fn read(&mut self) -> io::Result<Option<Item>> {
        // A run is some 50,000 rows: there are few, so the least of their heads is found by looking at all. Of
        // equal heads the earlier run's comes first.
        let heads =
            self.runs.iter().enumerate().filter_map(|(at, run)| Some((at, &run.head.as_ref()?.place)));
        match heads.min_by(|(_, a), (_, b)| a.cmp(b)).map(|(at, _)| at) {
            Some(at) => self.runs[at].next(),
            None => Ok(None),
        }
    }
}

/// One sorted run.
struct Run {
    head: Option<Item>,
    rest: Rest,
}

enum Rest {
    Memory(std::vec::IntoIter<Item>),
    File(BufReader<Part>),
}

impl Run {
    fn memory(items: Vec<Item>) -> Self {
        let mut rest = items.into_iter();
        Self { head: rest.next(), rest: Rest::Memory(rest) }
    }

    fn file(part: Part) -> io::Result<Self> {
        let mut run = Self { head: None, rest: Rest::File(BufReader::with_capacity(RUN_READ_BYTES, part)) };
        run.next()?;
        Ok(run)
    }

    /// The head; what follows takes its place.
    fn next(&mut self) -> io::Result<Option<Item>> {
        let next = match &mut self.rest {
            Rest::Memory(items) => items.next(),
            Rest::File(lines) => {
                let mut line = String::new();
                (lines.read_line(&mut line)? > 0).then(|| serde_json::from_str(&line)).transpose()?
            }
        };
        Ok(std::mem::replace(&mut self.head, next))
    }
}

/// A part of a file that several share.
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..room], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::replay::diff::row::{Kind, Place};

    fn item(time_ns: i64, number: usize) -> Item {
        let (name, key, kind) = ("p".to_owned(), "k".to_owned(), Kind::Result);
        let place = Place { time_ns, name, key, kind, start_ns: 0, sequence: None, revision: 0 };
        let says = [("number".to_owned(), number.into())].into_iter().collect();
        Item { place, says }
    }

    proptest! {
        #[test]
        fn runs_of_any_size_give_the_same_order(times in prop::collection::vec(0_i64..20, 0..100), held in 1_usize..40) {
            let mut sorter = Sorter { held_bytes_max: held * item(0, 0).bytes(), ..Sorter::default() };
            let items: Vec<_> = times.iter().enumerate().map(|(number, time)| item(*time, number)).collect();
            items.iter().for_each(|item| sorter.push(item.clone()).unwrap());
            let mut want = items;
            want.sort_by_key(|item| item.place.time_ns);
            let mut sorted = sorter.finish().unwrap();
            let found: Vec<_> = std::iter::from_fn(|| sorted.read().unwrap()).collect();
            prop_assert_eq!(found, want);
        }
    }
}
