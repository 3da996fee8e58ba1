//! What of a stream may go (pure): whole segments from the front, never one that somebody still needs.
//!
//! A segment is as old as the one behind it says: everything in it came before that one was begun. Ages count
//! service time, so a wall clock that jumps removes nothing, and neither does a gateway that was switched off.

use std::time::Duration;

use super::extents::{Extents, Opened};
use super::pins::{Hold, Lag, Pin};
use crate::model::Offset;

/// How much of a stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on disk, the whole room of the segment that is written to included.
    pub bytes_max: u64,
    /// Age, in service time.
    pub age_max: Duration,
    /// Free bytes of the file system below which what everyone has seen makes room.
    pub free_min_bytes: u64,
}

/// Limits of all streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Of `readings`.
    pub readings: Limits,
    /// Of `results`.
    pub results: Limits,
    /// Of `dead-letters`.
    pub dead_letters: Limits,
}

/// Why a segment is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The stream has more bytes than its limit.
    Bytes,
    /// Its records are older than the limit.
    Age,
    /// The file system runs full.
    Room,
}

impl Why {
    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Room => "room",
        }
    }
}

/// A stream at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its segments.
    pub extents: &'a Extents,
    /// Room given beforehand to the segment that is written to.
    pub segment_bytes: u64,
    /// The next offset.
    pub next: Offset,
    /// Service time.
    pub now: Duration,
    /// Free bytes of the file system.
    pub free_bytes: u64,
    /// Segments that are kept in any case, counted from the last.
    pub kept: usize,
}

impl View<'_> {
    /// Why the first segment may go; `None` if it stays.
    pub fn verdict(&self, limits: &Limits, pins: &[Pin]) -> Option<Why> {
        let extents = self.extents.all();
        let end = extents.get(1)?.base;
        if extents.len() <= self.kept || self.floor(pins).is_some_and(|floor| floor < end) {
            return None;
        }
        if self.bytes() > limits.bytes_max {
            return Some(Why::Bytes);
        }
        if self.age_before(1).is_some_and(|age| age > limits.age_max) {
            return Some(Why::Age);
        }
        (self.free_bytes < limits.free_min_bytes).then_some(Why::Room)
    }

    /// The first offset that a pin keeps.
    fn floor(&self, pins: &[Pin]) -> Option<Offset> {
        pins.iter().filter(|pin| self.keeps(pin)).map(|pin| pin.offset).min()
    }

    /// Whether the stream is kept for this pin: it holds always, or is not too far behind.
    fn keeps(&self, pin: &Pin) -> bool {
        match pin.hold {
            Hold::Always => true,
            Hold::Upto(Lag::Bytes(bytes_max)) => self.extents.bytes_from(pin.offset, self.next) <= bytes_max,
            Hold::Upto(Lag::Age(age_max)) => {
                self.age_before(after(self.extents, pin.offset)).is_none_or(|age| age <= age_max)
            }
        }
    }

    fn bytes(&self) -> u64 {
        let last = self.extents.all().last().map_or(0, |last| last.bytes);
        self.extents.bytes() - last + last.max(self.segment_bytes)
    }

    /// The least age of everything before the segment number `at`, by the first one from there on that tells.
    fn age_before(&self, at: usize) -> Option<Duration> {
        let told = self.extents.all().iter().skip(at).find_map(|extent| match extent.opened {
            Opened::At(clock) => Some(clock),
            Opened::Unknown | Opened::Unread => None,
        })?;
        Some(self.now.saturating_sub(told))
    }
}

/// The number of the segment behind the one that holds `position`.
pub fn after(extents: &Extents, position: Offset) -> usize {
    extents.all().partition_point(|extent| extent.base <= position).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::extents::Extent;

    const HOUR: Duration = Duration::from_secs(3600);
    const LIMITS: Limits = Limits { bytes_max: 1000, age_max: HOUR, free_min_bytes: 50 };

    /// Four segments of a hundred records and bytes each, begun one an hour.
    fn extents() -> Extents {
        let extent =
            |n: u32| Extent { base: Offset(u64::from(n) * 100), bytes: 100, opened: Opened::At(HOUR * n) };
        Extents::new((0..4).map(extent).collect())
    }

    fn view(extents: &Extents) -> View<'_> {
        let (next, now) = (Offset(400), HOUR);
        View { extents, segment_bytes: 100, next, now, free_bytes: 50, kept: 1 }
    }

    fn pin(offset: u64, hold: Hold) -> Pin {
        Pin { holder: "sink/a".into(), offset: Offset(offset), hold }
    }

    #[test]
    fn each_limit_removes_on_its_own() {
        let extents = extents();
        let view = view(&extents);
        let verdict = |view: View, limits: Limits| view.verdict(&limits, &[]);
        assert_eq!(verdict(view, LIMITS), None);
        assert_eq!(verdict(view, Limits { bytes_max: 399, ..LIMITS }), Some(Why::Bytes));
        assert_eq!(verdict(view, Limits { bytes_max: 400, ..LIMITS }), None);
        assert_eq!(
            verdict(View { segment_bytes: 900, ..view }, LIMITS),
            Some(Why::Bytes),
            "given room counts"
        );
        // The first segment's last record came just before the second was begun.
        assert_eq!(verdict(View { now: HOUR * 2, ..view }, LIMITS), None);
        assert_eq!(verdict(View { now: HOUR * 2 + Duration::from_nanos(1), ..view }, LIMITS), Some(Why::Age));
        assert_eq!(verdict(View { free_bytes: 49, ..view }, LIMITS), Some(Why::Room));
        assert_eq!(verdict(View { free_bytes: 0, kept: 4, ..view }, LIMITS), None, "the last ones stay");
    }

    #[test]
    fn a_clock_that_runs_back_or_is_unknown_removes_nothing() {
        let mut extents = extents();
        assert_eq!(View { now: Duration::ZERO, ..view(&extents) }.verdict(&LIMITS, &[]), None);
        extents.learn(Offset(100), Opened::Unknown);
        // Then the one behind it tells.
        assert_eq!(View { now: HOUR * 3, ..view(&extents) }.verdict(&LIMITS, &[]), None);
        assert_eq!(View { now: HOUR * 4, ..view(&extents) }.verdict(&LIMITS, &[]), Some(Why::Age));
        for base in [200, 300] {
            extents.learn(Offset(base), Opened::Unknown);
        }
        assert_eq!(View { now: HOUR * 9, ..view(&extents) }.verdict(&LIMITS, &[]), None);
    }

    #[test]
    fn pins_hold_until_their_holder_is_too_far_behind() {
        let extents = extents();
        let full = View { now: HOUR * 4, free_bytes: 0, ..view(&extents) };
        let (bytes, age) = (|max| Hold::Upto(Lag::Bytes(max)), |max| Hold::Upto(Lag::Age(max)));
        for (offset, hold, goes) in [
            (100, Hold::Always, true),
            (99, Hold::Always, false),
            (50, bytes(350), false),
            (50, bytes(349), true),
            (50, age(HOUR * 3), false),
            (50, age(HOUR * 2), true),
            // What it needs next is younger than that.
            (399, age(Duration::ZERO), true),
        ] {
            let verdict = full.verdict(&LIMITS, &[pin(offset, hold), pin(400, Hold::Always)]);
            assert_eq!(verdict.is_some(), goes, "{offset} {hold:?}");
        }
    }
}
