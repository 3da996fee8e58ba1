//! SenML, the Sensor Measurement Lists of RFC 8428, in JSON and CBOR: parse, resolve, encode.
//!
//! Pure: no IO, no clock, no global state. What comes in is bytes and a `now`; what goes out is
//! [`Resolved`] records, or an [`Error`] that names the record and the member.
//!
//! ```
//! use senml::{Limits, json};
//!
//! let body = br#"[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1276020076,"n":"temp","u":"Cel","v":23.1}]"#;
//! let pack = json::decode(body, &Limits::default())?;
//! let resolved = pack.resolve(1_700_000_000_000_000_000)?;
//! assert_eq!(resolved[0].name, "urn:dev:ow:10e2073a01080063:temp");
//! assert_eq!(resolved[0].time.ns, 1_276_020_076_000_000_000);
//! # Ok::<(), senml::Error>(())
//! ```
//!
//! The way of a pack: [`json::decode`] or [`cbor::decode`] check what one record shows by itself
//! (syntax, types, duplicates, limits) and give a [`Pack`] that borrows from the input;
//! [`Pack::resolve`] checks what needs the records before it (names, units, times, versions).
//! Streams (SensML) go record by record through [`json::Stream`] or [`cbor::Stream`] and a [`Resolver`].
//!
//! Invariants: input never causes a panic or deep recursion; memory is bounded by [`Limits`];
//! every number is a finite double (integers are exact up to 2^53).
//!
//! Sources: RFC 8428 (format), RFC 8798 (secondary units), RFC 9193 (`ct`), RFC 6901 (pointers).

pub mod cbor;
pub mod json;
pub mod units;

mod base64;
mod error;
mod label;
mod limits;
mod member;
mod pack;
mod resolve;
mod stream;
mod time;

pub use error::{Class, Error, Kind};
pub use limits::Limits;
pub use pack::{ContentType, Pack, Record, Value};
pub use resolve::{Resolved, Resolver};
pub use time::{Given, Time};
pub use units::Unit;

/// The version of SenML that RFC 8428 defines, and the highest this crate understands (§4.1, §4.4).
pub const VERSION: u8 = 10;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
