//! The group commit's content: many appends become few frames (pure).
//!
//! Readings of all bursts that wait become batches of at most [`FRAME_ROWS_MAX`] rows; a message's readings
//! stay together. Copies of known messages are left out and joined to their originals.

use std::ops::Range;
use std::sync::Arc;

use super::dedup::{Duplicates, Original};
use super::frame::{self, Meta};
use super::record::{Chunk, Content, OutputFrame, Record};
use crate::model::batch::merge::Merge;
use crate::model::{Batch, BatchBuilder, DeadLetter, Identity, Offset, Timestamp};

/// Most readings of a frame: bounds what a reader decodes at once.
pub const FRAME_ROWS_MAX: usize = 16_384;

/// What is appended by one call.
#[derive(Debug)]
pub enum Work {
    /// The readings of a burst.
    Readings(Batch),
    /// A control record.
    Record(Record),
    /// A lane's outputs.
    Outputs(Arc<OutputFrame>),
    /// Refused messages.
    DeadLetters(Vec<DeadLetter>),
}

impl Work {
    /// Whether a sender outside waits for it and keeps it if it is refused.
    pub(super) fn is_from_outside(&self) -> bool {
        match self {
            Self::Readings(_) | Self::DeadLetters(_) => true,
            Self::Record(_) | Self::Outputs(_) => false,
        }
    }
}

/// Where appended records stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Offset of the first record; of the original, if the whole append was one copy.
    pub first: Offset,
    /// Records appended.
    pub count: u64,
    /// Messages that were copies of known ones.
    pub duplicates: u64,
    /// Readings that were copies of known ones, in messages that held others too.
    pub repeated: u64,
}

/// The frames of one group commit.
pub struct Group<'a> {
    duplicates: &'a mut Duplicates,
    next: Offset,
    durable: Offset,
    now: Timestamp,
    rows: BatchBuilder,
    plain: Vec<u8>,
    /// The frames as bytes.
    pub bytes: Vec<u8>,
    /// The frames as readers get them.
    pub chunks: Vec<Chunk>,
    /// Identities that were added and what was known of them before, to be taken back if the sync fails.
    pub identities: Vec<(u64, Option<Original>)>,
}

impl<'a> Group<'a> {
    /// An empty group whose first record gets offset `next`, which is also the durable mark.
    pub fn new(duplicates: &'a mut Duplicates, next: Offset, now: Timestamp) -> Self {
        Self {
            duplicates,
            next,
            durable: next,
            now,
            rows: BatchBuilder::default(),
            plain: Vec::new(),
            bytes: Vec::new(),
            chunks: Vec::new(),
            identities: Vec::new(),
        }
    }

    /// One past the last offset given.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Adds `work`; the receipt holds once the group is durable.
    pub fn add(&mut self, work: Work) -> Receipt {
        match work {
            Work::Readings(batch) => self.add_readings(&batch),
            Work::Record(record) => self.add_content(Content::Record(Arc::new(record)), self.now),
            Work::Outputs(frame) => self.add_content(Content::Outputs(frame), self.now),
            Work::DeadLetters(letters) => self.add_letters(letters),
        }
    }

    /// Closes the last frame.
    pub fn finish(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.rows).finish();
        batch.base = Offset(self.next.0 - batch.len() as u64);
        let received = batch.rows()[0].received;
        self.frame(Content::Readings(Arc::new(batch)), received);
    }

    fn add_readings(&mut self, batch: &Batch) -> Receipt {
        let mut receipt = Receipt { first: self.next, count: 0, duplicates: 0, repeated: 0 };
        let mut merge = Merge::new(batch);
        let mut start = 0;
        for message in batch.messages() {
            let rows = start..message.end as usize;
            start = rows.end;
            let fresh = match self.known(message.identity) {
                Some(original) => Err(original),
                None => self.fresh(batch, rows.clone()),
            };
            let fresh = match fresh {
                Ok(fresh) => fresh,
                Err(original) => {
                    receipt.duplicates += 1;
                    receipt.first = if receipt.count == 0 { original } else { receipt.first };
                    continue;
                }
            };
            let count = fresh.as_ref().map_or(rows.len(), Vec::len);
            receipt.repeated += (rows.len() - count) as u64;
            if self.rows.len() + count > FRAME_ROWS_MAX {
                self.finish();
                merge = Merge::new(batch);
            }
            if receipt.count == 0 {
                receipt.first = self.next;
            }
            self.remember(message.identity);
            receipt.count += count as u64;
            self.next = self.next.plus(count as u64);
            match fresh {
                Some(fresh) => merge.message(&mut self.rows, fresh.into_iter(), message.identity),
                None => merge.message(&mut self.rows, rows, message.identity),
            }
        }
        receipt
    }

    /// Those of a message's `rows` that are no copies of known readings, which are remembered from now on; `None`:
    /// all of them, because none can be told.
    ///
    /// # Errors
    /// Where the first one's original stands, if all are copies.
    fn fresh(&mut self, batch: &Batch, rows: Range<usize>) -> Result<Option<Vec<usize>>, Offset> {
        if !batch.has_record_ids() {
            return Ok(None);
        }
        let (mut fresh, mut first) = (Vec::with_capacity(rows.len()), None);
        for row in rows {
            let id = batch.record_id(row).and_then(|id| Some(Identity::MatchWithin(id.hash()?, id.within_s)));
            let id = id.unwrap_or(Identity::None);
            if let Some(original) = self.known(id) {
                first.get_or_insert(original);
                continue;
            }
            self.remember_at(id, self.next.plus(fresh.len() as u64));
            fresh.push(row);
        }
        match first {
            Some(original) if fresh.is_empty() => Err(original),
            _ => Ok(Some(fresh)),
        }
    }

    fn add_letters(&mut self, letters: Vec<DeadLetter>) -> Receipt {
        let before = letters.len();
        let mut original = None;
        let mut kept = Vec::with_capacity(before);
        let mut at = self.next;
        for letter in letters {
            match self.known(letter.identity) {
                Some(offset) => original = Some(offset),
                None => {
                    self.remember_at(letter.identity, at);
                    at = at.plus(1);
                    kept.push(letter);
                }
            }
        }
        let duplicates = (before - kept.len()) as u64;
        if kept.is_empty() {
            return Receipt { first: original.unwrap_or(self.next), count: 0, duplicates, repeated: 0 };
        }
        let received = kept[0].received;
        let receipt = self.add_content(Content::DeadLetters(kept.into()), received);
        Receipt { duplicates, ..receipt }
    }

    fn add_content(&mut self, content: Content, received: Timestamp) -> Receipt {
        self.finish();
        let (first, count) = (self.next, u64::from(content.count()));
        self.next = first.plus(count);
        self.frame(content, received);
        Receipt { first, count, duplicates: 0, repeated: 0 }
    }

    fn frame(&mut self, content: Content, received: Timestamp) {
        self.plain.clear();
        content.encode(&mut self.plain);
        let count = content.count();
        let base = Offset(self.next.0 - u64::from(count));
        let times = event_times(&content).unwrap_or([received; 2]);
        let meta = Meta { kind: content.kind(), base, count, times, received, durable: self.durable };
        frame::encode(&meta, &self.plain, &mut self.bytes);
        self.chunks.push(Chunk { base, count, received, content });
    }

    fn known(&self, identity: Identity) -> Option<Offset> {
        let (hash, within) = match identity {
            Identity::Match(hash) => (hash, i64::MAX),
            Identity::MatchWithin(hash, seconds) => (hash, i64::from(seconds) * 1_000_000_000),
            Identity::None | Identity::Remember(_) => return None,
        };
        let original = self.duplicates.find(hash)?;
        let age = self.now.nanos().saturating_sub(original.received.nanos());
        (age <= within).then_some(original.offset)
    }

    fn remember(&mut self, identity: Identity) {
        self.remember_at(identity, self.next);
    }

    fn remember_at(&mut self, identity: Identity, at: Offset) {
        if let Some(hash) = identity.hash() {
            let before = self.duplicates.insert(hash, Original { offset: at, received: self.now });
            self.identities.push((hash, before));
        }
    }
}

fn event_times(content: &Content) -> Option<[Timestamp; 2]> {
    let Content::Readings(batch) = content else { return None };
    let times = || batch.rows().iter().map(|row| row.time);
    Some([times().min()?, times().max()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::{NewReading, RecordId};

    fn burst(identities: &[Identity]) -> Batch {
        let mut builder = BatchBuilder::default();
        for identity in identities {
            let (time, received) = (Timestamp::from_millis(5), Timestamp::from_millis(6));
            builder.push(NewReading {
                source: "s",
                sensor: "a",
                time,
                received,
                flags: 0,
                fields: &[],
                tags: &[],
            });
            builder.end_message(*identity);
        }
        builder.finish()
    }

    #[test]
    fn bursts_become_one_frame_and_copies_join_their_originals() {
        let mut duplicates = Duplicates::default();
        let mut group = Group::new(&mut duplicates, Offset(10), Timestamp::from_millis(1));
        let first = group.add(Work::Readings(burst(&[Identity::Remember(1), Identity::Remember(2)])));
        let copy = group.add(Work::Readings(burst(&[Identity::Match(2)])));
        let mixed = group.add(Work::Readings(burst(&[Identity::Match(1), Identity::Match(3)])));
        group.finish();
        assert_eq!(first, Receipt { first: Offset(10), count: 2, duplicates: 0, repeated: 0 });
        assert_eq!(copy, Receipt { first: Offset(11), count: 0, duplicates: 1, repeated: 0 });
        assert_eq!(mixed, Receipt { first: Offset(12), count: 1, duplicates: 1, repeated: 0 });
        let spans: Vec<_> = group.chunks.iter().map(|chunk| (chunk.base.0, chunk.count)).collect();
        assert_eq!(spans, [(10, 3)]);
    }

    #[test]
    fn an_identity_that_the_protocol_gives_again_matches_only_for_its_time() {
        let mut duplicates = Duplicates::default();
        let coap = Identity::MatchWithin(9, 247);
        for (second, duplicates_found) in [(0, 0), (247, 1), (248, 0), (249, 1)] {
            let mut group =
                Group::new(&mut duplicates, Offset(second), Timestamp::from_millis(second as i64 * 1000));
            let receipt = group.add(Work::Readings(burst(&[coap])));
            assert_eq!(receipt.duplicates, duplicates_found, "second {second}");
        }
    }

    /// A message of readings with these record ids, each a copy for a minute.
    fn records(ids: &[u64]) -> Batch {
        let mut builder = BatchBuilder::default();
        for id in ids {
            let (time, received) = (Timestamp::from_millis(5), Timestamp::from_millis(6));
            let (fields, tags, flags) = (&[], &[], 0);
            builder.push(NewReading { source: "s", sensor: "a", time, received, flags, fields, tags });
            builder.identify(RecordId::new(*id, 60));
        }
        builder.end_message(Identity::Remember(1_000 + ids[0]));
        builder.finish()
    }

    #[test]
    fn known_readings_are_left_out_of_a_message_and_one_without_others_is_a_copy() {
        let mut duplicates = Duplicates::default();
        let mut receipts = Vec::new();
        for (second, ids) in [(0, &[1, 2, 2][..]), (9, &[2, 3]), (10, &[3, 1]), (60, &[1]), (61, &[1, 3])] {
            let now = Timestamp::from_millis(second * 1_000);
            let mut group = Group::new(&mut duplicates, Offset(100 * second as u64), now);
            let Receipt { first, count, duplicates, repeated } = group.add(Work::Readings(records(ids)));
            group.finish();
            let rows: usize = group.chunks.iter().map(|chunk| chunk.count as usize).sum();
            assert_eq!(rows as u64, count, "what is said is written");
            receipts.push((first.0, count, duplicates, repeated));
        }
        let expected = [(0, 2, 0, 1), (900, 1, 0, 1), (900, 0, 1, 0), (0, 0, 1, 0), (6100, 1, 0, 1)];
        assert_eq!(receipts, expected);
    }

    #[test]
    fn a_first_transmission_is_not_looked_up() {
        let mut duplicates = Duplicates::default();
        let mut group = Group::new(&mut duplicates, Offset(0), Timestamp::default());
        let twice = [Identity::Remember(1), Identity::Remember(1)];
        assert_eq!(group.add(Work::Readings(burst(&twice))).count, 2);
    }

    #[test]
    fn records_keep_their_place_between_readings() {
        let mut duplicates = Duplicates::default();
        let mut group = Group::new(&mut duplicates, Offset(0), Timestamp::default());
        group.add(Work::Readings(burst(&[Identity::None; 2])));
        group.add(Work::Record(Record::Start { wall: Timestamp::default() }));
        group.add(Work::Readings(burst(&[Identity::None])));
        group.finish();
        let spans: Vec<_> = group.chunks.iter().map(|chunk| (chunk.base.0, chunk.count)).collect();
        assert_eq!(spans, [(0, 2), (2, 1), (3, 1)]);
    }
}
