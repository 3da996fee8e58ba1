//! The numbers of CBOR that are no plain integers or floats: decimal fractions and big numbers
//! (RFC 8949 §3.4.3, §3.4.4), and which floats are short.

use crate::error::Kind;

/// Powers of ten that a double holds exactly.
const EXACT_POWER_MAX: usize = 22;
/// Integers up to here are doubles.
const EXACT_INTEGER_MAX: u128 = 1 << 53;

/// The double nearest to `mantissa` * 10^`exponent`.
pub(super) fn decimal(mantissa: i128, exponent: i128) -> Result<f64, Kind> {
    let power = usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX);
    if mantissa.unsigned_abs() <= EXACT_INTEGER_MAX && power <= EXACT_POWER_MAX {
        // Both are exact, so one operation rounds once.
        let scale = POWERS[power];
        return Ok(if exponent < 0 { mantissa as f64 / scale } else { mantissa as f64 * scale });
    }
    // 10^400 times any i128 but zero is out of range or zero already; the parser rounds once.
    let exponent = exponent.clamp(-400, 400);
    let number: f64 = format!("{mantissa}e{exponent}").parse().map_err(|_| Kind::NotFinite)?;
    if number.is_finite() { Ok(number) } else { Err(Kind::NotFinite) }
}

/// The value of a big number, if 128 bits hold it: its bytes are n, or -1 - n if negative.
pub(super) fn big(bytes: &[u8], negative: bool) -> Result<i128, Kind> {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let digits = &bytes[zeros..];
    let mut padded = [0; size_of::<i128>()];
    let start = padded.len().checked_sub(digits.len()).ok_or(Kind::NotFinite)?;
    padded[start..].copy_from_slice(digits);
    let number = i128::try_from(u128::from_be_bytes(padded)).map_err(|_| Kind::NotFinite)?;
    Ok(if negative { -1 - number } else { number })
}

/// The number as a float of 16 bits that has the same value, if there is one among the normal ones.
pub(super) fn fits_half(number: f32) -> bool {
    const MANTISSA_DROPPED: u32 = 23 - 10;
    let exponent = i32::try_from(number.to_bits() >> 23 & 0xff).unwrap_or(0) - 127;
    let rest = number.to_bits() & ((1 << MANTISSA_DROPPED) - 1);
    number == 0.0 || (rest == 0 && (-14..=15).contains(&exponent))
}

const POWERS: [f64; EXACT_POWER_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimal_fractions() {
        let table = [
            (27_315, -2, Ok(273.15)), // the example of RFC 8949 section 3.4.4
            (1_276_020_076_001, -3, Ok(1_276_020_076.001)),
            (-5, 0, Ok(-5.0)),
            (0, 10_000_000_000, Ok(0.0)),
            (1, -10_000_000_000, Ok(0.0)),
            (1, 308, Ok(1e308)),
            (1, 309, Err(Kind::NotFinite)),
            (-1, i128::MAX, Err(Kind::NotFinite)),
            (i128::MAX, -38, Ok(1.701_411_834_604_692_3)),
        ];
        for (mantissa, exponent, want) in table {
            assert_eq!(decimal(mantissa, exponent), want, "{mantissa}e{exponent}");
        }
    }

    #[test]
    fn big_numbers() {
        let sixteen = [0xff; 16];
        let table: [(&[u8], bool, Result<i128, Kind>); 7] = [
            (&[], false, Ok(0)),
            (&[1, 0], false, Ok(256)),
            (&[1, 0], true, Ok(-257)),
            (&[0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], false, Ok(1 << 64)),
            (&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], true, Ok(-(0x80_i128 << 64))),
            (&sixteen, false, Err(Kind::NotFinite)),
            (&[1; 17], false, Err(Kind::NotFinite)),
        ];
        for (bytes, negative, want) in table {
            assert_eq!(big(bytes, negative), want, "{bytes:?}");
        }
    }

    #[test]
    fn halves() {
        for fits in [0.0, -0.0, 1.0, 1.5, -2.0, 65_504.0, 0.000_061_035_156] {
            assert!(fits_half(fits), "{fits}");
        }
        let below_normal = f32::EPSILON.mul_add(8192.0, 1.0) / 32_768.0; // 2^-15 * (1 + 2^-10)
        for not in [65_536.0, 1.2, 2049.0, 1e-5, f32::MAX, below_normal] {
            assert!(!fits_half(not), "{not}");
        }
    }

    proptest! {
        #[test]
        fn decimals_round_as_their_text_does(mantissa: i64, exponent in -330_i128..300) {
            let text: f64 = format!("{mantissa}e{exponent}").parse().expect("a number");
            let want = if text.is_finite() { Ok(text) } else { Err(Kind::NotFinite) };
            prop_assert_eq!(decimal(mantissa.into(), exponent), want);
        }
    }
}
