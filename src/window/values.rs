//! A value as bytes, for states.

use crate::model::Value;
use crate::model::bytes::{Input, Truncated, put_f64, put_text};

/// Appends `value` to `out`.
pub fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0),
        Value::Bool(value) => out.push(1 + u8::from(*value)),
        Value::Number(value) => {
            out.push(3);
            put_f64(out, *value);
        }
        Value::Text(value) => {
            out.push(4);
            put_text(out, value);
        }
    }
}

/// Reads the value of [`put`].
///
/// # Errors
/// [`Truncated`] if the bytes are no value.
pub fn take(input: &mut Input<'_>) -> Result<Value, Truncated> {
    match input.byte()? {
        0 => Ok(Value::Null),
        kind @ 1..=2 => Ok(Value::Bool(kind == 2)),
        3 => Ok(Value::Number(input.f64()?)),
        4 => Ok(Value::Text(input.text()?.into())),
        _ => Err(Truncated),
    }
}
