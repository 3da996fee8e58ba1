//! The client's packets, by hand (pure): what a publisher sends and what it is answered.
//!
//! Sources: MQTT 3.1.1 and 5.0 §3.1 (CONNECT), §3.2 (CONNACK), §3.3 to §3.7, §3.14.

use crate::host::{Qos, Version};

use super::{Ack, ClientError, Options, Publish};

/// What a CONNACK says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    pub receive_maximum: u16,
    pub assigned_client_id: Option<String>,
}

/// Appends a CONNECT.
pub(super) fn encode_connect(options: &Options, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    put_bytes(b"MQTT", &mut body);
    body.push(match options.version {
        Version::V311 => 4,
        Version::V5 => 5,
    });
    body.push(
        u8::from(options.username.is_some()) << 7
            | u8::from(options.password.is_some()) << 6
            | options.will.as_ref().map_or(0, |_| 0b0000_1100)
            | u8::from(options.clean) << 1,
    );
    body.extend_from_slice(&options.keep_alive_s.to_be_bytes());
    let put_no_properties = |body: &mut Vec<u8>| {
        if options.version == Version::V5 {
            body.push(0);
        }
    };
    put_no_properties(&mut body);
    put_bytes(options.client_id.as_bytes(), &mut body);
    if let Some((topic, payload)) = &options.will {
        put_no_properties(&mut body);
        put_bytes(topic.as_bytes(), &mut body);
        put_bytes(payload, &mut body);
    }
    for text in [&options.username, &options.password].into_iter().flatten() {
        put_bytes(text.as_bytes(), &mut body);
    }
    out.push(0x10);
    put_length(body.len(), out);
    out.extend_from_slice(&body);
}

/// Appends a PUBLISH.
pub(super) fn encode_publish(publish: &Publish<'_>, version: Version, out: &mut Vec<u8>) {
    let qos = publish.qos as u8;
    let id_bytes = if publish.qos == Qos::AtMostOnce { 0 } else { 2 };
    let content_type = publish.content_type.filter(|_| version == Version::V5);
    let properties = content_type.map_or(0, |text| 3 + text.len());
    let property_bytes = match version {
        Version::V311 => 0,
        Version::V5 => length_bytes(properties) + properties,
    };
    out.push(0x30 | u8::from(publish.dup) << 3 | qos << 1 | u8::from(publish.retain));
    put_length(2 + publish.topic.len() + id_bytes + property_bytes + publish.payload.len(), out);
    put_bytes(publish.topic, out);
    if id_bytes > 0 {
        out.extend_from_slice(&publish.packet_id.to_be_bytes());
    }
    if version == Version::V5 {
        put_length(properties, out);
    }
    if let Some(text) = content_type {
        out.push(3);
        put_bytes(text.as_bytes(), out);
    }
    out.extend_from_slice(publish.payload);
}

/// Appends a PUBREL.
pub(super) fn encode_release(packet_id: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x62, 2]);
    out.extend_from_slice(&packet_id.to_be_bytes());
}

/// Bytes of the complete frame at the start of `input`; `None` if there is none yet.
pub(super) fn frame_bytes(input: &[u8], bytes_max: usize) -> Result<Option<usize>, ClientError> {
    let Some(&first) = input.first() else { return Ok(None) };
    let unexpected = ClientError::Unexpected { packet_type: first >> 4 };
    match take_length(&input[1..]) {
        Some((remaining, length_bytes)) => {
            let bytes = 1 + length_bytes + remaining;
            if bytes > bytes_max {
                return Err(unexpected);
            }
            Ok((input.len() >= bytes).then_some(bytes))
        }
        None if input.len() > 4 => Err(unexpected),
        None => Ok(None),
    }
}

/// Reason code of a DISCONNECT frame; `None` if it is another packet.
pub(super) fn disconnect_code(frame: &[u8]) -> Option<u8> {
    (frame[0] >> 4 == 14).then(|| frame.get(2).copied().unwrap_or(0))
}

/// Parses a CONNACK frame.
pub(super) fn parse_connack(frame: &[u8], version: Version) -> Result<Welcome, ClientError> {
    let unexpected = || ClientError::Unexpected { packet_type: frame[0] >> 4 };
    let (_, length_bytes) = take_length(&frame[1..]).ok_or_else(unexpected)?;
    let body = &frame[1 + length_bytes..];
    let (2, Some(&code)) = (frame[0] >> 4, body.get(1)) else { return Err(unexpected()) };
    if code != 0 {
        return Err(ClientError::Refused { code });
    }
    let mut welcome = Welcome { receive_maximum: u16::MAX, assigned_client_id: None };
    if version == Version::V5 {
        let (bytes, length_bytes) = take_length(&body[2..]).ok_or_else(unexpected)?;
        let properties = body.get(2 + length_bytes..2 + length_bytes + bytes).ok_or_else(unexpected)?;
        read_properties(properties, &mut welcome).ok_or_else(unexpected)?;
    }
    Ok(welcome)
}

/// Reads the properties of a CONNACK (§3.2.2.3); the lengths of all are known so that they can be
/// skipped.
fn read_properties(mut rest: &[u8], welcome: &mut Welcome) -> Option<()> {
    while let Some((&property, value)) = rest.split_first() {
        let bytes = match property {
            0x11 | 0x27 => 4,
            0x13 | 0x21 | 0x22 => 2,
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => text_bytes(value)?,
            0x26 => text_bytes(value)? + text_bytes(value.get(text_bytes(value)?..)?)?,
            _ => return None,
        };
        let value = value.get(..bytes)?;
        match property {
            0x21 => welcome.receive_maximum = u16::from_be_bytes([value[0], value[1]]),
            0x12 => welcome.assigned_client_id = Some(str::from_utf8(&value[2..]).ok()?.to_owned()),
            _ => {}
        }
        rest = &rest[1 + bytes..];
    }
    Some(())
}

/// Parses PUBACK, PUBREC or PUBCOMP.
pub(super) fn parse_ack(frame: &[u8]) -> Result<Ack, ClientError> {
    let packet_type = frame[0] >> 4;
    let body = take_length(&frame[1..]).and_then(|(_, length_bytes)| frame.get(1 + length_bytes..));
    match (packet_type, body) {
        (4 | 5 | 7, Some(&[high, low, ref rest @ ..])) => {
            let reason = rest.first().copied().unwrap_or(0);
            Ok(Ack { packet_id: u16::from_be_bytes([high, low]), reason })
        }
        _ => Err(ClientError::Unexpected { packet_type }),
    }
}

/// Length of a prefixed text with its prefix.
fn text_bytes(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.get(..2)?;
    Some(2 + usize::from(u16::from_be_bytes([prefix[0], prefix[1]])))
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).expect("topics, ids and credentials are below 64 KiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_length(mut length: usize, out: &mut Vec<u8>) {
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn length_bytes(length: usize) -> usize {
    match length {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    }
}

fn take_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}
