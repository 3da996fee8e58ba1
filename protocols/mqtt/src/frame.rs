//! The raw frame, judged before any decoder runs (pure).
//!
//! rumqttd's decoder panics on packet types that only a server sends, keeps QoS, DUP and packet id of
//! a PUBLISH private, ignores reserved flags, lets MQTT 5 properties run over their length, and takes
//! an inner length that runs over the frame for a frame that is not complete. So frames are cut here,
//! and what is read here is read from the bytes.
//!
//! Sources: MQTT 3.1.1 and 5.0 §2.1 (fixed header), §3.1.2 (CONNECT), §3.3 (PUBLISH).

use std::ops::Range;

use bytes::Bytes;

use crate::error::{Evidence, ProtocolError};
use crate::host::{Qos, Version};
use crate::settings::{BURST_BYTES_MAX, BURST_MESSAGES_MAX, CONTROL_BYTES_MAX};

pub(crate) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const PUBREC: u8 = 5;
pub(crate) const PUBREL: u8 = 6;
pub(crate) const PUBCOMP: u8 = 7;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const UNSUBSCRIBE: u8 = 10;
pub(crate) const PINGREQ: u8 = 12;
pub(crate) const DISCONNECT: u8 = 14;

/// Builds the error for bytes that are no packet.
pub(crate) fn malformed(packet_type: u8, detail: impl Into<String>) -> ProtocolError {
    ProtocolError::Malformed { packet_type, detail: detail.into() }
}

/// A parsed fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    first: u8,
    /// Bytes of the fixed header itself, 2 to 5.
    pub header_bytes: usize,
    /// Bytes after the fixed header.
    pub remaining_bytes: usize,
}

impl Header {
    /// Parses the fixed header at the start of `bytes`; `None` means that more bytes are needed.
    pub fn parse(bytes: &[u8]) -> Result<Option<Header>, ProtocolError> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        match variable_length(rest) {
            Length::Value { value, bytes } => {
                Ok(Some(Header { first, header_bytes: 1 + bytes, remaining_bytes: value }))
            }
            Length::Incomplete => Ok(None),
            Length::Malformed => Err(malformed(first >> 4, "remaining length has more than four bytes")),
        }
    }

    /// The packet type: the upper four bits of the first byte.
    pub fn packet_type(&self) -> u8 {
        self.first >> 4
    }

    /// The lower four bits of the first byte.
    fn flags(&self) -> u8 {
        self.first & 0x0f
    }

    /// Bytes of the whole frame.
    pub fn frame_bytes(&self) -> usize {
        self.header_bytes + self.remaining_bytes
    }

    /// Refuses, from the fixed header alone, what a connected client may not send: other packet types,
    /// wrong reserved flags, and bodies over `publish_bytes_max` (or the small limit of other packets).
    pub fn check_from_client(&self, publish_bytes_max: usize) -> Result<(), ProtocolError> {
        let (flags, bytes_max) = match self.packet_type() {
            PUBLISH => (None, publish_bytes_max),
            PUBREL | SUBSCRIBE | UNSUBSCRIBE => (Some(0b0010), CONTROL_BYTES_MAX),
            PUBACK | PUBREC | PUBCOMP | PINGREQ | DISCONNECT => (Some(0), CONTROL_BYTES_MAX),
            packet_type => return Err(ProtocolError::Forbidden { packet_type }),
        };
        if flags.is_some_and(|flags| flags != self.flags()) {
            return Err(malformed(self.packet_type(), format!("reserved flags are {:#06b}", self.flags())));
        }
        if self.remaining_bytes > bytes_max {
            let evidence = Evidence { announced_bytes: self.remaining_bytes, ..Evidence::default() };
            return Err(ProtocolError::TooLarge { bytes_max, evidence: Box::new(evidence) });
        }
        Ok(())
    }
}

/// The next frames of a read buffer that form one burst.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes of complete, permitted frames at the start of the buffer.
    pub bytes: usize,
    /// Why the extent ends there.
    pub end: ExtentEnd,
}

/// Why an [`Extent`] ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ExtentEnd {
    /// The rest of the buffer is no complete frame; the whole frame has this many bytes (0: unknown).
    Incomplete(usize),
    /// The burst is full; there may be more.
    Full,
    /// The next frame is a PUBLISH and there is no room for one.
    NoRoom,
    /// The next frame is refused.
    Refused(ProtocolError),
}

/// Whether another burst may go to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Publishes may be taken.
    Publishes,
    /// Only control packets may be taken.
    ControlOnly,
}

/// Finds the frames that form the next burst.
pub(crate) fn extent(buffer: &[u8], publish_bytes_max: usize, room: Room) -> Extent {
    let (mut bytes, mut publishes) = (0, 0);
    let end = loop {
        let header = match Header::parse(&buffer[bytes..]) {
            Ok(Some(header)) => header,
            Ok(None) => break ExtentEnd::Incomplete(0),
            Err(error) => break ExtentEnd::Refused(error),
        };
        if let Err(error) = header.check_from_client(publish_bytes_max) {
            break ExtentEnd::Refused(error);
        }
        let frame_bytes = header.frame_bytes();
        if buffer.len() - bytes < frame_bytes {
            break ExtentEnd::Incomplete(frame_bytes);
        }
        let publish = usize::from(header.packet_type() == PUBLISH);
        if publish == 1 && room == Room::ControlOnly {
            break ExtentEnd::NoRoom;
        }
        if publishes + publish > BURST_MESSAGES_MAX || (bytes > 0 && bytes + frame_bytes > BURST_BYTES_MAX) {
            break ExtentEnd::Full;
        }
        publishes += publish;
        bytes += frame_bytes;
    };
    Extent { bytes, end }
}

/// What rumqttd keeps private of a PUBLISH, read from its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishHead {
    pub qos: Qos,
    pub dup: bool,
    pub retain: bool,
    /// 0 with QoS 0.
    pub packet_id: u16,
    /// Where the topic stands in the frame.
    pub topic: Range<usize>,
    /// Where the payload starts in the frame.
    pub payload_at: usize,
}

impl PublishHead {
    /// Reads a complete PUBLISH frame.
    pub fn parse(frame: &[u8], header: Header, version: Version) -> Result<PublishHead, ProtocolError> {
        let bad = |detail: &str| malformed(PUBLISH, detail);
        let flags = header.flags();
        let qos = Qos::from_bits((flags >> 1) & 0b11).ok_or_else(|| bad("QoS 3"))?;
        let dup = flags & 0b1000 != 0;
        if dup && qos == Qos::AtMostOnce {
            return Err(bad("DUP with QoS 0"));
        }
        let topic_at = header.header_bytes + 2;
        let topic_bytes = read_u16(frame, header.header_bytes).ok_or_else(|| bad("no topic"))?;
        let topic = topic_at..topic_at + usize::from(topic_bytes);
        let mut at = topic.end;
        let packet_id = match qos {
            Qos::AtMostOnce => 0,
            _ => {
                at += 2;
                read_u16(frame, topic.end).ok_or_else(|| bad("no packet id"))?
            }
        };
        if packet_id == 0 && qos != Qos::AtMostOnce {
            return Err(bad("packet id 0"));
        }
        if version == Version::V5 {
            at = skip_properties(frame, at).ok_or_else(|| bad("properties run over the packet"))?;
        }
        if at > frame.len() {
            return Err(bad("topic runs over the packet"));
        }
        let retain = flags & 1 != 0;
        Ok(PublishHead { qos, dup, retain, packet_id, topic, payload_at: at })
    }
}

/// Topic and first payload bytes of a PUBLISH of which only `head` has arrived.
pub(crate) fn evidence(head: &[u8], header: Header, version: Version) -> Evidence {
    let slice = |from: usize, to: usize| {
        Bytes::copy_from_slice(head.get(from.min(head.len())..to.min(head.len())).unwrap_or_default())
    };
    let topic_at = header.header_bytes + 2;
    let topic_end = topic_at + usize::from(read_u16(head, header.header_bytes).unwrap_or(0));
    let id_bytes = if (header.flags() >> 1) & 0b11 == 0 { 0 } else { 2 };
    let payload_at = match version {
        Version::V311 => topic_end + id_bytes,
        Version::V5 => skip_properties(head, topic_end + id_bytes).unwrap_or(head.len()),
    };
    Evidence {
        topic: slice(topic_at, topic_end),
        payload: slice(payload_at, payload_at + Evidence::PAYLOAD_BYTES_MAX),
        announced_bytes: header.remaining_bytes,
    }
}

/// Protocol level and flags of a complete CONNECT frame, whatever its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectHead {
    pub version: Version,
}

impl ConnectHead {
    /// Reads name, level and the flags that rumqttd does not check.
    pub fn parse(frame: &[u8], header: Header) -> Result<ConnectHead, ProtocolError> {
        let bad = |detail: &str| malformed(CONNECT, detail);
        let name_at = header.header_bytes + 2;
        let name_bytes = read_u16(frame, header.header_bytes).ok_or_else(|| bad("no protocol name"))?;
        let level_at = name_at + usize::from(name_bytes);
        let name = frame.get(name_at..level_at).ok_or_else(|| bad("no protocol name"))?;
        let level = *frame.get(level_at).ok_or_else(|| bad("no protocol level"))?;
        let version = match (name, level) {
            (b"MQTT", 4) => Version::V311,
            (b"MQTT", 5) => Version::V5,
            (b"MQTT" | b"MQIsdp", level) => return Err(ProtocolError::UnsupportedVersion { level }),
            _ => return Err(bad("protocol name is not MQTT")),
        };
        let flags = *frame.get(level_at + 1).ok_or_else(|| bad("no connect flags"))?;
        if flags & 1 != 0 {
            return Err(bad("reserved connect flag is set"));
        }
        if version == Version::V311 && flags & 0b1100_0000 == 0b0100_0000 {
            return Err(bad("password without user name"));
        }
        Ok(ConnectHead { version })
    }
}

/// A variable byte integer at the start of some bytes.
enum Length {
    Value { value: usize, bytes: usize },
    Incomplete,
    Malformed,
}

fn variable_length(bytes: &[u8]) -> Length {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Length::Value { value, bytes: index + 1 };
        }
    }
    if bytes.len() < 4 { Length::Incomplete } else { Length::Malformed }
}

/// Where the bytes after the MQTT 5 properties at `at` start; may lie behind the end of `frame`.
fn skip_properties(frame: &[u8], at: usize) -> Option<usize> {
    match variable_length(frame.get(at..)?) {
        Length::Value { value, bytes } => Some(at + bytes + value),
        Length::Incomplete | Length::Malformed => None,
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

#[cfg(test)]
mod tests;
