//! Which decoder a payload gets: from the source's `format` and what the sender said.
//!
//! | format | takes what was said to be |
//! |---|---|
//! | `auto` | any of the below, decoded as said; nothing said: by its first bytes, see [`sniff`] |
//! | `senml` | SenML JSON or CBOR, also plain JSON or CBOR (SenML is both); nothing said: by its first byte |
//! | `json` | JSON, also `…+json` but not SenML |
//! | `cbor` | CBOR, also `…+cbor` but not SenML |
//! | `ndjson` | NDJSON |
//!
//! Nothing is said by no type at all, octet-stream, text/plain and curl's form type. Anything else
//! contradicts the format and is `unsupported_format`.

use crate::config::Format;
use crate::model::{Media, Reason};

use super::document::{Document, Node};
use super::rejection::Rejection;
use super::{cbor, json};

/// How a payload is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// A SenML pack in JSON.
    SenmlJson,
    /// A SenML pack in CBOR.
    SenmlCbor,
    /// A JSON object or an array of them.
    Json,
    /// A CBOR map or an array of them.
    Cbor,
    /// A JSON object a line.
    Ndjson,
}

/// The decoder for `payload`.
///
/// # Errors
/// [`Reason::UnsupportedFormat`] where `media` contradicts `format`; [`Reason::Malformed`] where nothing was
/// said and the payload looks like nothing.
pub fn decoder(format: Format, media: &Media, payload: &[u8]) -> Result<Decoder, Rejection> {
    let Some(said) = said(media).map_err(|()| unsupported(media))? else {
        return unsaid(format, payload);
    };
    match (format, said) {
        (Format::Auto, said) => Ok(said),
        (Format::Senml, Decoder::SenmlJson | Decoder::Json) => Ok(Decoder::SenmlJson),
        (Format::Senml, Decoder::SenmlCbor | Decoder::Cbor) => Ok(Decoder::SenmlCbor),
        (Format::Json, Decoder::Json) | (Format::Cbor, Decoder::Cbor) => Ok(said),
        (Format::Ndjson, Decoder::Ndjson) => Ok(said),
        _ => Err(unsupported(media)),
    }
}

/// What the sender said: `None` is nothing, an error is a type no source takes.
fn said(media: &Media) -> Result<Option<Decoder>, ()> {
    match media {
        Media::Unsaid => Ok(None),
        // https://www.iana.org/assignments/core-parameters, CoAP Content-Formats
        Media::ContentFormat(number) => match number {
            0 | 42 => Ok(None),
            50 => Ok(Some(Decoder::Json)),
            60 => Ok(Some(Decoder::Cbor)),
            110 => Ok(Some(Decoder::SenmlJson)),
            112 => Ok(Some(Decoder::SenmlCbor)),
            _ => Err(()),
        },
        Media::Type(name) => match &**name {
            "application/octet-stream" | "text/plain" | "application/x-www-form-urlencoded" => Ok(None),
            "application/senml+json" => Ok(Some(Decoder::SenmlJson)),
            "application/senml+cbor" => Ok(Some(Decoder::SenmlCbor)),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Some(Decoder::Ndjson)),
            // A stream (RFC 8428 section 6) is no message.
            "application/sensml+json" | "application/sensml+cbor" => Err(()),
            "application/json" | "text/json" => Ok(Some(Decoder::Json)),
            "application/cbor" => Ok(Some(Decoder::Cbor)),
            name if name.ends_with("+json") => Ok(Some(Decoder::Json)),
            name if name.ends_with("+cbor") => Ok(Some(Decoder::Cbor)),
            _ => Err(()),
        },
    }
}

fn unsupported(media: &Media) -> Rejection {
    let text = match media {
        Media::Unsaid => "the source does not take this format".to_owned(),
        Media::Type(name) => format!("the source does not take {name}"),
        Media::ContentFormat(number) => format!("the source does not take content format {number}"),
    };
    Rejection::new(Reason::UnsupportedFormat, text)
}

fn unsaid(format: Format, payload: &[u8]) -> Result<Decoder, Rejection> {
    match format {
        Format::Json => Ok(Decoder::Json),
        Format::Cbor => Ok(Decoder::Cbor),
        Format::Ndjson => Ok(Decoder::Ndjson),
        Format::Senml if payload.first().is_some_and(|byte| *byte >= 0x80) => Ok(Decoder::SenmlCbor),
        Format::Senml => Ok(Decoder::SenmlJson),
        Format::Auto => sniff(payload),
    }
}

/// `{` and `[` begin JSON, a CBOR map, array or tag begins CBOR. An array whose first element has only labels
/// of SenML (RFC 8428 section 4.3) is a pack. NDJSON is never guessed: it must be said.
fn sniff(payload: &[u8]) -> Result<Decoder, Rejection> {
    match payload.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Ok(Decoder::Json),
        Some(b'[') if json::decode(payload).is_ok_and(|document| is_pack(&document)) => {
            Ok(Decoder::SenmlJson)
        }
        Some(b'[') => Ok(Decoder::Json),
        // Major types 4 (array), 5 (map) and 6 (tag).
        Some(0x80..=0xdf) if cbor::decode(payload).is_ok_and(|document| is_pack(&document)) => {
            Ok(Decoder::SenmlCbor)
        }
        Some(0x80..=0xdf) => Ok(Decoder::Cbor),
        _ => Err(Rejection::new(Reason::Malformed, "the payload is neither JSON nor CBOR")),
    }
}

fn is_pack(document: &Document<'_>) -> bool {
    let first = document.root().as_array().and_then(|mut elements| elements.next());
    first
        .and_then(Node::as_object)
        .is_some_and(|mut members| members.len() > 0 && members.all(|(name, _)| is_label(name)))
}

/// Labels of RFC 8428 table 1, and their integers in CBOR (table 4).
fn is_label(name: &str) -> bool {
    let texts = ["bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"];
    texts.contains(&name) || name.parse().is_ok_and(|label: i8| (-6..=8).contains(&label))
}
