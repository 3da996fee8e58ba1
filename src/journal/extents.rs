//! The segments of a stream as its writer and its readers know them: where each begins, its size, its age (pure).
//!
//! In order of their offsets, without overlap; the last one is the one that is written to.

use std::time::Duration;

use crate::model::Offset;

/// When a segment was begun, in service time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nobody has looked.
    Unread,
    /// It does not say.
    Unknown,
    /// At this clock.
    At(Duration),
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First offset.
    pub base: Offset,
    /// Its size; of the last one what has been written.
    pub bytes: u64,
    /// When it was begun.
    pub opened: Opened,
}

/// All segments of a stream.
#[derive(Clone, Debug, Default)]
pub struct Extents(Vec<Extent>);

impl Extents {
    /// These segments, in order.
    pub fn new(extents: Vec<Extent>) -> Self {
        Self(extents)
    }

    /// The segments in order.
    pub fn all(&self) -> &[Extent] {
        &self.0
    }

    /// The oldest offset kept.
    pub fn oldest(&self) -> Offset {
        self.0.first().map(|extent| extent.base).unwrap_or_default()
    }

    /// A new last segment begins at `base`. One there that began at or behind it held nothing.
    pub fn open(&mut self, base: Offset, at: Duration) {
        self.0.retain(|known| known.base < base);
        self.0.push(Extent { base, bytes: 0, opened: Opened::At(at) });
    }

    /// The last segment has grown.
    pub fn grow(&mut self, bytes: u64) {
        if let Some(last) = self.0.last_mut() {
            last.bytes += bytes;
        }
    }

    /// Writes down when the segment that begins at `base` was begun.
    pub fn learn(&mut self, base: Offset, opened: Opened) {
        if let Some(extent) = self.0.iter_mut().find(|extent| extent.base == base) {
            extent.opened = opened;
        }
    }

    /// Takes the first segment out; never the last one there is.
    pub fn take_first(&mut self) -> Option<Extent> {
        (self.0.len() > 1).then(|| self.0.remove(0))
    }

    /// Puts a segment back that [`Self::take_first`] has taken.
    pub fn put_back(&mut self, extent: Extent) {
        self.0.insert(0, extent);
    }

    /// Where the segment that holds `position` begins and, if it is not the last one, ends; `None` before the first.
    pub fn find(&self, position: Offset) -> Option<(Offset, Option<Offset>)> {
        let after = self.0.partition_point(|extent| extent.base <= position);
        let at = after.checked_sub(1)?;
        Some((self.0[at].base, self.0.get(after).map(|next| next.base)))
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|extent| extent.bytes).sum()
    }

    /// Bytes of the records from `position` to `next`, the end of the stream: within a segment by its records.
    pub fn bytes_from(&self, position: Offset, next: Offset) -> u64 {
        let ends = self.0.iter().skip(1).map(|extent| extent.base).chain([next]);
        let needed = self.0.iter().zip(ends).map(|(extent, end)| {
            let records = end.0.saturating_sub(extent.base.0).max(1);
            let wanted = end.0.saturating_sub(position.0.max(extent.base.0));
            (u128::from(extent.bytes) * u128::from(wanted) / u128::from(records)) as u64
        });
        needed.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Extents {
        let extent = |base, bytes| Extent { base: Offset(base), bytes, opened: Opened::Unread };
        Extents::new(vec![extent(10, 100), extent(20, 400), extent(60, 50)])
    }

    #[test]
    fn what_a_position_still_needs_is_counted_by_records() {
        let needs =
            [(0, 550), (10, 550), (15, 500), (20, 450), (40, 250), (60, 50), (64, 10), (65, 0), (99, 0)];
        for (position, bytes) in needs {
            assert_eq!(three().bytes_from(Offset(position), Offset(65)), bytes, "from {position}");
        }
        assert_eq!(three().bytes(), 550);
    }

    #[test]
    fn a_position_is_found_in_its_segment() {
        let found = |position| three().find(Offset(position));
        assert_eq!(found(9), None);
        assert_eq!(found(19), Some((Offset(10), Some(Offset(20)))));
        assert_eq!(found(20), Some((Offset(20), Some(Offset(60)))));
        assert_eq!(found(99), Some((Offset(60), None)));
    }

    #[test]
    fn the_last_segment_is_never_taken() {
        let mut extents = three();
        assert_eq!(extents.take_first().map(|extent| extent.base), Some(Offset(10)));
        assert_eq!(extents.take_first().map(|extent| extent.base), Some(Offset(20)));
        assert_eq!(extents.take_first(), None);
        assert_eq!(extents.oldest(), Offset(60));
    }
}
