//! Readings that made a sensor panic: set aside for good, so that the lane and every replay skip them.
//!
//! A range of offsets is quarantined for one key: that key's readings in it do not count, other keys' do, and
//! so does what they all did to shared watermarks. First the readings become dead letters, then the journalled
//! record makes the skipping durable; a crash in between repeats the letters, which know copies of themselves.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::{Duty, LaneError, keep};
use crate::engine::group::Grouped;
use crate::engine::plan::LanePlan;
use crate::engine::round::SharedRows;
use crate::engine::wheel::KeyRef;
use crate::journal::{Content, Record, Stream, Work};
use crate::model::row::RowJson;
use crate::model::{Batch, DeadLetter, Identity, Offset, Reading, Reason, RowView};
use crate::telemetry::clock;

/// Letters of one append: bounds what waits for the disk at once.
const LETTERS_MAX: usize = 1_024;

/// What each key skips.
#[derive(Debug, Default)]
pub(in crate::engine) struct Quarantines {
    /// Per grouping.
    keys: Vec<FxHashMap<Arc<str>, Vec<Range<Offset>>>>,
}

impl Quarantines {
    /// Nothing is skipped.
    pub(in crate::engine) fn new(plan: &LanePlan) -> Self {
        Self { keys: plan.keyings.iter().map(|_| FxHashMap::default()).collect() }
    }

    /// What the journal says from `from` to its end. A record stands behind its readings, by as much as the lane
    /// was behind, so all of it is read.
    pub(super) async fn read(plan: &LanePlan, readings: &Stream, from: Offset) -> std::io::Result<Self> {
        let mut all = Self::new(plan);
        let (mut reader, end) = (readings.reader(from), readings.durable());
        while reader.position() < end {
            let Some(chunk) = reader.try_next().await? else { break };
            if let Content::Record(record) = &chunk.content {
                all.note(plan, record);
            }
        }
        Ok(all)
    }

    /// Skips from now on what `record` sets aside, if it is a quarantine of the plan's lane.
    pub(in crate::engine) fn note(&mut self, plan: &LanePlan, record: &Record) {
        let Record::Quarantine { lane, grouping, key, from, to } = record else { return };
        let keying = plan.keyings.iter().position(|keying| keying.id == *grouping);
        if let Some(keying) = keying.filter(|_| *lane == plan.lane) {
            self.add(&(keying as u16, key.clone()), *from..*to);
        }
    }

    fn add(&mut self, (keying, key): &KeyRef, range: Range<Offset>) {
        self.keys[usize::from(*keying)].entry(key.clone()).or_default().push(range);
    }

    /// Takes the rows of `batch` that are set aside out of `grouped`.
    pub(in crate::engine) fn skip(&self, batch: &Batch, grouped: &mut [Grouped]) {
        for (keys, grouped) in self.keys.iter().zip(grouped).filter(|(keys, _)| !keys.is_empty()) {
            grouped.retain(|key, row| {
                let offset = batch.base.plus(u64::from(row));
                !keys.get(key).is_some_and(|ranges| ranges.iter().any(|range| range.contains(&offset)))
            });
        }
    }

    /// Forgets what lies below `position`: no replay begins before it any more.
    pub(super) fn forget(&mut self, position: Offset) {
        for keys in &mut self.keys {
            keys.retain(|_, ranges| {
                ranges.retain(|range| range.end > position);
                !ranges.is_empty()
            });
        }
    }

    /// Sets the rows aside that `panicked` sensors had in a round, durably.
    pub(super) async fn set_aside(
        &mut self,
        duty: &Duty,
        rows: &SharedRows,
        panicked: &[KeyRef],
    ) -> Result<(), LaneError> {
        let range = rows.position..rows.batch.end();
        let mut letters = Vec::new();
        let mut records = Vec::new();
        for key in panicked {
            let own = rows.grouped[usize::from(key.0)].rows_of(&key.1);
            if own.is_empty() {
                continue;
            }
            let readings = own.iter().map(|row| rows.batch.reading(*row as usize));
            letters.extend(readings.map(|reading| letter(duty, key, reading)));
            records.push(record(&duty.plan, key, &range));
            self.add(key, range.clone());
        }
        for letters in letters.chunks(LETTERS_MAX) {
            keep(&duty.ground.dead_letters, || Work::DeadLetters(letters.to_vec())).await?;
        }
        // Together, so that many sensors cost one sync.
        let kept = records.iter().map(|record| keep(&duty.ground.readings, || Work::Record(record.clone())));
        futures_util::future::try_join_all(kept).await?;
        Ok(())
    }
}

fn record(plan: &LanePlan, (keying, key): &KeyRef, range: &Range<Offset>) -> Record {
    Record::Quarantine {
        lane: plan.lane.clone(),
        grouping: plan.keyings[usize::from(*keying)].id,
        key: key.clone(),
        from: range.start,
        to: range.end,
    }
}

/// The reading as it is shown everywhere; a second letter about it is a copy.
fn letter(duty: &Duty, (keying, key): &KeyRef, reading: Reading<'_>) -> DeadLetter {
    let (plan, row) = (&duty.plan, RowView::Reading(reading));
    let id = row.id(duty.journal, reading.offset());
    let payload = serde_json::to_vec(&RowJson { id, row }).expect("rows have text keys");
    let grouping = plan.keyings[usize::from(*keying)].id;
    DeadLetter {
        source: reading.source().into(),
        reason: Reason::Field,
        detail: format!("made the sensor panic: lane {}, key {key:?}", plan.lane),
        topic: "".into(),
        principal: "gateway".into(),
        received: clock::now(),
        line: None,
        length_bytes: payload.len() as u64,
        payload: Bytes::from(payload),
        identity: Identity::Match(id.with_text(&plan.lane).with_number(grouping).short()),
    }
}
