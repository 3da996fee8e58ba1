//! From receipts to verdicts (pure): what a burst's appends mean for each of its messages.

use crate::intake::Rejection;
use crate::journal::{Receipt, Refused};
use crate::model::{Offset, Reason};

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its readings are on disk.
    Accepted {
        /// How many readings it holds.
        readings: u64,
        /// The journal offset of its first reading, or of the original's if it is a copy. In a burst of which
        /// some are copies and some are not: the offset of the burst's first new reading.
        offset: Offset,
        /// Every message of its burst had been sent before, and was not taken again.
        is_duplicate: bool,
    },
    /// Final; its dead letter is on disk where the reason keeps one.
    Refused(Rejection),
    /// Not on disk: the sender keeps it and sends it again.
    Later(Reason),
}

/// What intake made of one message.
#[derive(Debug)]
pub(super) enum Outcome {
    /// This many readings of this source.
    Readings {
        /// Index of the source.
        source: usize,
        /// At least one.
        count: u64,
    },
    /// Nothing.
    Refused(Rejection),
    /// Nothing, because there is no room: it was not looked at.
    PutOff(Reason),
}

/// What an append came to; `None` where there was nothing to append.
pub(super) type Appended = Option<Result<Receipt, Refused>>;

/// One verdict for each outcome, in order.
pub(super) fn settle(outcomes: Vec<Outcome>, readings: Appended, letters: Appended) -> Vec<Verdict> {
    let mut rows_before = 0;
    let settle_one = |outcome| match outcome {
        Outcome::Readings { count, .. } => {
            let verdict = accepted(count, rows_before, readings);
            rows_before += count;
            verdict
        }
        Outcome::PutOff(reason) => Verdict::Later(reason),
        Outcome::Refused(rejection) => match letters {
            Some(Ok(_)) => Verdict::Refused(rejection),
            // A refusal is final only with its bytes on disk (SEMANTICS: "the answer is `disk`").
            Some(Err(_)) | None => Verdict::Later(Reason::Disk),
        },
    };
    outcomes.into_iter().map(settle_one).collect()
}

fn accepted(readings: u64, rows_before: u64, appended: Appended) -> Verdict {
    match appended {
        Some(Ok(receipt)) => {
            let place = if receipt.duplicates + receipt.repeated == 0 { rows_before } else { 0 };
            let offset = receipt.first.plus(place);
            Verdict::Accepted { readings, offset, is_duplicate: receipt.count == 0 }
        }
        Some(Err(Refused::Closed)) => Verdict::Later(Reason::Overload),
        Some(Err(Refused::Disk)) | None => Verdict::Later(Reason::Disk),
    }
}

/// What a source's counters gain from a run of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) source: usize,
    pub(super) accepted: u64,
    pub(super) readings: u64,
    /// Messages that were copies.
    pub(super) copies: u64,
    /// Readings that were copies, in messages that were none.
    pub(super) repeated: u64,
}

/// How much of a message may be a copy of what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MayBe {
    /// Nothing.
    New,
    /// All of it: the protocol gave it an identity that is looked up.
    Whole,
    /// Any of its readings: its source has `dedup`.
    InPart,
}

/// Sums up a durable burst by runs of the same source, so that counters are bumped once a run. Which messages
/// and readings were copies is not known one by one: the first that may have been are taken for them.
pub(super) fn tally<'a>(
    messages: impl Iterator<Item = (&'a Outcome, MayBe)>,
    receipt: &Receipt,
) -> Vec<Tally> {
    let mut tallies: Vec<Tally> = Vec::new();
    let (mut copies_left, mut repeated_left) = (receipt.duplicates, receipt.repeated);
    for (outcome, may_be) in messages {
        let Outcome::Readings { source, count } = outcome else { continue };
        if tallies.last().is_none_or(|last| last.source != *source) {
            tallies.push(Tally { source: *source, ..Tally::default() });
        }
        let last = tallies.last_mut().expect("one was pushed if there was none");
        if copies_left > 0 && may_be != MayBe::New {
            copies_left -= 1;
            last.copies += 1;
            continue;
        }
        // Of a message that is counted as new, one reading at least was.
        let repeated = if may_be == MayBe::InPart { repeated_left.min(count - 1) } else { 0 };
        repeated_left -= repeated;
        last.repeated += repeated;
        last.accepted += 1;
        last.readings += count - repeated;
    }
    tallies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(source: usize, count: u64) -> Outcome {
        Outcome::Readings { source, count }
    }

    fn refused() -> Outcome {
        Outcome::Refused(Rejection::new(Reason::Schema, "no"))
    }

    fn receipt(first: u64, count: u64, duplicates: u64) -> Appended {
        Some(Ok(Receipt { first: Offset(first), count, duplicates, repeated: 0 }))
    }

    fn show(verdicts: Vec<Verdict>) -> Vec<String> {
        let show = |verdict: &Verdict| match verdict {
            Verdict::Accepted { readings, offset, is_duplicate: false } => format!("{readings} at {offset}"),
            Verdict::Accepted { readings, offset, .. } => format!("copy of {readings} at {offset}"),
            Verdict::Refused(rejection) => rejection.reason.to_string(),
            Verdict::Later(reason) => format!("later: {reason}"),
        };
        verdicts.iter().map(show).collect()
    }

    #[test]
    fn receipts_become_verdicts() {
        let burst = || vec![rows(0, 2), refused(), rows(0, 3)];
        let synced = receipt(0, 1, 0);
        let table: [(Appended, Appended, [&str; 3]); 7] = [
            (receipt(10, 5, 0), synced, ["2 at 10", "schema", "3 at 12"]),
            (receipt(10, 0, 2), synced, ["copy of 2 at 10", "schema", "copy of 3 at 10"]),
            (receipt(10, 3, 1), synced, ["2 at 10", "schema", "3 at 10"]),
            (receipt(10, 5, 0), Some(Err(Refused::Disk)), ["2 at 10", "later: disk", "3 at 12"]),
            (receipt(10, 5, 0), Some(Err(Refused::Closed)), ["2 at 10", "later: disk", "3 at 12"]),
            (Some(Err(Refused::Disk)), synced, ["later: disk", "schema", "later: disk"]),
            (Some(Err(Refused::Closed)), synced, ["later: overload", "schema", "later: overload"]),
        ];
        for (readings, letters, want) in table {
            assert_eq!(show(settle(burst(), readings, letters)), want, "{readings:?} {letters:?}");
        }
    }

    #[test]
    fn copies_are_counted_apart_and_runs_together() {
        let outcomes = [rows(0, 1), rows(0, 2), refused(), rows(1, 4), rows(0, 8)];
        let may_be = [MayBe::New, MayBe::Whole, MayBe::New, MayBe::New, MayBe::Whole];
        let tally = |duplicates| {
            let receipt = Receipt { first: Offset(0), count: 9, duplicates, repeated: 0 };
            tally(outcomes.iter().zip(may_be), &receipt)
        };
        let run =
            |source, accepted, readings, copies| Tally { source, accepted, readings, copies, repeated: 0 };
        assert_eq!(tally(0), [run(0, 2, 3, 0), run(1, 1, 4, 0), run(0, 1, 8, 0)]);
        assert_eq!(tally(1), [run(0, 1, 1, 1), run(1, 1, 4, 0), run(0, 1, 8, 0)]);
        assert_eq!(tally(2), [run(0, 1, 1, 1), run(1, 1, 4, 0), run(0, 0, 0, 1)]);
    }

    #[test]
    fn repeated_readings_are_counted_where_the_source_tells_them() {
        let outcomes = [rows(0, 5), rows(1, 3), rows(1, 2)];
        let receipt = Receipt { first: Offset(0), count: 7, duplicates: 0, repeated: 3 };
        let tallies = tally(outcomes.iter().zip([MayBe::New, MayBe::InPart, MayBe::InPart]), &receipt);
        let run =
            |source, accepted, readings, repeated| Tally { source, accepted, readings, copies: 0, repeated };
        assert_eq!(tallies, [run(0, 1, 5, 0), run(1, 2, 2, 3)]);
    }
}
