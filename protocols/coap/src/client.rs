//! A small client: confirmable and non-confirmable requests, many outstanding at a time, Block1 uploads.
//!
//! For tests, demonstrations and load; a device has its own. One task reads the socket and tells each waiting
//! call what arrived for it; retransmission (RFC 7252 §4.2) happens in the caller's own future. Absent: Block2
//! (of a large answer the first block is returned), Observe, caching.

mod calls;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::block::Block;
use crate::guard::{self, Header, Kind};
use crate::wire::{self, Asked, Head};
use crate::{Code, Method, Reliability, Response};
use calls::{Calls, Delivery, Progress, Waiting};

/// The largest UDP payload.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// No-Response for "nothing at all": 2.xx, 4.xx and 5.xx.
const NO_RESPONSE_AT_ALL: u8 = 26;
/// How long the reader waits after a receive error.
const RECEIVE_ERROR_PAUSE: Duration = Duration::from_millis(10);

/// How a [`Client`] behaves; the times are those of RFC 7252 §4.8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// Calls waiting for an answer at a time; further ones wait for their turn. Default 64.
    pub window: usize,
    /// ACK_TIMEOUT, multiplied by a random 1 to 1.5 and doubled on every retransmission. Default 2 s.
    pub ack_timeout: Duration,
    /// MAX_RETRANSMIT. Default 4.
    pub retransmits_max: u32,
    /// How long to wait for the answer after an empty ACK, or after a NON. Default 30 s.
    pub answer_wait: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            window: 64,
            ack_timeout: Duration::from_secs(2),
            retransmits_max: 4,
            answer_wait: Duration::from_secs(30),
        }
    }
}

/// One request to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    method: Method,
    path: String,
    query: Vec<String>,
    content_format: Option<u16>,
    accept: Option<u16>,
    payload: Bytes,
    reliability: Reliability,
}

impl Call {
    /// A confirmable request; the path has no leading slash, its segments are joined by `/`.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            content_format: None,
            accept: None,
            payload: Bytes::new(),
            reliability: Reliability::Confirmable,
        }
    }

    /// A confirmable POST.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::Post, path)
    }

    /// A confirmable GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::Get, path)
    }

    /// The same with a body and its Content-Format.
    pub fn body(self, content_format: u16, payload: impl Into<Bytes>) -> Self {
        Self { content_format: Some(content_format), payload: payload.into(), ..self }
    }

    /// The same with a body that does not say what it is.
    pub fn untyped_body(self, payload: impl Into<Bytes>) -> Self {
        Self { content_format: None, payload: payload.into(), ..self }
    }

    /// The same with one more Uri-Query option.
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.query.push(query.into());
        self
    }

    /// The same with an Accept option.
    pub fn accept(self, content_format: u16) -> Self {
        Self { accept: Some(content_format), ..self }
    }

    /// The same as NON: sent once.
    pub fn non_confirmable(self) -> Self {
        Self { reliability: Reliability::NonConfirmable, ..self }
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody acknowledged any of the transmissions, or answered in time.
    #[error("no answer from {0}")]
    NoAnswer(SocketAddr),
    /// The server rejected the message.
    #[error("reset by {0}")]
    Reset(SocketAddr),
    /// All 65,536 message ids of this client's port were used within 247 s; another client has its own.
    #[error("message ids to {0} are used up for now")]
    MessageIdsUsedUp(SocketAddr),
    /// The body needs more blocks than Block1 can number.
    #[error("a body of {0} bytes has too many blocks")]
    TooManyBlocks(usize),
    /// The operating system would not send.
    #[error("cannot send to {peer}: {source}")]
    Send {
        /// Where to.
        peer: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A client of one server, on one UDP port. Share it by `Arc`; calls run concurrently.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    /// Aborts the reader when the client is dropped.
    _reader: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    peer: SocketAddr,
    settings: ClientSettings,
    /// One permit per outstanding call.
    window: Semaphore,
    calls: Calls,
    retransmissions: AtomicU64,
}

impl Client {
    /// Binds a port of its own and starts to read from it.
    ///
    /// # Errors
    ///
    /// When no socket can be bound or connected.
    pub async fn connect(peer: SocketAddr, settings: ClientSettings) -> io::Result<Self> {
        let local: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(peer).await?;
        let shared = Arc::new(Shared {
            socket,
            peer,
            window: Semaphore::new(settings.window.max(1)),
            settings,
            calls: Calls::default(),
            retransmissions: AtomicU64::new(0),
        });
        let mut reader = JoinSet::new();
        reader.spawn(read(Arc::clone(&shared)));
        Ok(Self { shared, _reader: reader })
    }

    /// Sends a request and waits for its answer; a body beyond 1,024 bytes goes up in blocks.
    ///
    /// # Errors
    ///
    /// When there is no answer. A 4.xx or 5.xx is an answer.
    pub async fn call(&self, call: &Call) -> Result<Response, CallError> {
        if call.payload.len() <= Block::largest(0).size_bytes() {
            return self.shared.exchange(call, Asked { payload: &call.payload, ..call.asked() }).await;
        }
        self.upload(call).await
    }

    /// Sends a body block by block (RFC 7959 §2.5), until the last or the first that is not taken.
    async fn upload(&self, call: &Call) -> Result<Response, CallError> {
        let body = &call.payload;
        let tag = Some(fastrand::u32(..));
        let mut block = Block::largest(0);
        loop {
            let end = body.len().min(block.offset_bytes() + block.size_bytes());
            let more = end < body.len();
            let asked = Asked {
                block1: Some(block.with_more(more)),
                size1_bytes: u32::try_from(body.len()).ok().filter(|_| block.number == 0),
                tag,
                payload: &body[block.offset_bytes()..end],
                ..call.asked()
            };
            let response = self.shared.exchange(call, asked).await?;
            if !more || response.code != Code::CONTINUE {
                return Ok(response);
            }
            block = block.next().ok_or(CallError::TooManyBlocks(body.len()))?;
        }
    }

    /// Sends a NON that asks for no answer (RFC 7967), and does not wait. The body goes in one datagram.
    ///
    /// # Errors
    ///
    /// When the operating system would not send, or message ids are used up.
    pub async fn send(&self, call: &Call) -> Result<(), CallError> {
        let waiting = self.shared.register()?;
        let head = Head { kind: Kind::NonConfirmable, message_id: waiting.message_id, token: waiting.token };
        let asked = Asked { no_response: Some(NO_RESPONSE_AT_ALL), payload: &call.payload, ..call.asked() };
        self.shared.transmit(&wire::encode_request(head, call.method, &asked)).await
    }

    /// Confirmable messages sent again since the start.
    pub fn retransmissions(&self) -> u64 {
        self.shared.retransmissions.load(Ordering::Relaxed)
    }
}

impl Call {
    fn asked(&self) -> Asked<'_> {
        Asked {
            path: &self.path,
            query: &self.query,
            content_format: self.content_format,
            accept: self.accept,
            ..Asked::default()
        }
    }
}

impl Shared {
    fn register(&self) -> Result<Waiting<'_>, CallError> {
        self.calls.register().ok_or(CallError::MessageIdsUsedUp(self.peer))
    }

    /// One request message and its answer.
    async fn exchange(&self, call: &Call, asked: Asked<'_>) -> Result<Response, CallError> {
        let _permit = self.window.acquire().await.expect("the window is never closed");
        let mut waiting = self.register()?;
        let kind = match call.reliability {
            Reliability::Confirmable => Kind::Confirmable,
            Reliability::NonConfirmable => Kind::NonConfirmable,
        };
        let head = Head { kind, message_id: waiting.message_id, token: waiting.token };
        let datagram = wire::encode_request(head, call.method, &asked);
        match call.reliability {
            Reliability::Confirmable => self.confirm(&datagram, &mut waiting).await?,
            Reliability::NonConfirmable => self.transmit(&datagram).await?,
        }
        let answer = waiting.until(|progress| matches!(progress, Progress::Reset | Progress::Answered(_)));
        match timeout(self.settings.answer_wait, answer).await {
            Ok(Progress::Answered(response)) => Ok(response),
            Ok(_) => Err(CallError::Reset(self.peer)),
            Err(_) => Err(CallError::NoAnswer(self.peer)),
        }
    }

    /// Sends until anything comes back.
    async fn confirm(&self, datagram: &[u8], waiting: &mut Waiting<'_>) -> Result<(), CallError> {
        let mut wait = self.settings.ack_timeout.mul_f64(1.0 + fastrand::f64() / 2.0);
        for attempt in 0..=self.settings.retransmits_max {
            self.retransmissions.fetch_add(u64::from(attempt > 0), Ordering::Relaxed);
            self.transmit(datagram).await?;
            let heard = waiting.until(|progress| !matches!(progress, Progress::Sent));
            if timeout(wait, heard).await.is_ok() {
                return Ok(());
            }
            wait *= 2;
        }
        Err(CallError::NoAnswer(self.peer))
    }

    /// A refused connection is a lost datagram: the server may be on its way back.
    async fn transmit(&self, datagram: &[u8]) -> Result<(), CallError> {
        match self.socket.send(datagram).await {
            Err(source) if source.kind() != io::ErrorKind::ConnectionRefused => {
                Err(CallError::Send { peer: self.peer, source })
            }
            _ => Ok(()),
        }
    }
}

/// Reads the socket until the client is dropped.
async fn read(shared: Arc<Shared>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        match shared.socket.recv(&mut buffer).await {
            Ok(length) => {
                if let Some(reply) = receive(&shared.calls, &buffer[..length]) {
                    // A lost reply is repaired by the server's retransmission.
                    let _ = shared.socket.send(&reply).await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                tracing::debug!(%error, peer = %shared.peer, "cannot receive");
                tokio::time::sleep(RECEIVE_ERROR_PAUSE).await;
            }
        }
    }
}

/// Tells the waiting call; returns the ACK or RST that the message itself needs.
fn receive(calls: &Calls, datagram: &[u8]) -> Option<Bytes> {
    let header = Header::read(datagram)?;
    guard::well_formed(datagram).ok()?;
    let message_id = header.message_id;
    match (header.kind, header.code) {
        (Kind::Acknowledgement, 0) => calls.progress(message_id, Progress::Acknowledged),
        (Kind::Reset, 0) => calls.progress(message_id, Progress::Reset),
        (Kind::Confirmable, 0) => return Some(wire::encode_empty(Kind::Reset, message_id)),
        (kind, code) if code >> 5 >= 2 => {
            let (token, response) = wire::decode_response(datagram)?;
            let delivery = calls.deliver(token, response);
            return (kind == Kind::Confirmable).then(|| match delivery {
                Delivery::Expected => wire::encode_empty(Kind::Acknowledgement, message_id),
                Delivery::Unknown => wire::encode_empty(Kind::Reset, message_id),
            });
        }
        _ => {}
    }
    None
}
