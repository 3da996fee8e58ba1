//! Tests of one sensor's step.

use super::*;

/// A reading with `panic = true` makes its sensor panic: what a defect of ours would do.
pub(super) fn planted_in_reading(reading: Reading<'_>) {
    assert!(reading.field("panic") != crate::model::Cell::Bool(true), "planted");
}

/// The key `fragile` panics at the tick that shows five seconds of service.
pub(super) fn planted_in_tick(place: &Place<'_>, moment: alert::Moment) {
    assert!(&**place.key != "fragile" || moment.service_ns != 5_000_000_000, "planted");
}
