//! Retention: removes segments from the front of the stream, one durable step after the other.
//!
//! Readers no longer find a segment before its file is removed, and each name is gone durably before the next
//! file is: what a crash leaves is the stream from some segment on, without a hole. Pins are set to what is durable
//! elsewhere, so a removed record is needed by nobody after any crash. The last segment stays, and the one before
//! it until the last one tells the clock and how far lanes have emitted: recovery needs both.

use std::io;
use std::time::Duration;

use super::{Core, Now};
use crate::journal::extents::{Extent, Extents, Opened};
use crate::journal::pins::{Hold, Lag, Pin};
use crate::journal::recall;
use crate::journal::retention::{self, Limits, View, Why};
use crate::model::Offset;
use crate::telemetry::facts::{Fact, LeftBehind, SegmentRemoved};

/// A segment that is not full is closed at this part of the age limit, so that what a quiet stream holds ages too.
const CLOSED_AT_AGE: u32 = 4;
/// Segments whose age is read from disk at one time: writing waits for it.
const AGES_READ_MAX: usize = 4;

impl Core {
    /// From now on the stream is kept within `limits`. Until this is called everything is kept, whatever is pinned.
    pub fn retain(&mut self, limits: Limits) {
        self.limits = Some(limits);
    }

    /// Removes what is beyond the limits and needed by nobody.
    pub fn trim(&mut self, now: Now) {
        let Some(limits) = self.limits else { return };
        self.close_aged(&limits, now);
        let (shared, folder) = (self.shared.clone(), &self.shared.folder);
        let pins = shared.common.pins.of(shared.kind);
        // On a copy, so that readers do not wait for the disk; nobody else changes it.
        let mut extents = shared.with_extents(|extents| extents.clone());
        learn_ages(&mut extents, &pins, |base| recall::first_clock(folder, base));
        shared.with_extents(|known| *known = extents);
        let mut free_bytes = folder.disk.free_bytes(&folder.dir).unwrap_or(u64::MAX);
        while let Some(why) = self.verdict(&limits, &pins, free_bytes) {
            let Some(removed) = self.remove_first(why, &pins) else { break };
            free_bytes = free_bytes.saturating_add(removed.bytes);
        }
        shared.show_size();
    }

    fn verdict(&self, limits: &Limits, pins: &[Pin], free_bytes: u64) -> Option<Why> {
        let segment_bytes = self.shared.folder.segment_bytes;
        let (next, now) = (self.next, self.service_time());
        let kept = if self.tells_all { 1 } else { 2 };
        self.shared.with_extents(|extents| {
            View { extents, segment_bytes, next, now, free_bytes, kept }.verdict(limits, pins)
        })
    }

    fn service_time(&self) -> Duration {
        Duration::from_nanos(self.shared.common.clock.get().service_ns)
    }

    /// Goes on in a new segment if this one holds records and is old.
    fn close_aged(&mut self, limits: &Limits, now: Now) {
        let last = self.shared.with_extents(|extents| extents.all().last().copied());
        let Some(Extent { bytes: 1.., opened: Opened::At(opened), .. }) = last else { return };
        let age = self.service_time().saturating_sub(opened);
        if self.failed_at.is_some() || age <= limits.age_max / CLOSED_AT_AGE {
            return;
        }
        if let Err(error) = self.open_segment().and_then(|()| self.try_commit(Vec::new(), now)) {
            self.fail(&error, now);
        }
    }

    /// Removes the first segment; `None` if that did not work, which is logged.
    fn remove_first(&self, why: Why, pins: &[Pin]) -> Option<Extent> {
        let (shared, folder) = (&self.shared, &self.shared.folder);
        let removed = shared.with_extents(Extents::take_first)?;
        let end = shared.oldest();
        let path = folder.path(removed.base);
        match folder.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                shared.with_extents(|extents| extents.put_back(removed));
                tracing::warn!(segment = %path.display(), %error, "cannot remove a segment");
                return None;
            }
            _ => {}
        }
        let (stream, bytes) = (shared.kind.as_str(), removed.bytes);
        SegmentRemoved { stream, first: removed.base.0, end: end.0, bytes, why: why.as_str() }
            .record(&shared.common.metrics);
        pins.iter().for_each(|pin| self.tell_left_behind(pin, removed.base, end));
        if let Err(error) = folder.disk.sync_dir(&folder.dir) {
            tracing::warn!(segment = %path.display(), %error, "cannot remove a segment durably");
            return None;
        }
        Some(removed)
    }

    /// Says so if the removed records from `base` to `end` hold some that the pin's holder had not seen.
    fn tell_left_behind(&self, pin: &Pin, base: Offset, end: Offset) {
        let records = end.0.saturating_sub(pin.offset.0.max(base.0));
        if records == 0 {
            return;
        }
        let (kind, common) = (self.shared.kind, &self.shared.common);
        let is_first = common.pins.tell(&pin.holder, kind);
        LeftBehind { by: &pin.holder, stream: kind.as_str(), records, is_first }.record(&common.metrics);
    }
}

/// Reads when those segments were begun that decide on the age of the first one and of what pins hold.
fn learn_ages(
    extents: &mut Extents,
    pins: &[Pin],
    read: impl Fn(Offset) -> io::Result<Option<crate::journal::Clock>>,
) {
    let aged = pins.iter().filter(|pin| matches!(pin.hold, Hold::Upto(Lag::Age(_))));
    let starts: Vec<_> = aged.map(|pin| retention::after(extents, pin.offset)).chain([1]).collect();
    for start in starts {
        let telling = extents.all().iter().skip(start).take_while(|extent| !is_told(extent));
        let unread = telling.filter(|extent| extent.opened == Opened::Unread).map(|extent| extent.base);
        for base in unread.take(AGES_READ_MAX).collect::<Vec<_>>() {
            // What cannot be read is not old enough to go.
            let clock = read(base).ok().flatten();
            let opened = clock.map(|clock| Opened::At(Duration::from_nanos(clock.service_ns)));
            extents.learn(base, opened.unwrap_or(Opened::Unknown));
            if opened.is_some() {
                break;
            }
        }
    }
}

fn is_told(extent: &Extent) -> bool {
    matches!(extent.opened, Opened::At(_))
}
