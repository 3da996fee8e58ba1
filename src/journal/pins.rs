//! Who still needs what: holders and the offsets from which on retention keeps a stream for them.
//!
//! Whoever sets a pin sets it to what is durable elsewhere (a saved cursor, a verified dump), never to what is
//! merely done: what lies before a pin may be gone the next moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{Offset, StreamName};

/// How far a holder may fall behind before the stream is no longer kept for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// So many bytes.
    Bytes(u64),
    /// So long, in service time.
    Age(Duration),
}

/// For how long a stream is kept for a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Whatever else that stops.
    Always,
    /// Until it is too far behind: then it finds a gap.
    Upto(Lag),
}

/// What one holder needs of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Who: `lane/main`, `sink/tsdb`.
    pub holder: Arc<str>,
    /// The first offset it needs.
    pub offset: Offset,
    /// For how long.
    pub hold: Hold,
}

/// All pins of a journal. A few dozen at most: one for each lane and sink.
#[derive(Debug, Default)]
pub struct Pins(Mutex<BTreeMap<(StreamName, Arc<str>), Held>>);

#[derive(Debug)]
struct Held {
    offset: Offset,
    hold: Hold,
    /// Whether it has been said that records were removed that it had not seen.
    is_told: bool,
}

impl Pins {
    /// From now on `holder` needs `stream` from `offset` on.
    pub fn set(&self, holder: &str, stream: StreamName, offset: Offset, hold: Hold) {
        let mut pins = self.pins();
        let held = pins.entry((stream, holder.into())).or_insert(Held { offset, hold, is_told: false });
        // One that moves again is told of again.
        held.is_told &= held.offset == offset;
        (held.offset, held.hold) = (offset, hold);
    }

    /// `holder` needs nothing any more.
    pub fn remove(&self, holder: &str) {
        self.pins().retain(|(_, known), _| **known != *holder);
    }

    /// The pins of `stream`.
    pub fn of(&self, stream: StreamName) -> Vec<Pin> {
        let pins = self.pins();
        let of_stream = pins.iter().filter(|((pinned, _), _)| *pinned == stream);
        let pin = |((_, holder), held): (&(_, Arc<str>), &Held)| Pin {
            holder: holder.clone(),
            offset: held.offset,
            hold: held.hold,
        };
        of_stream.map(pin).collect()
    }

    /// Whether it is the first time since `holder` last moved that this is asked.
    pub(super) fn tell(&self, holder: &Arc<str>, stream: StreamName) -> bool {
        let mut pins = self.pins();
        let held = pins.get_mut(&(stream, holder.clone()));
        held.is_some_and(|held| !std::mem::replace(&mut held.is_told, true))
    }

    fn pins(&self) -> MutexGuard<'_, BTreeMap<(StreamName, Arc<str>), Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_stands_still_is_told_of_once_until_it_moves() {
        let pins = Pins::default();
        let set = |offset| pins.set("sink/a", StreamName::Results, Offset(offset), Hold::Always);
        let tell = || pins.tell(&"sink/a".into(), StreamName::Results);
        set(3);
        assert_eq!([tell(), tell()], [true, false]);
        set(3);
        assert!(!tell());
        set(9);
        assert!(tell());
        pins.remove("sink/a");
        assert!(!tell());
        assert_eq!(pins.of(StreamName::Results), []);
    }
}
