//! Dead letters as bytes: the payload of a `dead-letters` frame.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::bytes::{Input, Truncated, put_varint, put_zigzag};
use crate::model::{DeadLetter, Identity, Reason, Timestamp};

/// Most letters of one frame.
const LETTERS_MAX: usize = 1 << 20;

/// Appends `letters` to `out`.
pub fn encode(letters: &[DeadLetter], out: &mut Vec<u8>) {
    put_varint(out, letters.len() as u64);
    for letter in letters {
        for text in [&letter.source, &letter.topic, &letter.principal] {
            put_bytes(out, text.as_bytes());
        }
        let reason = Reason::ALL.iter().position(|reason| *reason == letter.reason);
        out.push(reason.expect("the list holds every reason") as u8);
        put_bytes(out, letter.detail.as_bytes());
        put_zigzag(out, letter.received.nanos());
        put_varint(out, letter.line.unwrap_or(0));
        put_varint(out, letter.length_bytes);
        out.push(u8::from(letter.identity.hash().is_some()));
        out.extend(letter.identity.hash().map(u64::to_le_bytes).into_iter().flatten());
        put_bytes(out, &letter.payload);
    }
}

/// The letters in `bytes`; their payloads share it.
///
/// # Errors
/// [`Truncated`] if the bytes are no letters.
pub fn decode(bytes: &Bytes) -> Result<Vec<DeadLetter>, Truncated> {
    let mut input = Input(bytes);
    let count = input.count(LETTERS_MAX.min(bytes.len()))?;
    (0..count).map(|_| take_letter(&mut input, bytes)).collect()
}

fn take_letter(input: &mut Input<'_>, bytes: &Bytes) -> Result<DeadLetter, Truncated> {
    let [source, topic, principal] = [take_text(input)?, take_text(input)?, take_text(input)?];
    let reason = *Reason::ALL.get(input.byte()? as usize).ok_or(Truncated)?;
    let detail = take_text(input)?.to_string();
    let received = Timestamp::from_nanos(input.zigzag()?);
    let line = Some(input.varint()?).filter(|line| *line > 0);
    let length_bytes = input.varint()?;
    let identity = if input.byte()? == 1 { Identity::Remember(input.u64()?) } else { Identity::None };
    let payload = bytes.slice_ref(take_bytes(input)?);
    Ok(DeadLetter {
        source,
        reason,
        detail,
        topic,
        principal,
        received,
        line,
        payload,
        length_bytes,
        identity,
    })
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(input: &mut Input<'a>) -> Result<&'a [u8], Truncated> {
    let length = input.count(input.0.len())?;
    input.take(length)
}

fn take_text(input: &mut Input<'_>) -> Result<Arc<str>, Truncated> {
    std::str::from_utf8(take_bytes(input)?).map(Into::into).map_err(|_| Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_undoes_encode_and_refuses_every_prefix() {
        let letter = DeadLetter {
            source: "fleet".into(),
            reason: Reason::Schema,
            detail: "/speed: 900 is greater than the maximum of 400".into(),
            topic: "fleet/v1/telemetry".into(),
            principal: "anonymous".into(),
            received: Timestamp::from_millis(1_767_225_600_123),
            line: Some(3),
            payload: Bytes::from_static(b"{\"speed\":900}"),
            length_bytes: 13,
            identity: Identity::Remember(9),
        };
        let letters = [letter.clone(), DeadLetter { line: None, identity: Identity::None, ..letter }];
        let mut bytes = Vec::new();
        encode(&letters, &mut bytes);
        let bytes = Bytes::from(bytes);
        let back = decode(&bytes).expect("own bytes");
        assert_eq!(format!("{back:?}"), format!("{letters:?}"));
        assert!((0..bytes.len()).all(|cut| decode(&bytes.slice(..cut)).is_err()));
    }
}
