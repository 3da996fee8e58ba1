//! Readers: the live tail from memory, the past from the segments, nothing that is not durable.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use super::frame::Header;
use super::record::{Chunk, Content, Record};
use super::segment::SegmentReader;
use super::shared::{Found, Shared};
use crate::model::{Offset, Timestamp};
use crate::telemetry::facts::{Fact, Gap};

/// A position in a stream, and the way on from it. Any number of them read without disturbing one another.
pub struct Reader {
    shared: Arc<Shared>,
    durable: watch::Receiver<Offset>,
    position: Offset,
    file: Option<SegmentReader>,
    /// Chunks from disk that follow one another from the position on.
    ahead: VecDeque<Chunk>,
}

/// Chunks are read ahead until they have come from so many bytes of a segment…
const AHEAD_BYTES: u64 = 256 << 10;
/// …or are so many.
const AHEAD_CHUNKS: usize = 256;

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, position: Offset) -> Self {
        let durable = shared.watch();
        Self { shared, durable, position, file: None, ahead: VecDeque::new() }
    }

    /// The offset of the next record.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Goes on from `position` instead.
    pub fn seek(&mut self, position: Offset) {
        self.position = position;
        self.file = None;
        self.ahead.clear();
    }

    /// Durable records behind the position.
    pub fn lag_records(&self) -> u64 {
        self.durable.borrow().0.saturating_sub(self.position.0)
    }

    /// The chunk at the position, which moves behind it. Waits for one to become durable. The chunk may begin
    /// before the position (skip those records); offsets that hold nothing come as a [`Record::Gap`].
    /// Cancel safe: a call that is dropped has not moved.
    ///
    /// # Errors
    /// IO errors of the segments; the position has not moved.
    pub async fn next(&mut self) -> io::Result<Chunk> {
        loop {
            if let Some(chunk) = self.try_next().await? {
                return Ok(chunk);
            }
            if self.durable.changed().await.is_err() {
                // The writer is gone: nothing more will come; whoever waits is being stopped.
                std::future::pending::<()>().await;
            }
        }
    }

    /// As [`Self::next`], but `None` at once if nothing durable is left.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn try_next(&mut self) -> io::Result<Option<Chunk>> {
        let durable = *self.durable.borrow_and_update();
        if self.position >= durable {
            return Ok(None);
        }
        if let Some(chunk) = self.ahead.pop_front() {
            self.position = chunk.end();
            return Ok(Some(chunk));
        }
        let chunk = match self.shared.find(self.position) {
            Found::Chunk(chunk) => {
                self.file = None;
                self.upto(chunk)
            }
            Found::Trimmed(oldest) => self.gap(oldest.min(durable), "trimmed"),
            Found::Segment { base, end } => {
                let limit = end.map_or(durable, |end| end.min(durable));
                match self.read_segment(base, limit).await {
                    // Removed since it was found: it is no longer found then.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && base < self.shared.oldest() => {
                        self.gap(self.shared.oldest().min(durable), "trimmed")
                    }
                    read => read?,
                }
            }
        };
        self.position = chunk.end();
        Ok(Some(chunk))
    }

    /// A chunk that begins behind the position leaves a hole before it: that comes first.
    fn upto(&mut self, chunk: Chunk) -> Chunk {
        if chunk.base > self.position { self.gap(chunk.base, "hole") } else { chunk }
    }

    /// The chunk at the position from the segment that begins at `base`; those behind it are read ahead.
    async fn read_segment(&mut self, base: Offset, limit: Offset) -> io::Result<Chunk> {
        let kept = self.file.take().filter(|file| file.base() == base);
        let (folder, position) = (self.shared.folder.clone(), self.position);
        let blocks = folder.disk.blocks();
        let read = move || {
            let file = kept.map_or_else(|| folder.open(base), Ok)?;
            read_ahead(file, position, limit)
        };
        let ReadAhead { mut chunks, file } = match blocks {
            true => tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??,
            false => read()?,
        };
        match chunks.pop_front() {
            // What stands behind a hole is read again, after the hole.
            Some(chunk) if chunk.base > self.position => Ok(self.gap(chunk.base, "damaged")),
            Some(chunk) => {
                (self.file, self.ahead) = (file, chunks);
                Ok(chunk)
            }
            None => Ok(self.gap(limit, "damaged")),
        }
    }

    /// A chunk that says that nothing stands from the position to `to`.
    fn gap(&mut self, to: Offset, why: &'static str) -> Chunk {
        let (from, stream) = (self.position, self.shared.kind.as_str());
        Gap { stream, first: from.0, records: to.0 - from.0, why: &why }.record(&self.shared.common.metrics);
        let record = Record::Gap { from, to, why: why.into() };
        let count = u32::try_from(to.0 - from.0).unwrap_or(u32::MAX);
        Chunk {
            base: from,
            count,
            received: Timestamp::default(),
            content: Content::Record(Arc::new(record)),
        }
    }
}

/// What [`read_ahead`] finds.
struct ReadAhead {
    /// The first one may begin behind a hole; the others follow it without one.
    chunks: VecDeque<Chunk>,
    /// The reader, if it stands behind the last of them.
    file: Option<SegmentReader>,
}

/// The chunk at `position` and some that follow it; none if the segment holds nothing more before `limit`.
///
/// # Errors
/// Those of reading the first one.
fn read_ahead(mut file: SegmentReader, position: Offset, limit: Offset) -> io::Result<ReadAhead> {
    let begun = file.at();
    let Some(first) = read_at(&mut file, position, limit)? else {
        return Ok(ReadAhead { chunks: VecDeque::new(), file: None });
    };
    let (mut expected, has_hole) = (first.end(), first.base > position);
    let mut chunks = VecDeque::from([first]);
    while !has_hole && expected < limit && chunks.len() < AHEAD_CHUNKS && file.at() < begun + AHEAD_BYTES {
        match read_at(&mut file, expected, limit) {
            Ok(Some(chunk)) if chunk.base <= expected => {
                expected = chunk.end();
                chunks.push_back(chunk);
            }
            // Whoever comes to what is wrong here looks at it anew.
            Ok(Some(_) | None) | Err(_) => return Ok(ReadAhead { chunks, file: None }),
        }
    }
    Ok(ReadAhead { chunks, file: Some(file).filter(|_| !has_hole) })
}

/// The first good frame that ends behind `position` and begins before `limit`, if the segment holds one.
fn read_at(file: &mut SegmentReader, position: Offset, limit: Offset) -> io::Result<Option<Chunk>> {
    loop {
        if let Some(header) = file.peek()?
            && header.end() <= position
        {
            file.skip(&header);
            continue;
        }
        match file.check()? {
            // A frame further on than it should be: perhaps one in between was stepped over.
            Some(header) if header.base > position && file.is_guessing() => {}
            Some(header) if header.base >= limit => return Ok(None),
            Some(header) => {
                let content = file.content(&header);
                file.step(&header);
                let Header { base, count, received, .. } = header;
                match content {
                    Some(content) => return Ok(Some(Chunk { base, count, received, content })),
                    None => continue,
                }
            }
            None => {}
        }
        if !file.resync(position)? {
            return Ok(None);
        }
    }
}
