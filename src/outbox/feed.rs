//! One stream of an outbox: reads on and leases the rows that are wanted.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Delivery, Lease, LeaseLimits, OutboxSettings, Records, Skipped, Stream, StreamError};
use crate::model::{Batch, DeadLetter, Offset, Output, Row, StreamName, Timestamp};

/// A stream, and what was read of it and not yet leased.
pub(super) struct Feed {
    stream: Box<dyn Stream>,
    /// The next offset to lease.
    position: Offset,
    /// What a full lease left of the last records.
    held: Option<Held>,
    /// Offsets found lost since the last lease.
    lost: u64,
}

/// Records with rows, the first `taken` of them leased or unwanted.
struct Held {
    base: Offset,
    /// One past the last offset, book-keeping behind the rows included.
    end: Offset,
    rows: Rows,
    taken: usize,
}

enum Rows {
    Outputs(Arc<[Output]>, Timestamp),
    Readings(Arc<Batch>),
    DeadLetters(Arc<[DeadLetter]>),
}

impl Feed {
    pub(super) fn new(mut stream: Box<dyn Stream>, position: Offset) -> Self {
        stream.seek(position);
        Self { stream, position, held: None, lost: 0 }
    }

    pub(super) fn name(&self) -> StreamName {
        self.stream.name()
    }

    pub(super) fn position(&self) -> Offset {
        self.position
    }

    pub(super) fn tail(&self) -> Offset {
        self.stream.tail()
    }

    /// Whether nothing read is left to lease, nor to report.
    pub(super) fn is_drained(&self) -> bool {
        self.held.is_none() && self.lost == 0
    }

    pub(super) fn next(&mut self) -> BoxFuture<'_, Result<Records, StreamError>> {
        self.stream.next()
    }

    /// Keeps records that [`Self::next`] yielded.
    pub(super) fn hold(&mut self, records: Records) {
        let (base, end, rows) = match records {
            Records::Outputs { base, end, written, outputs } => (base, end, Rows::Outputs(outputs, written)),
            Records::Readings(batch) => (batch.base, batch.end(), Rows::Readings(batch)),
            Records::DeadLetters { base, letters } => {
                (base, base.plus(letters.len() as u64), Rows::DeadLetters(letters))
            }
            Records::Skip { from, to, why } => {
                self.lost += if why == Skipped::Lost { to.0.saturating_sub(from.0) } else { 0 };
                self.position = to;
                return;
            }
        };
        // A stream may hand out whole batches: what lies before the position was leased before.
        let taken = usize::try_from(self.position.0.saturating_sub(base.0)).unwrap_or(usize::MAX);
        self.held = Some(Held { base, end, taken: taken.min(rows.len()), rows });
    }

    /// Leases whatever is there without waiting, as far as `limits` go.
    pub(super) fn take_all(
        &mut self,
        lease: &mut Lease,
        limits: LeaseLimits,
        settings: &OutboxSettings,
    ) -> Result<(), StreamError> {
        while !lease.is_full(limits) {
            if self.held.is_none() {
                lease.lost += std::mem::take(&mut self.lost);
                let Some(records) = self.stream.next().now_or_never() else { break };
                self.hold(records?);
            }
            self.take_held(lease, limits, settings);
        }
        lease.lost += std::mem::take(&mut self.lost);
        Ok(())
    }

    fn take_held(&mut self, lease: &mut Lease, limits: LeaseLimits, settings: &OutboxSettings) {
        let Some(held) = &mut self.held else { return };
        while held.taken < held.rows.len() && !lease.is_full(limits) {
            let offset = held.base.plus(held.taken as u64);
            let (row, written) = held.rows.row(held.taken);
            if settings.wants.wants(row.view()) {
                lease.bytes += row.view().bytes();
                let id = row.view().id(settings.journal, offset);
                lease.rows.push(Delivery { id, stream: self.stream.name(), offset, written, row });
            }
            lease.examined += 1;
            held.taken += 1;
        }
        let is_drained = held.taken == held.rows.len();
        let position = if is_drained { held.end } else { held.base.plus(held.taken as u64) };
        self.position = self.position.max(position);
        if is_drained {
            self.held = None;
        }
    }
}

impl Rows {
    fn len(&self) -> usize {
        match self {
            Self::Outputs(outputs, _) => outputs.len(),
            Self::Readings(batch) => batch.len(),
            Self::DeadLetters(letters) => letters.len(),
        }
    }

    /// The row at `at` and the wall time of its writing.
    fn row(&self, at: usize) -> (Row, Timestamp) {
        match self {
            Self::Outputs(outputs, written) => (Row::Output(Arc::clone(outputs), at), *written),
            Self::Readings(batch) => (Row::Reading(Arc::clone(batch), at), batch.rows()[at].received),
            Self::DeadLetters(letters) => (Row::DeadLetter(Arc::clone(letters), at), letters[at].received),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Route, Start};
    use crate::model::ResultId;
    use crate::outbox::test_stream::{TestLog, result};
    use crate::route::Routes;

    /// What a feed at `position` leases of a frame of three outputs and one record of book-keeping.
    fn check(position: u64, offsets: &[u64], after: u64) {
        let (from, alert, severity, to) = (Vec::new(), Vec::new(), Vec::new(), vec!["s".into()]);
        let route = Route { of: None, from, alert, severity, to, is_final: false };
        let wants = Routes::new(&[route], &[]).wants("s");
        let journal = ResultId::EMPTY;
        let settings = OutboxSettings { sink: "s".into(), wants, start: Start::Now, journal };
        let mut feed = Feed::new(TestLog::default().reader(), Offset(position));
        let outputs = (0..3).map(|n| result("k", n)).collect();
        feed.hold(Records::Outputs {
            base: Offset(5),
            end: Offset(9),
            written: Timestamp::default(),
            outputs,
        });
        let mut lease = Lease::default();
        feed.take_held(&mut lease, LeaseLimits { rows_max: 2, bytes_max: 1 << 20 }, &settings);
        let leased: Vec<_> = lease.rows.iter().map(|row| row.offset.0).collect();
        assert_eq!((leased.as_slice(), feed.position()), (offsets, Offset(after)), "from {position}");
    }

    #[test]
    fn a_frame_is_read_whole_but_leased_from_the_position_and_its_bookkeeping_passed() {
        check(5, &[5, 6], 7);
        check(6, &[6, 7], 9);
        check(7, &[7], 9);
        check(8, &[], 9);
    }
}
