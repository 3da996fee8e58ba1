//! Aggregates over the readings of one window (pure), each in constant memory.
//!
//! | column | formula | without values |
//! |---|---|---|
//! | `count()` | readings, nulls included | 0 |
//! | `count(x)` | non-null values of a name; true values of an expression | 0 |
//! | `sum(x)` | plain double sum in arrival order, as Flink's | null |
//! | `avg(x)` | sum / count of non-null values | null |
//! | `min(x)`, `max(x)` | extreme of the non-null values | null |
//! | `stddev_pop(x)` | √(M₂ / n), M₂ by Welford (Technometrics 4, 1962) | null |
//!
//! Units are those of the field; `stddev_pop` has the field's unit too.

use crate::config::Aggregate;
use crate::expr::{Failure, Program, Scope};
use crate::model::bytes::{Input, Truncated, put_f64, put_varint};
use crate::model::{Cell, Value};

/// The running state of one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Accumulator {
    /// `count()` and `count(x)`.
    Count(u64),
    /// `sum(x)` and `avg(x)`: sum and number of values.
    Sum(f64, u64),
    /// `min(x)` and `max(x)`.
    Extreme(Option<f64>),
    /// `stddev_pop(x)`.
    Moments {
        /// Number of values.
        count: u64,
        /// Their mean.
        mean: f64,
        /// Sum of squared distances from the mean.
        m2: f64,
    },
}

impl Accumulator {
    /// The state before any reading.
    pub fn new(aggregate: &Aggregate) -> Self {
        match aggregate {
            Aggregate::Count | Aggregate::CountOf(_) => Self::Count(0),
            Aggregate::Sum(_) | Aggregate::Avg(_) => Self::Sum(0.0, 0),
            Aggregate::Min(_) | Aggregate::Max(_) => Self::Extreme(None),
            Aggregate::StddevPop(_) => Self::Moments { count: 0, mean: 0.0, m2: 0.0 },
        }
    }

    /// Adds one reading.
    ///
    /// # Errors
    /// [`Failure`] of the expression; the reading then does not count.
    pub fn add(&mut self, aggregate: &Aggregate, scope: &dyn Scope) -> Result<(), Failure> {
        match (self, aggregate) {
            (Self::Count(count), Aggregate::Count) => *count += 1,
            (Self::Count(count), Aggregate::CountOf(of)) => *count += u64::from(counts(of, scope)?),
            (Self::Sum(sum, count), Aggregate::Sum(of) | Aggregate::Avg(of)) => {
                if let Some(value) = of.number(scope)? {
                    *sum += value;
                    *count += 1;
                }
            }
            (Self::Extreme(extreme), Aggregate::Min(of)) => replace(extreme, of.number(scope)?, f64::min),
            (Self::Extreme(extreme), Aggregate::Max(of)) => replace(extreme, of.number(scope)?, f64::max),
            (Self::Moments { count, mean, m2 }, Aggregate::StddevPop(of)) => {
                if let Some(value) = of.number(scope)? {
                    *count += 1;
                    let before = value - *mean;
                    *mean += before / *count as f64;
                    *m2 += before * (value - *mean);
                }
            }
            (state, aggregate) => unreachable!("{state:?} was not made for {aggregate:?}"),
        }
        Ok(())
    }

    /// The column's value now.
    pub fn finish(&self, aggregate: &Aggregate) -> Value {
        match *self {
            Self::Count(count) => Value::Number(count as f64),
            Self::Sum(_, 0) | Self::Extreme(None) | Self::Moments { count: 0, .. } => Value::Null,
            Self::Sum(sum, count) if matches!(aggregate, Aggregate::Avg(_)) => {
                Value::finite(sum / count as f64)
            }
            Self::Sum(sum, _) => Value::finite(sum),
            Self::Extreme(Some(value)) => Value::finite(value),
            Self::Moments { count, m2, .. } => Value::finite((m2 / count as f64).sqrt()),
        }
    }

    /// Appends the state to `out`.
    pub fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Count(count) => put_varint(out, count),
            Self::Sum(sum, count) => {
                put_f64(out, sum);
                put_varint(out, count);
            }
            Self::Extreme(None) => out.push(0),
            Self::Extreme(Some(value)) => {
                out.push(1);
                put_f64(out, value);
            }
            Self::Moments { count, mean, m2 } => {
                put_varint(out, count);
                put_f64(out, mean);
                put_f64(out, m2);
            }
        }
    }

    /// Reads the state of [`Self::put`].
    ///
    /// # Errors
    /// [`Truncated`] if the bytes are no state of `aggregate`.
    pub fn take(aggregate: &Aggregate, input: &mut Input<'_>) -> Result<Self, Truncated> {
        Ok(match Self::new(aggregate) {
            Self::Count(_) => Self::Count(input.varint()?),
            Self::Sum(..) => Self::Sum(input.f64()?, input.varint()?),
            Self::Extreme(_) if input.byte()? == 0 => Self::Extreme(None),
            Self::Extreme(_) => Self::Extreme(Some(input.f64()?)),
            Self::Moments { .. } => {
                Self::Moments { count: input.varint()?, mean: input.f64()?, m2: input.f64()? }
            }
        })
    }
}

/// A name counts where it is not null, any other expression where it holds.
fn counts(of: &Program, scope: &dyn Scope) -> Result<bool, Failure> {
    match of.plain_name() {
        Some(slot) => Ok(scope.get(slot) != Cell::Null),
        None => of.test(scope),
    }
}

fn replace(extreme: &mut Option<f64>, value: Option<f64>, better: fn(f64, f64) -> f64) {
    let Some(value) = value else { return };
    *extreme = Some(extreme.map_or(value, |known| better(known, value)));
}
