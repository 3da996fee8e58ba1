//! Texts with holes in braces: `{vehicle}`, `{avg_speed:.1}`; `{{` and `}}` are plain braces.

/// A piece of such a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// Plain text, braces unescaped.
    Text(String),
    /// What stands between braces, and its column (in bytes, from 1).
    Hole(&'t str, usize),
}

/// Splits `text`; the error is a column and a message.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, (usize, String)> {
    let (mut pieces, mut plain, mut at) = (Vec::new(), String::new(), 0);
    while let Some(next) = text[at..].find(['{', '}']).map(|found| at + found) {
        plain.push_str(&text[at..next]);
        let brace = &text[next..=next];
        if text[next + 1..].starts_with(brace) {
            plain.push_str(brace);
            at = next + 2;
            continue;
        }
        if brace == "}" {
            return Err((next + 1, "\"}\" without \"{\" (\"}}\" is a plain \"}\")".to_owned()));
        }
        let unclosed = || (next + 1, "\"{\" without \"}\" (\"{{\" is a plain \"{\")".to_owned());
        let end = text[next..].find('}').map(|found| next + found).ok_or_else(unclosed)?;
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Hole(&text[next + 1..end], next + 2));
        at = end + 1;
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_unescapes() {
        let text = |text: &str| Piece::Text(text.to_owned());
        for (input, expected) in [
            ("", Ok(vec![])),
            ("a{b}c", Ok(vec![text("a"), Piece::Hole("b", 3), text("c")])),
            ("{{a}} {b:.1}", Ok(vec![text("{a} "), Piece::Hole("b:.1", 8)])),
            ("é{b}{c}", Ok(vec![text("é"), Piece::Hole("b", 4), Piece::Hole("c", 7)])),
        ] {
            assert_eq!(pieces(input), expected, "{input}");
        }
        assert_eq!(pieces("a{b").unwrap_err().0, 2);
        assert_eq!(pieces("a}b").unwrap_err().0, 2);
    }
}
