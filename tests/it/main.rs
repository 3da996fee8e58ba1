//! Integration tests: one binary, so that the daemon is linked once.

mod house;
