//! base64url without padding (RFC 4648 §5), the JSON form of `vd` (RFC 8428 §4.3).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bytes that `text` stands for. `None`: padding, a foreign character, an impossible length,
/// or left-over bits that are not zero, so that every value has one text.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for &symbol in group {
            bits = bits << 6 | sextet(symbol)?;
        }
        let [_, a, b, c] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        match (group.len(), b, c) {
            (4, _, _) => bytes.extend([a, b, c]),
            (3, _, 0) => bytes.extend([a, b]),
            (2, 0, 0) => bytes.push(a),
            _ => return None,
        }
    }
    Some(bytes)
}

/// Appends the text of `bytes` to `out`.
pub(crate) fn encode(bytes: &[u8], out: &mut String) {
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..=group.len() {
            let sextet = bits >> (18 - 6 * position) & 0x3f;
            out.push(char::from(ALPHABET[sextet as usize]));
        }
    }
}

fn sextet(symbol: u8) -> Option<u32> {
    let value = match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4648_section_10_vectors_without_padding() {
        let vectors = [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, text) in vectors {
            let mut out = String::new();
            encode(plain.as_bytes(), &mut out);
            assert_eq!(out, text);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(decode(b"-_8"), Some(vec![0xfb, 0xff]));
    }

    #[test]
    fn refuses_what_is_not_base64url() {
        for text in ["Zg==", "Z", "Zm9vY", "Zh", "Zm9=", "+/8", "Z g", "Zm9v\n", "ä"] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn decode_undoes_encode(bytes: Vec<u8>) {
            let mut text = String::new();
            encode(&bytes, &mut text);
            proptest::prop_assert_eq!(decode(text.as_bytes()), Some(bytes));
        }
    }
}
