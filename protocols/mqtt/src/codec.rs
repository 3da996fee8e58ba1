//! rumqttd's codec behind a small trait: frames that passed [`crate::frame`] in, domain types out.
//!
//! This file is the only one that names rumqttd. Every decode is fenced against panics. Known flaws of
//! rumqttd 0.20 that are worked around here:
//! - DISCONNECT with a code and no properties is written wrongly, one of a single byte (reason code
//!   only) is not read: both are done here.
//! - MQTT 3.1.1 with properties reaches `unreachable!`: none are given.
//! - User name and password are one `Login`; absent and empty are the same; both must be UTF-8.

mod codes;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{BufMut, Bytes, BytesMut};
use rumqttd::protocol::{self as wire, Packet, Protocol, v4::V4, v5::V5};

use crate::error::{ConnectRefusal, DisconnectCode, ProtocolError};
use crate::frame::{self, Header, malformed};
use crate::host::{Properties, Qos, Refusal, RefusalCode, Topic, Version, Will};
use crate::settings::REASON_BYTES_MAX;
use codes::{connect_code, puback_reason, pubrec_reason};

/// Turns frames into packets and answers into bytes.
pub(crate) trait Codec {
    /// Decodes a complete CONNECT frame.
    fn decode_connect(&self, frame: BytesMut) -> Result<ConnectPacket, ProtocolError>;
    /// Decodes the variable part of a complete PUBLISH frame.
    fn decode_publish(&self, frame: BytesMut) -> Result<PublishPacket, ProtocolError>;
    /// Decodes any other complete frame that a connected client may send.
    fn decode_control(&self, header: Header, frame: BytesMut) -> Result<Control, ProtocolError>;
    /// Appends an answer to `out`.
    fn encode(&self, answer: Answer<'_>, out: &mut BytesMut);
}

/// A decoded CONNECT.
#[derive(Debug)]
pub(crate) struct ConnectPacket {
    pub client_id: String,
    pub clean: bool,
    pub keep_alive_s: u16,
    pub username: Option<String>,
    pub password: Option<String>,
    pub will: Option<WillPacket>,
    /// MQTT 5: session expiry asked for.
    pub session_expiry_s: u32,
    /// MQTT 5: an authentication method is named.
    pub authentication: bool,
    /// MQTT 5: the client takes reason strings on acknowledgements.
    pub reason_strings: bool,
}

/// A will whose topic is not checked yet.
#[derive(Debug)]
pub(crate) struct WillPacket {
    pub topic: Bytes,
    payload: Bytes,
    qos: Qos,
    retain: bool,
    properties: Option<Box<Properties>>,
}

impl WillPacket {
    /// Length of the payload in bytes.
    pub fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    /// The will, once its topic is checked.
    pub fn with_topic(self, topic: Topic) -> Will {
        let WillPacket { topic: _, payload, qos, retain, properties } = self;
        Will { topic, payload, qos, retain, properties }
    }
}

/// What the decoder says of a PUBLISH; flags and packet id come from [`frame::PublishHead`].
#[derive(Debug)]
pub(crate) struct PublishPacket {
    pub topic: Bytes,
    pub payload: Bytes,
    pub properties: Option<Box<Properties>>,
}

/// A packet that is neither CONNECT nor PUBLISH.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// PUBREL with its packet id.
    Release(u16),
    /// SUBSCRIBE: packet id and number of filters.
    Subscribe { packet_id: u16, filters: usize },
    /// UNSUBSCRIBE: packet id and number of filters.
    Unsubscribe { packet_id: u16, filters: usize },
    /// PINGREQ
    Ping,
    /// DISCONNECT that discards the will.
    Disconnect,
    /// DISCONNECT that asks for the will.
    DisconnectWithWill,
    /// PUBACK, PUBREC, PUBCOMP: nothing was published to this client.
    Ignored,
}

/// What the server sends.
pub(crate) enum Answer<'a> {
    /// CONNACK, accepted.
    Welcome(&'a Welcome),
    /// CONNACK, refused.
    Refused(ConnectRefusal),
    /// PUBACK, with a refusal on MQTT 5.
    PubAck { packet_id: u16, refusal: Option<&'a Refusal> },
    /// PUBREC, with a refusal on MQTT 5.
    PubRec { packet_id: u16, refusal: Option<&'a Refusal> },
    /// PUBCOMP for a packet id that was recorded.
    PubComp { packet_id: u16 },
    /// PUBCOMP for a packet id that was not (MQTT 5: 0x92).
    PubCompUnknown { packet_id: u16 },
    /// SUBACK that refuses every filter.
    SubAck { packet_id: u16, filters: usize },
    /// UNSUBACK: no subscription existed.
    UnsubAck { packet_id: u16, filters: usize },
    /// PINGRESP
    Pong,
    /// DISCONNECT (MQTT 5 only).
    Disconnect(DisconnectCode, &'a str),
}

/// What the CONNACK announces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Welcome {
    pub assigned_client_id: Option<String>,
    pub receive_maximum: u16,
    pub packet_bytes_max: u32,
    /// Whether the client asked for a session that outlives the connection: it is told that it gets 0.
    pub session_expiry_declined: bool,
}

/// rumqttd's codec for one protocol version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rumqtt {
    pub version: Version,
}

impl Rumqtt {
    fn read(self, packet_type: u8, mut frame: BytesMut) -> Result<Packet, ProtocolError> {
        let decode = AssertUnwindSafe(|| match self.version {
            Version::V311 => V4.read_mut(&mut frame, usize::MAX),
            Version::V5 => V5.read_mut(&mut frame, usize::MAX),
        });
        match catch_unwind(decode) {
            Ok(Ok(packet)) => Ok(packet),
            Ok(Err(error)) => Err(malformed(packet_type, error.to_string())),
            Err(_panic) => Err(ProtocolError::Decoder { packet_type }),
        }
    }

    fn refusal<R>(self, refusal: Option<&Refusal>, map: fn(RefusalCode) -> R) -> Option<(R, &str)> {
        let refusal = refusal.filter(|_| self.version == Version::V5)?;
        Some((map(refusal.code), cut(&refusal.reason)))
    }
}

impl Codec for Rumqtt {
    fn decode_connect(&self, frame: BytesMut) -> Result<ConnectPacket, ProtocolError> {
        let Packet::Connect(connect, properties, will, will_properties, login) =
            self.read(frame::CONNECT, frame)?
        else {
            return Err(malformed(frame::CONNECT, "decoded as another packet"));
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let (username, password) =
            login.map_or((None, None), |login| (some(login.username), some(login.password)));
        let properties = properties.as_ref();
        Ok(ConnectPacket {
            client_id: connect.client_id,
            clean: connect.clean_session,
            keep_alive_s: connect.keep_alive,
            username,
            password,
            will: will.map(|will| will_packet(will, will_properties)),
            session_expiry_s: properties.and_then(|p| p.session_expiry_interval).unwrap_or(0),
            authentication: properties.is_some_and(|p| p.authentication_method.is_some()),
            reason_strings: properties.is_none_or(takes_reason_strings),
        })
    }

    fn decode_publish(&self, frame: BytesMut) -> Result<PublishPacket, ProtocolError> {
        let Packet::Publish(publish, properties) = self.read(frame::PUBLISH, frame)? else {
            return Err(malformed(frame::PUBLISH, "decoded as another packet"));
        };
        let properties = properties.map(publish_properties).transpose()?;
        Ok(PublishPacket { topic: publish.topic, payload: publish.payload, properties })
    }

    fn decode_control(&self, header: Header, frame: BytesMut) -> Result<Control, ProtocolError> {
        let packet_type = header.packet_type();
        match packet_type {
            frame::DISCONNECT => return disconnect(self.version, &frame[header.header_bytes..]),
            frame::PUBACK | frame::PUBREC | frame::PUBCOMP => return Ok(Control::Ignored),
            _ => {}
        }
        match self.read(packet_type, frame)? {
            Packet::PingReq(_) if header.remaining_bytes == 0 => Ok(Control::Ping),
            Packet::PubRel(release, _) if release.pkid != 0 => Ok(Control::Release(release.pkid)),
            Packet::Subscribe(subscribe, _) if subscribe.pkid != 0 => {
                Ok(Control::Subscribe { packet_id: subscribe.pkid, filters: subscribe.filters.len() })
            }
            Packet::Unsubscribe(unsubscribe, _)
                if unsubscribe.pkid != 0 && !unsubscribe.filters.is_empty() =>
            {
                Ok(Control::Unsubscribe { packet_id: unsubscribe.pkid, filters: unsubscribe.filters.len() })
            }
            _ => Err(malformed(packet_type, "packet id 0, no filter, or a body where there is none")),
        }
    }

    fn encode(&self, answer: Answer<'_>, out: &mut BytesMut) {
        let packet = match answer {
            Answer::Welcome(welcome) => connack(self.version, welcome),
            Answer::Refused(refusal) => {
                let code = connect_code(self.version, refusal);
                Packet::ConnAck(wire::ConnAck { session_present: false, code }, None)
            }
            Answer::PubAck { packet_id, refusal } => puback(packet_id, self.refusal(refusal, puback_reason)),
            Answer::PubRec { packet_id, refusal } => pubrec(packet_id, self.refusal(refusal, pubrec_reason)),
            Answer::PubComp { packet_id } => pubcomp(packet_id, wire::PubCompReason::Success),
            Answer::PubCompUnknown { packet_id } => {
                pubcomp(packet_id, wire::PubCompReason::PacketIdentifierNotFound)
            }
            Answer::SubAck { packet_id, filters } => {
                let code = match self.version {
                    Version::V311 => wire::SubscribeReasonCode::Failure,
                    Version::V5 => wire::SubscribeReasonCode::ImplementationSpecific,
                };
                Packet::SubAck(wire::SubAck { pkid: packet_id, return_codes: vec![code; filters] }, None)
            }
            Answer::UnsubAck { packet_id, filters } => {
                let reasons = vec![wire::UnsubAckReason::NoSubscriptionExisted; filters];
                Packet::UnsubAck(wire::UnsubAck { pkid: packet_id, reasons }, None)
            }
            Answer::Pong => Packet::PingResp(wire::PingResp),
            Answer::Disconnect(code, reason) => return encode_disconnect(code, cut(reason), out),
        };
        let written = match self.version {
            Version::V311 => V4.write(packet, out),
            Version::V5 => V5.write(packet, out),
        };
        written.expect("answers have a packet id and are far below the largest frame");
    }
}

/// Reads a DISCONNECT body: empty, a reason code, or a reason code and properties.
fn disconnect(version: Version, body: &[u8]) -> Result<Control, ProtocolError> {
    match (version, body.first()) {
        (_, None) | (Version::V5, Some(0)) => Ok(Control::Disconnect),
        (Version::V5, Some(_)) => Ok(Control::DisconnectWithWill),
        (Version::V311, Some(_)) => Err(malformed(frame::DISCONNECT, "a body where there is none")),
    }
}

fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

fn qos(qos: wire::QoS) -> Qos {
    match qos {
        wire::QoS::AtMostOnce => Qos::AtMostOnce,
        wire::QoS::AtLeastOnce => Qos::AtLeastOnce,
        wire::QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

/// Whether the client asked for reason strings (it does by default) and has room for them.
fn takes_reason_strings(properties: &wire::ConnectProperties) -> bool {
    properties.request_problem_info != Some(0)
        && properties.max_packet_size.is_none_or(|bytes| bytes as usize >= 2 * REASON_BYTES_MAX)
}

fn will_packet(will: wire::LastWill, properties: Option<wire::LastWillProperties>) -> WillPacket {
    let properties = properties.map(|p| {
        Box::new(Properties {
            content_type: p.content_type,
            payload_is_utf8: p.payload_format_indicator == Some(1),
            expiry_s: p.message_expiry_interval,
            response_topic: p.response_topic,
            correlation_data: p.correlation_data,
            user: p.user_properties,
        })
    });
    let wire::LastWill { topic, message, qos: will_qos, retain } = will;
    WillPacket { topic, payload: message, qos: qos(will_qos), retain, properties }
}

fn publish_properties(p: wire::PublishProperties) -> Result<Box<Properties>, ProtocolError> {
    if let Some(alias) = p.topic_alias {
        return Err(ProtocolError::TopicAlias { alias });
    }
    if !p.subscription_identifiers.is_empty() {
        return Err(malformed(frame::PUBLISH, "subscription identifier from a client"));
    }
    Ok(Box::new(Properties {
        content_type: p.content_type,
        payload_is_utf8: p.payload_format_indicator == Some(1),
        expiry_s: p.message_expiry_interval,
        response_topic: p.response_topic,
        correlation_data: p.correlation_data,
        user: p.user_properties,
    }))
}

fn connack(version: Version, welcome: &Welcome) -> Packet {
    let properties = (version == Version::V5).then(|| wire::ConnAckProperties {
        session_expiry_interval: welcome.session_expiry_declined.then_some(0),
        receive_max: Some(welcome.receive_maximum),
        max_packet_size: Some(welcome.packet_bytes_max),
        assigned_client_identifier: welcome.assigned_client_id.clone(),
        topic_alias_max: Some(0),
        wildcard_subscription_available: Some(0),
        subscription_identifiers_available: Some(0),
        shared_subscription_available: Some(0),
        // Maximum QoS is absent, which means 2: the property can only say 0 or 1 (§3.2.2.3.4).
        ..wire::ConnAckProperties::default()
    });
    Packet::ConnAck(
        wire::ConnAck { session_present: false, code: wire::ConnectReturnCode::Success },
        properties,
    )
}

fn puback(pkid: u16, refusal: Option<(wire::PubAckReason, &str)>) -> Packet {
    let Some((reason, text)) = refusal else {
        return Packet::PubAck(wire::PubAck { pkid, reason: wire::PubAckReason::Success }, None);
    };
    let properties = reason_string(text)
        .map(|reason_string| wire::PubAckProperties { reason_string, user_properties: Vec::new() });
    Packet::PubAck(wire::PubAck { pkid, reason }, properties)
}

fn pubrec(pkid: u16, refusal: Option<(wire::PubRecReason, &str)>) -> Packet {
    let Some((reason, text)) = refusal else {
        return Packet::PubRec(wire::PubRec { pkid, reason: wire::PubRecReason::Success }, None);
    };
    let properties = reason_string(text)
        .map(|reason_string| wire::PubRecProperties { reason_string, user_properties: Vec::new() });
    Packet::PubRec(wire::PubRec { pkid, reason }, properties)
}

fn pubcomp(pkid: u16, reason: wire::PubCompReason) -> Packet {
    Packet::PubComp(wire::PubComp { pkid, reason }, None)
}

/// Appends a DISCONNECT: rumqttd writes one without reason string as `e0 00`, "normal disconnection".
fn encode_disconnect(code: DisconnectCode, reason: &str, out: &mut BytesMut) {
    let mut properties = BytesMut::new();
    if !reason.is_empty() {
        properties.put_u8(0x1f);
        properties.put_u16(u16::try_from(reason.len()).expect("cut to REASON_BYTES_MAX"));
        properties.put_slice(reason.as_bytes());
    }
    let mut body = BytesMut::new();
    body.put_u8(code as u8);
    put_length(properties.len(), &mut body);
    body.put_slice(&properties);
    out.put_u8(frame::DISCONNECT << 4);
    put_length(body.len(), out);
    out.put_slice(&body);
}

fn put_length(length: usize, out: &mut BytesMut) {
    wire::v4::write_remaining_length(out, length).expect("an answer is small");
}

fn reason_string(text: &str) -> Option<Option<String>> {
    (!text.is_empty()).then(|| Some(text.to_owned()))
}

#[cfg(test)]
mod tests;
