//! Tests of the alert life cycle.
