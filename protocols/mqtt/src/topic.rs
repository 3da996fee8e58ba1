//! Topic names (pure): the rules of MQTT 3.1.1 and 5.0 §4.7 for names in PUBLISH and wills.
//!
//! `$` has no meaning here: the host decides about `$`-topics.

/// The rule that a topic name breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicFault {
    /// MQTT-4.7.3-1; on MQTT 5 only a topic alias would allow it, and none is offered.
    #[error("topic is empty")]
    Empty,
    /// MQTT-1.5.3-1 (3.1.1), MQTT-1.5.4-1 (5.0).
    #[error("topic is not UTF-8 from byte {at}")]
    NotUtf8 {
        /// Index of the first bad byte.
        at: usize,
    },
    /// MQTT-3.3.2-2.
    #[error("topic holds the wildcard {0:?}")]
    Wildcard(char),
    /// MQTT-4.7.3-2.
    #[error("topic holds NUL")]
    Nul,
}

/// Checks the name of a PUBLISH or will.
pub(crate) fn check_name(name: &[u8]) -> Result<(), TopicFault> {
    if name.is_empty() {
        return Err(TopicFault::Empty);
    }
    if let Err(error) = str::from_utf8(name) {
        return Err(TopicFault::NotUtf8 { at: error.valid_up_to() });
    }
    match name.iter().find(|byte| matches!(byte, b'+' | b'#' | 0)) {
        None => Ok(()),
        Some(0) => Err(TopicFault::Nul),
        Some(&wildcard) => Err(TopicFault::Wildcard(wildcard.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let table: &[(&[u8], Result<(), TopicFault>)] = &[
            (b"a", Ok(())),
            (b"/", Ok(())),
            (b"a//b/", Ok(())),
            (b"fleet/v17/telemetry", Ok(())),
            (b"$SYS/broker/connection/x/state", Ok(())),
            (b"with space", Ok(())),
            ("öl/temp".as_bytes(), Ok(())),
            ("\u{feff}bom".as_bytes(), Ok(())),
            (b"", Err(TopicFault::Empty)),
            (b"a/+/c", Err(TopicFault::Wildcard('+'))),
            (b"a/#", Err(TopicFault::Wildcard('#'))),
            (b"sport+", Err(TopicFault::Wildcard('+'))),
            (b"a\0b", Err(TopicFault::Nul)),
            (b"ab\xff", Err(TopicFault::NotUtf8 { at: 2 })),
            (b"\xed\xa0\x80", Err(TopicFault::NotUtf8 { at: 0 })), // a surrogate
            (b"\xc0\x80", Err(TopicFault::NotUtf8 { at: 0 })),     // an overlong NUL
        ];
        for (name, expected) in table {
            assert_eq!(check_name(name), *expected, "{name:?}");
        }
    }
}
