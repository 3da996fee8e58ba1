//! The crate from outside: the RFC's examples, a table of every error, limits, streams, properties.

mod errors;
mod golden;
mod limits;
mod properties;
mod streams;
