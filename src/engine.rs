//! Lanes: from durable readings to outputs.
//!
//! A lane is a consumer of the `readings` stream with its own cursors. Per chunk: [`lane`] pulls it, groups
//! its rows by key ([`group`]), hands each partition its share ([`partition`]), whose sensors ([`sensor`]) run
//! [`step`] on their rows; the outputs come back with the round ([`round`]), are sorted by cause and appended
//! to `results`. [`offline`] runs the same steps without actors.
//!
//! Invariants: processing is a pure function of the journal; partitions appear in no durable state; a
//! sensor never has more than one message waiting.

use crate::model::Offset;

pub mod plan;
pub mod view;
pub mod group;
pub mod generations;
pub mod watermarks;
pub mod step;
pub mod emission;
pub mod wheel;
pub mod wake;
pub mod offline;
mod round;
mod sensor;
mod partition;
mod steps;
mod texts;
pub mod span;
mod lane;
mod lanes;
mod checkpoint;
mod restore;
mod observe;

pub use checkpoint::cursor_name;
pub use lane::{Fault, LaneError};
pub use lanes::{Engine, EngineSettings, LaneView};

/// Where a lane stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// The next record it reads.
    pub position: Offset,
    /// Every output caused below it is durable.
    pub emitted: Offset,
    /// Every state is saved as of it.
    pub checkpoint: Offset,
    /// The oldest record that it, or what is being born into it, may read again.
    pub needed: Offset,
}

#[cfg(test)]
mod tests;
