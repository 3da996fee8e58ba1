//! What the house talks about: readings, outputs, ids, times. No behaviour beyond their own shape.

pub mod batch;
pub mod bytes;
pub mod dead_letter;
pub mod dictionary;
pub mod id;
pub mod inbound;
pub mod output;
pub mod reason;
pub mod row;
pub mod time;
pub mod value;

pub use batch::{Batch, BatchBuilder, Reading};
pub use dead_letter::DeadLetter;
pub use id::{Offset, ResultId};
pub use inbound::{Identity, Inbound, Media, Protocol};
pub use output::{AlertRow, AlertState, Late, Output, ResultRow, Severity};
pub use reason::Reason;
pub use row::{Row, RowView, StreamName};
pub use time::Timestamp;
pub use value::{Cell, Value};
