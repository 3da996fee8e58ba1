//! A small publisher for the demo, the load program and tests: MQTT 3.1.1 and 5, QoS 0, 1 and 2.
//!
//! It is made to be cheap per message and exact about what was acknowledged: packets are encoded by
//! hand into one buffer and written together, acknowledgements are parsed by hand, and packet ids are
//! the caller's, so that a caller can resend what is missing with DUP over a new connection.
//!
//! It does not subscribe and does not reconnect.

mod wire;

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};

use crate::host::{Qos, Version};

/// Bytes of encoded packets held at most; more are encoded when these are written.
const OUT_BYTES_MAX: usize = 64 * 1024;
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// Frame from a server at most; acknowledgements with a reason string are far smaller.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// How to connect. Not `Debug`, so that no log can hold the password.
#[derive(Clone)]
pub struct Options {
    /// Protocol version.
    pub version: Version,
    /// Client id; empty asks the server for one.
    pub client_id: String,
    /// User name, if any.
    pub username: Option<String>,
    /// Password, if any.
    pub password: Option<String>,
    /// Clean session (3.1.1) or clean start (5).
    pub clean: bool,
    /// Keep alive in seconds; 0 switches it off. The caller has to [`Client::ping`] in time.
    pub keep_alive_s: u16,
    /// Publishes without acknowledgement at most; a server's Receive Maximum lowers it.
    pub window: u16,
    /// Topic and payload of a QoS 1 will, if any.
    pub will: Option<(String, Vec<u8>)>,
}

impl Options {
    /// MQTT 3.1.1, clean session, no keep alive, a window of 256.
    pub fn new(client_id: impl Into<String>) -> Options {
        Options {
            version: Version::V311,
            client_id: client_id.into(),
            username: None,
            password: None,
            clean: true,
            keep_alive_s: 0,
            window: 256,
            will: None,
        }
    }
}

/// One message to publish.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// Topic name; not checked, so that tests can send bad ones.
    pub topic: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
    /// Quality of service.
    pub qos: Qos,
    /// Packet id, not 0 with QoS 1 and 2, and unique among those in flight; see [`PacketIds`].
    pub packet_id: u16,
    /// Says that this may be a copy.
    pub dup: bool,
    /// Asks to retain it.
    pub retain: bool,
    /// MQTT 5 content type, if any.
    pub content_type: Option<&'a str>,
}

impl<'a> Publish<'a> {
    /// A QoS 1 publish.
    pub fn at_least_once(topic: &'a str, payload: &'a [u8], packet_id: u16) -> Publish<'a> {
        let topic = topic.as_bytes();
        let qos = Qos::AtLeastOnce;
        Publish { topic, payload, qos, packet_id, dup: false, retain: false, content_type: None }
    }

    /// A QoS 0 publish.
    pub fn at_most_once(topic: &'a str, payload: &'a [u8]) -> Publish<'a> {
        Publish { qos: Qos::AtMostOnce, ..Publish::at_least_once(topic, payload, 0) }
    }

    /// The same publish marked as a copy.
    pub fn resent(self) -> Publish<'a> {
        Publish { dup: true, ..self }
    }
}

/// The final answer to a publish with QoS 1 or 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Packet id of the publish.
    pub packet_id: u16,
    /// Reason code; below 0x80 is success, and always 0 on MQTT 3.1.1.
    pub reason: u8,
}

impl Ack {
    /// Whether the server took the message.
    pub fn is_success(self) -> bool {
        self.reason < 0x80
    }
}

/// Why a client could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The stream failed or ended.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    /// The server refused the CONNECT.
    #[error("connect refused with code {code:#04x}")]
    Refused {
        /// Code of the CONNACK.
        code: u8,
    },
    /// The server sent DISCONNECT (MQTT 5).
    #[error("server disconnected with code {code:#04x}")]
    Disconnected {
        /// Reason code of the DISCONNECT.
        code: u8,
    },
    /// The server sent what is no packet, or not one that fits.
    #[error("unexpected packet of type {packet_type} from the server")]
    Unexpected {
        /// The upper four bits of the first byte.
        packet_type: u8,
    },
}

/// Packet ids 1 to 65535 and round again.
#[derive(Clone, Debug)]
pub struct PacketIds(u16);

impl Default for PacketIds {
    fn default() -> Self {
        PacketIds(1)
    }
}

impl Iterator for PacketIds {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let id = self.0;
        self.0 = id.checked_add(1).unwrap_or(1);
        Some(id)
    }
}

/// A connected publisher.
#[derive(Debug)]
pub struct Client<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    version: Version,
    window: usize,
    assigned_client_id: Option<String>,
    input: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
}

impl<S: AsyncRead + AsyncWrite> Client<S> {
    /// Sends CONNECT and waits for the CONNACK. There is no deadline: wrap it in one.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the server's code, or what the stream says.
    pub async fn connect(stream: S, options: &Options) -> Result<Client<S>, ClientError> {
        let (reader, writer) = split(stream);
        let mut client = Client {
            reader,
            writer,
            version: options.version,
            window: usize::from(options.window.max(1)),
            assigned_client_id: None,
            input: Vec::with_capacity(READ_BYTES),
            out: Vec::new(),
            written: 0,
        };
        wire::encode_connect(options, &mut client.out);
        let frame = client.exchange().await?;
        let welcome = wire::parse_connack(&frame, options.version)?;
        client.window = client.window.min(usize::from(welcome.receive_maximum));
        client.assigned_client_id = welcome.assigned_client_id;
        Ok(client)
    }

    /// The id that an MQTT 5 server gave to a client without one.
    pub fn assigned_client_id(&self) -> Option<&str> {
        self.assigned_client_id.as_deref()
    }

    /// Publishes a batch, at most `window` at a time without answer, and returns when all are written
    /// and those with QoS 1 and 2 answered. Answers are appended to `acks` as they come, so that after
    /// an error `acks` says what arrived. For QoS 2 the answer counts once PUBCOMP or a refusal came.
    ///
    /// # Errors
    /// [`ClientError::Disconnected`] if the server says why it closes, or what the stream says.
    pub async fn publish_batch(
        &mut self,
        batch: &[Publish<'_>],
        acks: &mut Vec<Ack>,
    ) -> Result<(), ClientError> {
        let mut waiting = batch.iter();
        let mut next = waiting.next();
        let mut unanswered = 0;
        loop {
            while let Some(publish) = next {
                let counts = usize::from(publish.qos != Qos::AtMostOnce);
                if self.out.len() >= OUT_BYTES_MAX || unanswered + counts > self.window {
                    break;
                }
                wire::encode_publish(publish, self.version, &mut self.out);
                unanswered += counts;
                next = waiting.next();
            }
            if next.is_none() && unanswered == 0 && self.out.is_empty() {
                return Ok(());
            }
            self.turn().await?;
            let before = acks.len();
            self.take_acks(acks)?;
            unanswered = unanswered.saturating_sub(acks.len() - before);
        }
    }

    /// Sends PINGREQ and waits for PINGRESP.
    ///
    /// # Errors
    /// As [`Client::publish_batch`].
    pub async fn ping(&mut self) -> Result<(), ClientError> {
        self.out.extend_from_slice(&[0xc0, 0]);
        let frame = self.exchange().await?;
        match frame[0] >> 4 {
            13 => Ok(()),
            packet_type => Err(ClientError::Unexpected { packet_type }),
        }
    }

    /// Sends DISCONNECT and ends the stream.
    ///
    /// # Errors
    /// What the stream says.
    pub async fn disconnect(mut self) -> Result<(), ClientError> {
        self.writer.write_all(&[0xe0, 0]).await?;
        self.writer.shutdown().await?;
        Ok(())
    }

    /// Writes and reads at once, whichever goes, so that two full socket buffers cannot lock.
    async fn turn(&mut self) -> Result<(), ClientError> {
        let Client { reader, writer, input, out, written, .. } = self;
        tokio::select! {
            biased;
            count = writer.write(&out[*written..]), if !out.is_empty() => {
                *written += count?;
                if *written == out.len() {
                    writer.flush().await?;
                    out.clear();
                    *written = 0;
                }
            }
            count = reader.read_buf(input) => {
                if count? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
        }
        Ok(())
    }

    /// Writes what is encoded and waits for one frame.
    async fn exchange(&mut self) -> Result<Vec<u8>, ClientError> {
        loop {
            if let Some(bytes) = wire::frame_bytes(&self.input, FRAME_BYTES_MAX)? {
                let frame: Vec<u8> = self.input.drain(..bytes).collect();
                return match wire::disconnect_code(&frame) {
                    Some(code) => Err(ClientError::Disconnected { code }),
                    None => Ok(frame),
                };
            }
            self.turn().await?;
        }
    }

    /// Parses the acknowledgements read so far; PUBREC is answered with PUBREL.
    fn take_acks(&mut self, acks: &mut Vec<Ack>) -> Result<(), ClientError> {
        let mut taken = 0;
        while let Some(bytes) = wire::frame_bytes(&self.input[taken..], FRAME_BYTES_MAX)? {
            let frame = &self.input[taken..taken + bytes];
            taken += bytes;
            if let Some(code) = wire::disconnect_code(frame) {
                return Err(ClientError::Disconnected { code });
            }
            let ack = wire::parse_ack(frame)?;
            match frame[0] >> 4 {
                5 if ack.is_success() => wire::encode_release(ack.packet_id, &mut self.out),
                _ => acks.push(ack),
            }
        }
        self.input.drain(..taken);
        Ok(())
    }
}
