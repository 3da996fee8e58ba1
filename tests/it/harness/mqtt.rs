//! An MQTT publisher, 3.1.1 or 5, that sends whatever bytes it is told to, at QoS 1.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

const PUBLISH_QOS1: u8 = 0x32;
/// MQTT 5, 2.2.2.2: properties of a PUBLISH and of its answers.
const CONTENT_TYPE: u8 = 0x03;
const REASON_STRING: u8 = 0x1f;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V311,
    V5,
}

/// What a publish was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// PUBACK. Reason code and reason string are MQTT 5's; 3.1.1 has neither.
    Ack { code: u8, text: String },
    /// The connection was closed; MQTT 5 says why before.
    Closed { code: Option<u8> },
}

/// A connected client.
pub struct Device {
    stream: TcpStream,
    version: Version,
    packet_id: u16,
}

impl Device {
    /// Connects with a clean session and no credentials.
    pub fn connect(addr: SocketAddr, version: Version, client_id: &str) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut device = Self { stream, version, packet_id: 0 };
        let mut body = field(b"MQTT");
        body.extend([if version == Version::V5 { 5 } else { 4 }, 0x02, 0, 60]);
        device.end_properties(&mut body, &[]);
        body.extend(field(client_id.as_bytes()));
        device.stream.write_all(&packet(0x10, &body)).unwrap();
        let (kind, body) = device.read().unwrap();
        assert_eq!((kind, body[1]), (0x20, 0), "CONNACK: {body:x?}");
        device
    }

    /// Publishes at QoS 1 and waits for the answer.
    pub fn publish(&mut self, topic: &[u8], payload: &[u8]) -> Answer {
        self.publish_as(None, topic, payload)
    }

    /// As [`Device::publish`], on MQTT 5 with a content type.
    pub fn publish_as(&mut self, content_type: Option<&str>, topic: &[u8], payload: &[u8]) -> Answer {
        self.packet_id += 1;
        let mut body = field(topic);
        body.extend(self.packet_id.to_be_bytes());
        let said = |text: &str| [&[CONTENT_TYPE], &*field(text.as_bytes())].concat();
        self.end_properties(&mut body, &content_type.map(said).unwrap_or_default());
        body.extend(payload);
        // The server may hang up before it has read all of it.
        let _ = self.stream.write_all(&packet(PUBLISH_QOS1, &body));
        self.answer()
    }

    /// Properties, where the version has them.
    fn end_properties(&self, body: &mut Vec<u8>, properties: &[u8]) {
        if self.version == Version::V5 {
            body.push(u8::try_from(properties.len()).unwrap());
            body.extend(properties);
        }
    }

    fn answer(&mut self) -> Answer {
        match self.read() {
            Ok((0x40, body)) => {
                assert_eq!(body[..2], self.packet_id.to_be_bytes(), "PUBACK of another packet");
                let code = body.get(2).copied().unwrap_or(0);
                Answer::Ack { code, text: reason_string(body.get(4..).unwrap_or_default()) }
            }
            Ok((0xe0, body)) => {
                assert!(self.read().is_err(), "something follows a DISCONNECT");
                Answer::Closed { code: body.first().copied() }
            }
            Ok((kind, body)) => panic!("unexpected packet {kind:#x} {body:x?}"),
            Err(error) => {
                let is_timeout = error.kind() == io::ErrorKind::WouldBlock;
                assert!(!is_timeout, "neither an answer nor an end");
                Answer::Closed { code: None }
            }
        }
    }

    /// The next packet: first byte and body.
    fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let [first, mut digit] = self.bytes()?;
        let (mut length, mut shift) = (0, 0);
        while digit & 0x80 != 0 {
            length |= usize::from(digit & 0x7f) << shift;
            shift += 7;
            [digit] = self.bytes()?;
        }
        let mut body = vec![0; length | usize::from(digit) << shift];
        self.stream.read_exact(&mut body)?;
        Ok((first, body))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// A control packet: first byte, remaining length (2.2.3), body.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut packet, mut length) = (vec![first], body.len());
    while length > 0x7f {
        packet.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend(body);
    packet
}

/// Bytes with their length before them (1.5.3).
fn field(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The reason string, where it is the only property.
fn reason_string(properties: &[u8]) -> String {
    match properties {
        [REASON_STRING, _, _, text @ ..] => String::from_utf8(text.to_vec()).unwrap(),
        _ => String::new(),
    }
}
