//! Values of the file that are texts with a meaning: durations, sizes, secrets, one-or-many.

use std::fmt;
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest duration: a hundred years.
const DURATION_DAYS_MAX: u64 = 36_500;

/// A duration such as `"5s"` or `"1h30m"`: whole numbers of `ms`, `s`, `m`, `h`, `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length(pub(super) Duration);

/// A size such as `"64MiB"`: a whole number of `B`, `kB`, `MB`, `GB`, `TB`, `KiB`, `MiB`, `GiB`, `TiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// A secret: a text, `{ file = "…" }`, or `{ credential = "…" }` of systemd.
#[derive(Clone, Debug)]
pub(super) enum Hidden {
    /// As it stands in the file.
    Text(String),
    /// The content of a file.
    File(String),
    /// The content of a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// One text or a list of them.
#[derive(Clone, Debug)]
pub(super) struct Many {
    /// The texts.
    pub(super) values: Vec<String>,
    /// Whether they stand in a list.
    pub(super) is_list: bool,
}

/// Parses a duration; `None` when it is none.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = after;
    }
    (total.as_secs() <= DURATION_DAYS_MAX * 86_400).then_some(total)
}

/// Parses a size in bytes; `None` when it is none.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = leading_number(text.trim())?;
    let bytes = match unit.trim() {
        "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let what = "expected a duration such as \"5s\" or \"1h30m\" (whole numbers of ms, s, m, h, d)";
        duration(&text).map(Self).ok_or_else(|| Error::custom(format!("{what}, got \"{text}\"")))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let what = "expected a size such as \"64MiB\" (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)";
        size(&text).map(Self).ok_or_else(|| Error::custom(format!("{what}, got \"{text}\"")))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    file: Option<String>,
    credential: Option<String>,
}

struct HiddenVisitor;

impl<'de> Visitor<'de> for HiddenVisitor {
    type Value = Hidden;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, { file = \"…\" } or { credential = \"…\" }")
    }

    fn visit_str<E>(self, text: &str) -> Result<Hidden, E> {
        Ok(Hidden::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Hidden, A::Error> {
        match Elsewhere::deserialize(MapAccessDeserializer::new(map))? {
            Elsewhere { file: Some(file), credential: None } => Ok(Hidden::File(file)),
            Elsewhere { file: None, credential: Some(name) } => Ok(Hidden::Credential(name)),
            _ => Err(A::Error::custom("expected one of the keys \"file\" and \"credential\"")),
        }
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HiddenVisitor)
    }
}

struct ManyVisitor;

impl<'de> Visitor<'de> for ManyVisitor {
    type Value = Many;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E>(self, text: &str) -> Result<Many, E> {
        Ok(Many { values: vec![text.to_owned()], is_list: false })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Many, A::Error> {
        let values = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        Ok(Many { values, is_list: true })
    }
}

impl<'de> Deserialize<'de> for Many {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ManyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0s", Some(0)),
            ("5s", Some(5_000)),
            ("1h30m", Some(5_400_000)),
            ("2ms", Some(2)),
            ("7d", Some(604_800_000)),
            ("", None),
            ("5", None),
            ("-5s", None),
            ("1.5s", None),
            ("5 s", None),
            ("99999999999999999999s", None),
            ("99999d", None),
        ] {
            assert_eq!(duration(text).map(|d| d.as_millis()), millis, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("64MiB", Some(64 << 20)),
            ("20GiB", Some(20 << 30)),
            ("1 kB", Some(1_000)),
            ("0B", Some(0)),
            ("64", None),
            ("64mb", None),
            ("99999999TiB", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }
}
