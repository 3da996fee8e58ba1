//! A recording host whose verdicts the test releases, and a peer that speaks raw bytes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqtt::{
    CloseReason, Connect, ConnectRefusal, Host, Message, ProtocolError, Qos, Server, Settings, Verdict,
    Version,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What [`Recorder::verdict`] decides by.
type Judge = fn(&Message) -> Verdict;

/// Records every call; a burst resolves when the test gives it a permit.
pub struct Recorder {
    pub gate: Semaphore,
    judge: Judge,
    refuse: Mutex<Option<ConnectRefusal>>,
    log: Mutex<Vec<String>>,
    bursts: Mutex<Vec<Vec<Message>>>,
    /// Bursts whose verdicts are given.
    pub settled: AtomicUsize,
}

impl Recorder {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    /// The calls so far but `publish`, one line each.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The bursts so far.
    pub fn bursts(&self) -> Vec<Vec<Message>> {
        self.bursts.lock().unwrap().clone()
    }

    /// Sizes of the bursts so far.
    pub fn burst_sizes(&self) -> Vec<usize> {
        self.bursts().iter().map(Vec::len).collect()
    }

    /// Payloads so far, as text.
    pub fn payloads(&self) -> Vec<String> {
        self.bursts().iter().flatten().map(|m| String::from_utf8_lossy(&m.payload).into_owned()).collect()
    }

    pub fn refuse_connects(&self, refusal: ConnectRefusal) {
        *self.refuse.lock().unwrap() = Some(refusal);
    }
}

impl Host for Recorder {
    type Session = String;

    async fn connect(&self, request: Connect) -> Result<Arc<String>, ConnectRefusal> {
        if let Some(refusal) = *self.refuse.lock().unwrap() {
            return Err(refusal);
        }
        self.note(format!("connect {} user={:?}", request.client_id, request.username));
        Ok(Arc::new(request.client_id))
    }

    async fn publish(&self, _client: &Arc<String>, burst: Vec<Message>) -> Vec<Verdict> {
        self.bursts.lock().unwrap().push(burst.clone());
        self.gate.acquire().await.unwrap().forget();
        self.settled.fetch_add(1, Ordering::Relaxed);
        burst.iter().map(self.judge).collect()
    }

    fn closed(&self, client: &Arc<String>, reason: &CloseReason) {
        self.note(format!("closed {client}: {reason}"));
    }

    async fn protocol_error(
        &self,
        _peer: Option<SocketAddr>,
        _client: Option<&Arc<String>>,
        error: &ProtocolError,
    ) {
        let evidence = error.evidence().map(|e| (e.topic.clone(), e.payload.len(), e.announced_bytes));
        self.note(format!("offence {}: {evidence:?}", error.label()));
    }
}

/// A server under test.
pub struct Bench {
    pub host: Arc<Recorder>,
    pub server: Arc<Server<Recorder>>,
    pub shutdown: CancellationToken,
}

impl Bench {
    /// Every burst is accepted at once.
    pub fn open() -> Bench {
        let bench = Bench::gated(|_| Verdict::Accepted);
        bench.host.gate.add_permits(1_000_000);
        bench
    }

    /// Bursts wait for permits of `host.gate` and are then judged one message at a time.
    pub fn gated(judge: Judge) -> Bench {
        Bench::with(judge, Settings::default())
    }

    pub fn with(judge: Judge, settings: Settings) -> Bench {
        let host = Arc::new(Recorder {
            gate: Semaphore::new(0),
            judge,
            refuse: Mutex::default(),
            log: Mutex::default(),
            bursts: Mutex::default(),
            settled: AtomicUsize::default(),
        });
        let server = Arc::new(Server::new(host.clone(), settings));
        Bench { host, server, shutdown: CancellationToken::new() }
    }

    /// Opens a connection without a word said, through a pipe of `pipe_bytes` each way.
    pub fn dial_through(&self, pipe_bytes: usize) -> Peer {
        let (near, far) = duplex(pipe_bytes);
        let (server, shutdown) = (self.server.clone(), self.shutdown.clone());
        #[expect(clippy::disallowed_methods, reason = "a test's task ends with its runtime")]
        let task = tokio::spawn(async move { server.serve(far, None, &shutdown).await });
        Peer { stream: near, task }
    }

    /// Opens a connection without a word said.
    pub fn dial(&self) -> Peer {
        self.dial_through(1 << 20)
    }

    /// Opens a connection and exchanges CONNECT and CONNACK, keep alive 60 s.
    pub async fn connect(&self, version: Version, client_id: &str) -> Peer {
        let mut peer = self.dial();
        peer.send(&connect(version, client_id, 60)).await;
        peer.welcome(version).await;
        peer
    }
}

/// The other end of a connection under test.
pub struct Peer {
    pub stream: DuplexStream,
    pub task: JoinHandle<CloseReason>,
}

impl Peer {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads a CONNACK that accepts.
    pub async fn welcome(&mut self, version: Version) {
        let bytes = self.frame().await;
        assert_eq!((bytes[0], bytes[2], bytes[3]), (0x20, 0, 0), "{version:?} {bytes:x?}");
    }

    /// Reads one frame shorter than 128 bytes.
    pub async fn frame(&mut self) -> Vec<u8> {
        let mut frame = vec![0; 2];
        self.stream.read_exact(&mut frame).await.unwrap();
        frame.resize(2 + usize::from(frame[1]), 0);
        self.stream.read_exact(&mut frame[2..]).await.unwrap();
        frame
    }

    /// Reads exactly these bytes.
    pub async fn expect(&mut self, expected: &[u8]) {
        let mut read = vec![0; expected.len()];
        let got = timeout(Duration::from_secs(300), self.stream.read_exact(&mut read)).await;
        got.unwrap_or_else(|_| panic!("no answer, expected {expected:x?}")).unwrap();
        assert_eq!(read, expected);
    }

    /// Nothing comes for some (virtual) time.
    pub async fn expect_silence(&mut self, time: Duration) {
        let mut byte = [0];
        let got = timeout(time, self.stream.read(&mut byte)).await;
        assert!(got.is_err(), "unexpected {got:?} {byte:x?}");
    }

    /// Reads to the end: the last words and how the connection ended.
    pub async fn end(mut self) -> (Vec<u8>, CloseReason) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        drop(self.stream);
        (rest, self.task.await.unwrap())
    }
}

/// A short while on paused time: everything that is ready happens.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub fn frame(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut frame = vec![first];
    let mut rest = body.len();
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        frame.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    frame.extend(body);
    frame
}

pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// CONNECT with a clean session.
pub fn connect(version: Version, client_id: &str, keep_alive_s: u16) -> Vec<u8> {
    connect_with(version, 0b10, keep_alive_s, &[&text(client_id)])
}

/// CONNECT with flags and payload fields of choice; on MQTT 5 without properties.
pub fn connect_with(version: Version, flags: u8, keep_alive_s: u16, payload: &[&[u8]]) -> Vec<u8> {
    let (level, properties): (u8, &[u8]) = match version {
        Version::V311 => (4, &[]),
        Version::V5 => (5, &[0]),
    };
    let keep_alive = keep_alive_s.to_be_bytes();
    frame(0x10, &[&text("MQTT"), &[level, flags], &keep_alive, properties, &payload.concat()])
}

/// PUBLISH without properties.
pub fn publish(version: Version, qos: Qos, packet_id: u16, payload: &str) -> Vec<u8> {
    publish_to(version, qos, packet_id, b"t/a", payload.as_bytes())
}

pub fn publish_to(version: Version, qos: Qos, packet_id: u16, topic: &[u8], payload: &[u8]) -> Vec<u8> {
    let id = packet_id.to_be_bytes();
    let id: &[u8] = if qos == Qos::AtMostOnce { &[] } else { &id };
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let length = (topic.len() as u16).to_be_bytes();
    frame(0x30 | (qos as u8) << 1, &[&length, topic, id, properties, payload])
}

pub fn puback(packet_id: u16) -> Vec<u8> {
    frame(0x40, &[&packet_id.to_be_bytes()])
}

pub fn pubrec(packet_id: u16) -> Vec<u8> {
    frame(0x50, &[&packet_id.to_be_bytes()])
}

pub fn pubrel(packet_id: u16) -> Vec<u8> {
    frame(0x62, &[&packet_id.to_be_bytes()])
}

pub fn pubcomp(packet_id: u16) -> Vec<u8> {
    frame(0x70, &[&packet_id.to_be_bytes()])
}
