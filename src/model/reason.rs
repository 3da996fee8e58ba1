//! Why something was refused: one word everywhere (metric label, dead letter, problem type, CoAP diagnostic).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A refusal's reason. `CONTRACT`: the word is the same on every protocol, in metrics and in dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The bytes are not the format.
    Malformed,
    /// The JSON Schema says no.
    Schema,
    /// A unit is unknown or cannot be converted.
    Unit,
    /// A time is missing, out of range or before the source's `min`.
    Time,
    /// A field is missing or of the wrong kind.
    Field,
    /// No source takes the topic.
    Unmatched,
    /// The content type is not one the source takes.
    UnsupportedFormat,
    /// The message is larger than the listener takes.
    TooLarge,
    /// The role does not allow the topic.
    Forbidden,
    /// The role may not speak for the sensor.
    SensorForbidden,
    /// No valid credentials.
    Unauthenticated,
    /// The sender exceeds its rate.
    Rate,
    /// The gateway is behind.
    Overload,
    /// The disk is full or failed.
    Disk,
}

/// How a reason is treated, whatever the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Final, kept as a dead letter with its bytes.
    Content,
    /// Final, counted and logged only.
    Denied,
    /// Not now: the sender keeps the message and sends it again.
    Later,
}

impl Reason {
    /// Every reason, in the order of the contract.
    pub const ALL: [Self; 14] = [
        Self::Malformed,
        Self::Schema,
        Self::Unit,
        Self::Time,
        Self::Field,
        Self::Unmatched,
        Self::UnsupportedFormat,
        Self::TooLarge,
        Self::Forbidden,
        Self::SensorForbidden,
        Self::Unauthenticated,
        Self::Rate,
        Self::Overload,
        Self::Disk,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Schema => "schema",
            Self::Unit => "unit",
            Self::Time => "time",
            Self::Field => "field",
            Self::Unmatched => "unmatched",
            Self::UnsupportedFormat => "unsupported_format",
            Self::TooLarge => "too_large",
            Self::Forbidden => "forbidden",
            Self::SensorForbidden => "sensor_forbidden",
            Self::Unauthenticated => "unauthenticated",
            Self::Rate => "rate",
            Self::Overload => "overload",
            Self::Disk => "disk",
        }
    }

    /// Whether the refusal is final, and whether its bytes are kept.
    pub const fn class(self) -> Class {
        match self {
            Self::Forbidden | Self::Unauthenticated => Class::Denied,
            Self::Rate | Self::Overload | Self::Disk => Class::Later,
            _ => Class::Content,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
