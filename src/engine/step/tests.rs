//! Tests of one sensor's step.
