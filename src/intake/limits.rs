//! What one message may make intake spend. Reaching a limit refuses the message and says which limit it was.
//!
//! The limits on structure are `malformed`, never `too_large`: that word closes an MQTT connection, and a
//! client would send the same message again for ever. The length in bytes is the listener's to limit.

/// Arrays and objects within each other.
pub const DEPTH_MAX: usize = 64;

/// Readings of one message: objects of an array, lines of an NDJSON body, records of a SenML pack.
pub const RECORDS_MAX: usize = 10_000;

/// Values and member names of one document. Bounds its memory to 8 MiB, whatever the payload says.
pub const ENTRIES_MAX: usize = 262_144;

/// Members of one object.
pub const MEMBERS_MAX: usize = 1_024;

/// Fields of one reading.
pub const FIELDS_MAX: usize = 256;

/// Bytes of a field's name.
pub const FIELD_NAME_BYTES_MAX: usize = 256;

/// Bytes of a field's text.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// Bytes of a sensor's name.
pub const SENSOR_BYTES_MAX: usize = 256;

/// Bytes of a refusal's text: it may quote the payload.
pub const DETAIL_BYTES_MAX: usize = 512;

/// Bytes of a compiled `pattern` of a schema.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;
