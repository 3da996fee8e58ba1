//! A column of doubles as bytes.
//!
//! Devices send decimals with few digits. Where every value of the column is `n / 10^k` exactly (the same
//! double that reading the decimal text gives) with one k ≤ 4, the integers `n` are stored as deltas. Else the doubles are
//! stored with their bytes transposed: all first bytes, all second bytes, …, which lz4 packs well.

use crate::model::bytes::{Input, Truncated, put_zigzag};

const SCALES: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];
const RAW: u8 = 255;
/// Magnitude up to which a scaled integer is exact.
const EXACT_MAX: f64 = 4_503_599_627_370_496.0;

pub(super) fn put(out: &mut Vec<u8>, column: impl Iterator<Item = f64> + Clone) {
    let scale = SCALES.iter().position(|scale| column.clone().all(|value| scaled(value, *scale).is_some()));
    let Some(scale) = scale else { return put_raw(out, column) };
    out.push(scale as u8);
    let mut last = 0i64;
    for value in column {
        let number = scaled(value, SCALES[scale]).unwrap_or_default();
        put_zigzag(out, number - last);
        last = number;
    }
}

/// `value · scale` where dividing it again gives `value` bit for bit.
fn scaled(value: f64, scale: f64) -> Option<i64> {
    let number = (value * scale).round();
    let back = |number: i64| number as f64 / scale;
    let number = if number.abs() <= EXACT_MAX { number as i64 } else { return None };
    (back(number).to_bits() == value.to_bits()).then_some(number)
}

fn put_raw(out: &mut Vec<u8>, column: impl Iterator<Item = f64> + Clone) {
    out.push(RAW);
    for byte in 0..8 {
        out.extend(column.clone().map(|value| value.to_bits().to_le_bytes()[byte]));
    }
}

pub(super) fn take(input: &mut Input<'_>, count: usize) -> Result<Vec<f64>, Truncated> {
    if count > input.0.len() {
        return Err(Truncated);
    }
    let kind = input.byte()?;
    if kind == RAW {
        let bytes = input.take(count.checked_mul(8).ok_or(Truncated)?)?;
        let value = |row: usize| f64::from_le_bytes(std::array::from_fn(|byte| bytes[byte * count + row]));
        return Ok((0..count).map(value).collect());
    }
    let scale = *SCALES.get(kind as usize).ok_or(Truncated)?;
    let mut last = 0i64;
    let mut value = || {
        last = last.wrapping_add(input.zigzag()?);
        Ok(last as f64 / scale)
    };
    (0..count).map(|_| value()).collect()
}
