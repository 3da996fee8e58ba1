//! Lanes: from durable readings to outputs.
//!
//! A lane is a consumer of the `readings` stream with its own cursors. Per chunk: [`lane`] pulls it, groups
//! its rows by key ([`group`]), hands each partition its share ([`partition`]), whose sensors ([`sensor`]) run
//! [`step`] on their rows; the outputs come back with the round ([`round`]), are sorted by cause and appended
//! to `results`. [`offline`] runs the same steps without actors.
//!
//! Invariants: processing is a pure function of the journal; partitions appear in no durable state; a
//! sensor never has more than one message waiting.

pub mod emission;
pub mod group;
pub mod offline;
pub mod plan;
pub mod step;
pub mod view;
pub mod watermarks;
pub mod wheel;
