//! Request targets: a path's segments, percent-decoded and UTF-8, and query values.
//!
//! Segments are split before they are decoded, so `%2F` is a character of a segment, never a separator
//! (RFC 3986 §2.2). Nothing is normalised: empty and dot segments and control characters reach the host.

use std::borrow::Cow;

/// Why a target is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A percent sign without two hexadecimal digits.
    #[error("path segment {0:?} has a percent sign without two hex digits")]
    BadEscape(String),
    /// The decoded bytes are not UTF-8.
    #[error("path segment {0:?} is not percent-encoded UTF-8")]
    NotUtf8(String),
    /// Neither a path nor `*`, or no target at all.
    #[error("target {0:?} is not a path")]
    NotAPath(String),
}

/// Iterates over a path's decoded segments.
#[derive(Debug, Clone)]
pub struct Segments<'h>(Inner<'h>);

#[derive(Debug, Clone)]
enum Inner<'h> {
    Root,
    Plain(std::str::Split<'h, char>),
    Decoded(std::slice::Iter<'h, String>),
}

impl<'h> Segments<'h> {
    /// Walks `raw`, or what [`decode_path`] made of it.
    pub(crate) fn new(raw: &'h str, decoded: Option<&'h [String]>) -> Self {
        Self(match decoded {
            Some(decoded) => Inner::Decoded(decoded.iter()),
            None if raw == "/" => Inner::Root,
            None => Inner::Plain(raw.strip_prefix('/').unwrap_or(raw).split('/')),
        })
    }
}

impl<'h> Iterator for Segments<'h> {
    type Item = &'h str;

    fn next(&mut self) -> Option<&'h str> {
        match &mut self.0 {
            Inner::Root => None,
            Inner::Plain(segments) => segments.next(),
            Inner::Decoded(segments) => segments.next().map(String::as_str),
        }
    }
}

/// Checks a path; returns its decoded segments if any differs from its raw form.
pub(crate) fn decode_path(raw: &str) -> Result<Option<Vec<String>>, TargetError> {
    if !raw.starts_with('/') && raw != "*" {
        return Err(TargetError::NotAPath(raw.to_owned()));
    }
    if !raw.contains('%') {
        return Ok(None);
    }
    Segments::new(raw, None)
        .map(|segment| decode_segment(segment).map(Cow::into_owned))
        .collect::<Result<_, _>>()
        .map(Some)
}

fn decode_segment(segment: &str) -> Result<Cow<'_, str>, TargetError> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    let bytes = decode(segment.as_bytes()).ok_or_else(|| TargetError::BadEscape(segment.to_owned()))?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| TargetError::NotUtf8(segment.to_owned()))
}

fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(&byte) = rest.next() {
        decoded.push(match byte {
            b'%' => hex(*rest.next()?)? << 4 | hex(*rest.next()?)?,
            plain => plain,
        });
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Returns the first value of `name` in a query, decoded as a form (`+` is a space).
pub(crate) fn query_value<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode_form(key)? != name {
            return None;
        }
        decode_form(value)
    })
}

fn decode_form(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    String::from_utf8(decode(spaced.as_bytes())?).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(raw: &str, expected: Expect) {
        let text = match decode_path(raw) {
            Ok(decoded) => format!("{:?}", Segments::new(raw, decoded.as_deref()).collect::<Vec<_>>()),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn paths() {
        check("/", expect!["[]"]);
        check("/ingest/fleet/v17", expect![[r#"["ingest", "fleet", "v17"]"#]]);
        check("/a//b/", expect![[r#"["a", "", "b", ""]"#]]);
        check("/a%2Fb/c", expect![[r#"["a/b", "c"]"#]]);
        check("/caf%C3%A9", expect![[r#"["café"]"#]]);
        check("/a/%2e%2E/b", expect![[r#"["a", "..", "b"]"#]]);
        check("/50%", expect![[r#"path segment "50%" has a percent sign without two hex digits"#]]);
        check("/%+1", expect![[r#"path segment "%+1" has a percent sign without two hex digits"#]]);
        check("/%FF", expect![[r#"path segment "%FF" is not percent-encoded UTF-8"#]]);
        check("/%C3/%A9", expect![[r#"path segment "%C3" is not percent-encoded UTF-8"#]]);
        check("*", expect![[r#"["*"]"#]]);
        check("", expect![[r#"target "" is not a path"#]]);
    }

    #[test]
    fn query_values() {
        let query = "limit=10&name=a+b%2Bc&empty&bad=%zz&limit=20";
        let values = ["limit", "name", "empty", "bad", "none"].map(|name| query_value(query, name));
        expect![[r#"[Some("10"), Some("a b+c"), Some(""), None, None]"#]].assert_eq(&format!("{values:?}"));
    }

    proptest! {
        #[test]
        fn any_segments_survive_encoding(segments in prop::collection::vec(".{1,8}", 1..5)) {
            let raw: String = segments
                .iter()
                .map(|segment| segment.bytes().fold("/".to_owned(), |path, byte| path + &format!("%{byte:02x}")))
                .collect();
            let decoded = decode_path(&raw).unwrap();
            prop_assert_eq!(Segments::new(&raw, decoded.as_deref()).collect::<Vec<_>>(), segments);
        }
    }
}
