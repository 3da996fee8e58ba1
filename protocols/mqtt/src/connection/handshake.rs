//! From the first byte to the CONNACK: version, client id, will, the host's word, takeover.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::codec::{Answer, Codec, ConnectPacket, Rumqtt, Welcome, WillPacket};
use crate::error::{CloseReason, ConnectRefusal, Evidence, ProtocolError};
use crate::frame::{self, ConnectHead, Header};
use crate::host::{Connect, Host, Topic, Version, Will};
use crate::registry::Registration;
use crate::settings::CONNECT_BYTES_MAX;

use super::Server;
use super::close::say_and_linger;
use super::input::Input;

/// A connection the host took.
pub(super) struct Accepted<'a, Session> {
    pub session: Arc<Session>,
    pub codec: Rumqtt,
    /// One and a half times the client's keep alive.
    pub keep_alive: Option<Duration>,
    pub will: Option<Will>,
    pub reason_strings: bool,
    pub registration: Registration<'a>,
    /// The encoded CONNACK.
    pub welcome: BytesMut,
}

/// A connection that was not taken.
pub(super) struct Rejection {
    reason: CloseReason,
    /// Version to answer in; `None` as long as it is unknown, then there is no answer.
    version: Option<Version>,
}

impl<E: Into<CloseReason>> From<E> for Rejection {
    fn from(reason: E) -> Self {
        Rejection { reason: reason.into(), version: None }
    }
}

impl<H: Host> Server<H> {
    pub(super) async fn handshake<S>(
        &self,
        stream: &mut S,
        input: &mut Input,
        peer: Option<SocketAddr>,
        stop: &CancellationToken,
    ) -> Result<Accepted<'_, H::Session>, Rejection>
    where
        S: AsyncRead + Unpin,
    {
        let (header, frame) = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(CloseReason::Shutdown.into()),
            read = timeout(self.settings.connect_deadline, read_connect(stream, input)) => {
                read.map_err(|_elapsed| CloseReason::ConnectDeadline)??
            }
        };
        let version = version(&frame, header)?;
        let accepted = self.judge(Rumqtt { version }, frame, peer, stop).await;
        accepted.map_err(|reason| Rejection { reason, version: Some(version) })
    }

    /// Decides on a complete CONNECT frame.
    async fn judge(
        &self,
        codec: Rumqtt,
        frame: BytesMut,
        peer: Option<SocketAddr>,
        stop: &CancellationToken,
    ) -> Result<Accepted<'_, H::Session>, CloseReason> {
        let packet = codec.decode_connect(frame)?;
        if packet.authentication {
            return Err(CloseReason::Refused(ConnectRefusal::BadAuthenticationMethod));
        }
        let welcome = Welcome {
            assigned_client_id: self.assigned_client_id(codec.version, &packet)?,
            receive_maximum: self.settings.receive_maximum,
            packet_bytes_max: u32::try_from(5 + self.settings.max_remaining_bytes()).unwrap_or(u32::MAX),
            session_expiry_declined: packet.session_expiry_s > 0,
        };
        let client_id = welcome.assigned_client_id.clone().unwrap_or(packet.client_id);
        let will = packet.will.map(|will| self.check_will(will)).transpose()?;
        let request = Connect {
            client_id: client_id.clone(),
            version: codec.version,
            username: packet.username,
            password: packet.password,
            peer,
            clean: packet.clean,
            keep_alive_s: packet.keep_alive_s,
            will: will.clone(),
        };
        let session = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(CloseReason::Shutdown),
            answer = self.host.connect(request) => answer.map_err(CloseReason::Refused)?,
        };
        let mut out = BytesMut::new();
        codec.encode(Answer::Welcome(&welcome), &mut out);
        Ok(Accepted {
            session,
            codec,
            keep_alive: (packet.keep_alive_s > 0)
                .then(|| Duration::from_millis(1500 * u64::from(packet.keep_alive_s))),
            will,
            reason_strings: packet.reason_strings,
            registration: self.registry.enter(client_id, stop.clone()),
            welcome: out,
        })
    }

    /// The id for a client that sent none. MQTT 3.1.1 allows that with a clean session only.
    fn assigned_client_id(
        &self,
        version: Version,
        packet: &ConnectPacket,
    ) -> Result<Option<String>, ProtocolError> {
        let id = &packet.client_id;
        if id.is_empty() && (version == Version::V5 || packet.clean) {
            return Ok(Some(self.assigned_ids.next()));
        }
        let acceptable = !id.is_empty()
            && id.len() <= self.settings.client_id_bytes_max
            && !id.contains(|c: char| c.is_control());
        if acceptable { Ok(None) } else { Err(ProtocolError::ClientId { bytes: id.len() }) }
    }

    fn check_will(&self, will: WillPacket) -> Result<Will, ProtocolError> {
        let bytes_max = self.settings.max_message_bytes;
        let evidence = |announced_bytes| {
            let topic = will.topic.clone();
            Box::new(Evidence { topic, announced_bytes, ..Evidence::default() })
        };
        if will.payload_bytes() > bytes_max {
            return Err(ProtocolError::TooLarge { bytes_max, evidence: evidence(will.payload_bytes()) });
        }
        match Topic::new(will.topic.clone()) {
            Ok(topic) => Ok(will.with_topic(topic)),
            Err(fault) => Err(ProtocolError::Topic { fault, evidence: evidence(will.payload_bytes()) }),
        }
    }

    /// Ends a connection that was not taken: a CONNACK where the version has a code for it.
    pub(super) async fn reject<S>(
        &self,
        mut stream: S,
        input: Input,
        peer: Option<SocketAddr>,
        rejection: Rejection,
    ) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        drop(input);
        let Rejection { reason, version } = rejection;
        if let CloseReason::Protocol(error) = &reason {
            let told = self.host.protocol_error(peer, None, error);
            let _ = timeout(self.settings.drain_timeout, told).await;
        }
        let mut out = BytesMut::new();
        if let Some((version, refusal)) = answer(&reason, version) {
            Rumqtt { version }.encode(Answer::Refused(refusal), &mut out);
        }
        say_and_linger(&mut stream, &out, &self.settings).await;
        reason
    }
}

/// Reads the first frame, which has to be a CONNECT of acceptable size.
async fn read_connect<S>(stream: &mut S, input: &mut Input) -> Result<(Header, BytesMut), Rejection>
where
    S: AsyncRead + Unpin,
{
    let mut frame_bytes = 0;
    loop {
        if input.read(stream, frame_bytes).await.map_err(CloseReason::from)? == 0 {
            return Err(CloseReason::PeerClosed.into());
        }
        let packet_type = input.bytes().first().map_or(0, |first| first >> 4);
        if packet_type != frame::CONNECT {
            return Err(ProtocolError::NotConnect { packet_type }.into());
        }
        let Some(header) = Header::parse(input.bytes())? else { continue };
        if header.remaining_bytes > CONNECT_BYTES_MAX {
            let evidence = Evidence { announced_bytes: header.remaining_bytes, ..Evidence::default() };
            let reason =
                ProtocolError::TooLarge { bytes_max: CONNECT_BYTES_MAX, evidence: Box::new(evidence) };
            let version = ConnectHead::parse(input.bytes(), header).ok().map(|head| head.version);
            return Err(Rejection { reason: reason.into(), version });
        }
        frame_bytes = header.frame_bytes();
        if input.bytes().len() >= frame_bytes {
            return Ok((header, input.take(frame_bytes)));
        }
    }
}

/// Version of a CONNECT; an unsupported one is answered in the version nearest to it.
fn version(frame: &[u8], header: Header) -> Result<Version, Rejection> {
    ConnectHead::parse(frame, header).map(|head| head.version).map_err(|error| {
        let version = match error {
            ProtocolError::UnsupportedVersion { level } if level > 5 => Some(Version::V5),
            ProtocolError::UnsupportedVersion { .. } => Some(Version::V311),
            _ => None,
        };
        Rejection { reason: error.into(), version }
    })
}

/// The CONNACK for a rejected connection, if there is one.
fn answer(reason: &CloseReason, version: Option<Version>) -> Option<(Version, ConnectRefusal)> {
    let version = version?;
    let refusal = match reason {
        CloseReason::Refused(refusal) => *refusal,
        CloseReason::Shutdown => ConnectRefusal::Unavailable,
        CloseReason::Protocol(error) => match error {
            ProtocolError::UnsupportedVersion { .. } => ConnectRefusal::UnsupportedVersion,
            ProtocolError::ClientId { .. } => ConnectRefusal::ClientIdInvalid,
            ProtocolError::Topic { .. } => ConnectRefusal::WillTopicInvalid,
            ProtocolError::TooLarge { .. } => ConnectRefusal::TooLarge,
            _ => ConnectRefusal::Malformed,
        },
        _ => return None,
    };
    refusal.can_be_told(version).then_some((version, refusal))
}

/// Client ids for those who send none: unique over restarts, so that no identity of an old message can
/// meet a new client.
#[derive(Debug)]
pub(super) struct AssignedIds {
    process: u64,
    next: AtomicU64,
}

impl AssignedIds {
    pub fn new() -> AssignedIds {
        // The keys of a RandomState come from the operating system.
        AssignedIds { process: RandomState::new().build_hasher().finish(), next: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        format!("auto-{:016x}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}
