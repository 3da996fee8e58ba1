//! What the commands do. Each takes its arguments parsed and yields an exit code.

pub mod check;

/// Exit code: done.
pub const OK: u8 = 0;
/// Exit code: the configuration is bad, or the data is of a newer format (`EX_CONFIG` of sysexits.h).
pub const BAD_CONFIGURATION: u8 = 78;
