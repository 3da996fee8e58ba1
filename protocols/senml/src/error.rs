//! What is wrong with an input: where (record, member), what, and which class of refusal it is.
//!
//! Functions inside the crate return a bare [`Kind`]; the record loop adds the place.

use std::borrow::Cow;
use std::fmt;

/// Why an input was refused, with its place.
///
/// Reads like `record 3: "bt": not a finite number`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Index of the record, counted from 0. `None`: the pack as a whole.
    pub record: Option<usize>,
    /// Label of the member, in its JSON form also for CBOR (`bt`, not -3). `None`: the whole record.
    pub member: Option<Cow<'static, str>>,
    /// What is wrong.
    pub kind: Kind,
}

/// What is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// Not JSON, or not CBOR.
    #[error("expected {expected} at byte {offset}")]
    Syntax {
        /// Where in the input.
        offset: usize,
        /// What would have been right there.
        expected: &'static str,
    },
    /// The input ends within the pack.
    #[error("input ends too early, at byte {offset}")]
    Truncated {
        /// Length of the input.
        offset: usize,
    },
    /// Text that is not UTF-8.
    #[error("not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Where in the input.
        offset: usize,
    },
    /// Bytes after the end of the pack.
    #[error("unexpected bytes after the pack, at byte {offset}")]
    Trailing {
        /// Where in the input.
        offset: usize,
    },
    /// The root is not an array (RFC 8428 §4).
    #[error("not an array of records")]
    NotAPack,
    /// An element of the pack is not an object or map (§4).
    #[error("not a record")]
    NotARecord,

    /// A pack without records (§11).
    #[error("pack holds no records")]
    EmptyPack,
    /// A member of another type than its label wants (§4.3).
    #[error("expected {expected}")]
    WrongType {
        /// The type that the label wants.
        expected: &'static str,
    },
    /// A number, or a sum of base and value, that a double cannot hold.
    #[error("not a finite number")]
    NotFinite,
    /// A label that occurs twice in its record.
    #[error("occurs twice")]
    Duplicate,
    /// A label that ends in `_` and is not known here (§4.4).
    #[error("must be understood but is not")]
    MustUnderstand,
    /// `bver` that is not an integer from 1 to [`VERSION`](crate::VERSION) (§4.4).
    #[error("version {found} is not supported, only 1 to 10")]
    Version {
        /// The version as given.
        found: Box<str>,
    },
    /// A version that differs from that of the records before (§4.4).
    #[error("version {found} differs from version {pack} of the records before")]
    VersionChange {
        /// Version of this record.
        found: u8,
        /// Version of the records before.
        pack: u8,
    },
    /// More than one of `v`, `vs`, `vb`, `vd` (§4.2).
    #[error("more than one value")]
    SeveralValues,
    /// Neither a value nor a sum, and not a record of base fields only (§4.2).
    #[error("neither a value nor a sum")]
    NoValue,
    /// Base name and name are both missing or empty (§4.5.1).
    #[error("no name")]
    NoName,
    /// A name with a character outside of `A-Z a-z 0-9 - : . / _`, or whose first character is
    /// not a letter or digit (§4.5.1).
    #[error("character {found:?} is not allowed {place} a name")]
    NameCharacter {
        /// The first such character.
        found: char,
        /// `in` or `at the start of`.
        place: &'static str,
    },
    /// `vd` that is not base64url without padding (§4.3).
    #[error("not base64url without padding")]
    NotBase64Url,
    /// `ut` below zero (§4.2).
    #[error("negative period")]
    NegativePeriod,

    /// A unit that is in neither registry (RFC 8428 §12.1, RFC 8798).
    #[error("unknown unit {found:?}")]
    UnknownUnit {
        /// The unit as given.
        found: Box<str>,
    },
    /// A time that does not fit 64-bit nanoseconds since the epoch (years 1677 to 2262), or, for
    /// encoding, one that SenML cannot say (before 2^28 s, §4.5.3).
    #[error("time out of range")]
    TimeRange,

    /// [`Limits::bytes`](crate::Limits::bytes) reached.
    #[error("more than {limit} bytes")]
    TooManyBytes {
        /// The limit.
        limit: usize,
    },
    /// [`Limits::records`](crate::Limits::records) reached.
    #[error("more than {limit} records")]
    TooManyRecords {
        /// The limit.
        limit: usize,
    },
    /// [`Limits::depth`](crate::Limits::depth) reached.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// [`Limits::name_bytes`](crate::Limits::name_bytes) or
    /// [`Limits::value_bytes`](crate::Limits::value_bytes) reached.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
}

/// Class of an error: what a server answers depends on no more than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Not the format at all.
    Malformed,
    /// `u` or `bu`.
    Unit,
    /// `t` or `bt`.
    Time,
    /// Another rule of RFC 8428.
    Field,
    /// A limit of the reader.
    TooLarge,
}

impl Error {
    pub(crate) fn of_member(label: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        Error { record: None, member: Some(label.into()), kind }
    }

    pub(crate) fn in_record(self, index: usize) -> Self {
        Error { record: Some(index), ..self }
    }

    /// The class of this error. A wrong type or number is of the class of its member.
    pub fn class(&self) -> Class {
        match (self.kind.class(), self.member.as_deref()) {
            (Class::Field, Some("t" | "bt")) if self.kind.is_about_type() => Class::Time,
            (Class::Field, Some("u" | "bu")) if self.kind.is_about_type() => Class::Unit,
            (class, _) => class,
        }
    }

    /// RFC 6901 JSON pointer to the place: `/3/bt`, `/3`, or empty for the whole pack.
    pub fn pointer(&self) -> String {
        let Some(record) = self.record else { return String::new() };
        match &self.member {
            Some(member) => format!("/{record}/{}", member.replace('~', "~0").replace('/', "~1")),
            None => format!("/{record}"),
        }
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Error { record: None, member: None, kind }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(record) = self.record {
            write!(f, "record {record}: ")?;
        }
        if let Some(member) = &self.member {
            write!(f, "{member:?}: ")?;
        }
        self.kind.fmt(f)
    }
}

impl std::error::Error for Error {}

impl Kind {
    fn class(&self) -> Class {
        match self {
            Kind::Syntax { .. } | Kind::Truncated { .. } | Kind::NotUtf8 { .. } => Class::Malformed,
            Kind::Trailing { .. } | Kind::NotAPack | Kind::NotARecord => Class::Malformed,
            Kind::UnknownUnit { .. } => Class::Unit,
            Kind::TimeRange => Class::Time,
            Kind::TooManyBytes { .. } | Kind::TooManyRecords { .. } => Class::TooLarge,
            Kind::TooDeep { .. } | Kind::TooLong { .. } => Class::TooLarge,
            _ => Class::Field,
        }
    }

    fn is_about_type(&self) -> bool {
        matches!(self, Kind::WrongType { .. } | Kind::NotFinite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_pointer_name_the_place() {
        let whole = Error::from(Kind::NotAPack);
        assert_eq!((whole.to_string().as_str(), whole.pointer().as_str()), ("not an array of records", ""));

        let record = Error::from(Kind::NoValue).in_record(7);
        assert_eq!(record.to_string(), "record 7: neither a value nor a sum");
        assert_eq!(record.pointer(), "/7");

        let member = Error::of_member("bt", Kind::NotFinite).in_record(3);
        assert_eq!(member.to_string(), r#"record 3: "bt": not a finite number"#);
        assert_eq!((member.pointer().as_str(), member.class()), ("/3/bt", Class::Time));
    }

    #[test]
    fn pointer_escapes_as_rfc6901_section_3_says() {
        let error = Error::of_member("a/b~c_", Kind::MustUnderstand).in_record(0);
        assert_eq!(error.pointer(), "/0/a~1b~0c_");
    }
}
