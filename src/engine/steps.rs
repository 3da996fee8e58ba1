//! The steps of a change and of a checkpoint that a crash may come between: tests stop a lane at each.

/// What has just become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A lane's states below a `Config` record, and the row that lets it follow the record.
    Followed,
    /// The states of alerts that a birth begins with.
    Sown,
    /// A birth's first row.
    Conceived,
    /// Not durable, but on its way: a frame of outputs.
    PutOut,
    /// Not durable, but decided: which sensors a checkpoint round is to save, and its row.
    Queued,
    /// The states of a slice of a round, and whatever they have put out. The row is not.
    Sliced,
    /// The row of a round.
    Checkpointed,
    /// A birth's chunk is done; what it put out may be durable.
    Caught,
    /// The parent's states where it waits for its birth.
    Rested,
    /// The birth's states where it meets its parent.
    Met,
    /// The birth's states among those of the lane.
    Merged,
    /// The row that lets the lane compute what was born.
    Joined,
}

/// Says that a step is done.
#[cfg(not(test))]
pub async fn reached(_: &super::lane::Ground, _: Step) {}

#[cfg(test)]
pub use super::tests::halts::reached;
