//! A refusal: which word of the contract, where in the message, and a text for the sender.

use std::fmt;
use std::sync::Arc;

use crate::model::{DeadLetter, Inbound, Reason};

use super::limits::DETAIL_BYTES_MAX;

/// Why intake refused a message. Shown, it is the `detail` of dead letters and problem documents:
/// `/speed_kmh: 900 is greater than the maximum of 400`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The word of the contract.
    pub reason: Reason,
    /// The source that refused it; `None` where none matched.
    pub source: Option<Arc<str>>,
    /// JSON pointer (RFC 6901) to the place in the body, or in the line of an NDJSON body; empty for the
    /// whole; `None` where there is no document to point into.
    pub pointer: Option<String>,
    /// Index from 0 of the record, in a body that is an array of them.
    pub record: Option<u64>,
    /// Line from 1, in an NDJSON body or a backtest's input.
    pub line: Option<u64>,
    /// What is wrong, at most [`DETAIL_BYTES_MAX`] bytes.
    pub text: String,
}

impl Rejection {
    /// A refusal of the message as a whole.
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        let text = shortened(text.into());
        Self { reason, source: None, pointer: None, record: None, line: None, text }
    }

    pub(super) fn at(mut self, pointer: &str) -> Self {
        self.pointer = Some(shortened(pointer.to_owned()));
        self
    }

    /// Puts the place within the element `index` of an array.
    pub(super) fn in_record(mut self, index: usize) -> Self {
        self.record = Some(index as u64);
        self.pointer = Some(format!("/{index}{}", self.pointer.unwrap_or_default()));
        self
    }

    pub(super) fn in_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    pub(super) fn of_source(mut self, source: &Arc<str>) -> Self {
        self.source = Some(source.clone());
        self
    }

    /// The refused message as it is kept.
    pub fn dead_letter(self, inbound: &Inbound) -> DeadLetter {
        DeadLetter {
            detail: self.to_string(),
            source: self.source.unwrap_or_else(|| Arc::from("")),
            reason: self.reason,
            topic: inbound.topic.clone(),
            principal: inbound.principal.clone(),
            received: inbound.received,
            line: self.line,
            length_bytes: inbound.payload.len() as u64,
            payload: inbound.payload.clone(),
            identity: inbound.identity,
        }
    }
}

impl fmt::Display for Rejection {
    /// The line is not in the text: rows and problem documents have a member of their own for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_deref() {
            None | Some("") => f.write_str(&self.text),
            Some(pointer) => write!(f, "{pointer}: {}", self.text),
        }
    }
}

impl std::error::Error for Rejection {}

fn shortened(mut text: String) -> String {
    if text.len() > DETAIL_BYTES_MAX {
        const MARK: &str = "…";
        text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX - MARK.len()));
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_starts_with_the_place_in_the_body() {
        let refusal = Rejection::new(Reason::Schema, "900 is greater than the maximum of 400");
        let text = |refusal: Rejection| (refusal.to_string(), refusal.record, refusal.line);
        let at = refusal.clone().at("/speed_kmh");
        assert_eq!(text(refusal.clone()), ("900 is greater than the maximum of 400".into(), None, None));
        let want = "/speed_kmh: 900 is greater than the maximum of 400";
        assert_eq!(text(at.clone().in_line(17)), (want.into(), None, Some(17)));
        let want = "/3/speed_kmh: 900 is greater than the maximum of 400";
        assert_eq!(text(at.in_record(3)), (want.into(), Some(3), None));
    }

    #[test]
    fn a_text_that_quotes_the_payload_stays_short() {
        let text = Rejection::new(Reason::Schema, "ä".repeat(10_000)).text;
        assert!(text.len() <= DETAIL_BYTES_MAX && text.ends_with("ä…"), "{} bytes", text.len());
    }
}
