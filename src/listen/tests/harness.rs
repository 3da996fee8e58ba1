//! A site: a journal in a temporary directory, a door with one source, every protocol on a free port.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::mqtt::Version;
use ::mqtt::client::{self, Client, ClientError, Publish};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{
    self, Anonymous, Format, Listener, ListenerKind, MissingTime, OnDenied, Priority, Schema, Serve,
    TimeRule, TimeUnit, TopicLevel, TopicPattern,
};
use crate::intake::Intake;
use crate::journal::{self, Content, Journal};
use crate::listen::{Door, Pages, Parts, Room, Rules, Setup, start};
use crate::model::batch::NewReading;
use crate::model::{Batch, BatchBuilder, DeadLetter, Identity, Offset, Timestamp};
use crate::telemetry::Metrics;

/// A topic the source takes.
pub const TOPIC: &str = "fleet/v17/telemetry";
/// A payload it takes: one reading.
pub const TELEMETRY: &[u8] = b"{\"speed_kmh\":50}";
/// The listeners' `max_message`.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Whatever is waited for has happened by then, or never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// What differs between tests.
pub struct Options {
    pub anonymous: Anonymous,
    pub linger: Duration,
    pub max_connections: usize,
    pub message_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            anonymous: Anonymous::Loopback,
            linger: Duration::ZERO,
            max_connections: 16,
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

pub struct Site {
    pub journal: Journal,
    pub door: Arc<Door>,
    pub mqtt: SocketAddr,
    pub coap: SocketAddr,
    pub coap_too: SocketAddr,
    pub http: SocketAddr,
    pub room: Arc<Room>,
    metrics: Arc<Metrics>,
}

/// An HTTP answer; the head in lower case.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

struct Health(Arc<Metrics>);

impl Pages for Health {
    fn page(&self, request: &httpd::Request) -> Option<httpd::Response> {
        match request.head.raw_path() {
            "/metrics" => Some(httpd::Response::text(httpd::Status::OK, self.0.encode_text())),
            "/healthz" => Some(httpd::Response::text(httpd::Status::OK, "ok")),
            _ => None,
        }
    }
}

/// Runs a test against a site, then closes the site and sees that everything ends.
pub fn run(options: Options, test: impl AsyncFnOnce(&Site)) {
    actix::System::new().block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let site = open(&options, dir.path(), &tracker, &shutdown);
        timeout(PATIENCE * 2, test(&site)).await.expect("the test ends");
        shutdown.cancel();
        tracker.close();
        timeout(PATIENCE, tracker.wait()).await.expect("every task ends");
        site.journal.close().await;
    });
}

fn open(
    options: &Options,
    dir: &std::path::Path,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
) -> Site {
    let metrics = Arc::new(Metrics::new());
    let settings = journal::Settings { linger: options.linger, ..journal::Settings::new(dir.to_owned()) };
    let journal = Journal::open(&settings, &metrics).expect("the journal opens");
    let sources = [fleet(), bulk()];
    let room = Arc::new(Room::default());
    let door = Arc::new(Door::new(Setup {
        rules: Rules {
            intake: Arc::new(Intake::new(&sources).expect("the source compiles")),
            sources: &sources,
            access: &config::Access { anonymous: options.anonymous, on_denied: OnDenied::Ack },
        },
        readings: journal.readings.clone(),
        dead_letters: journal.dead_letters.clone(),
        room: room.clone(),
        metrics: metrics.clone(),
    }));
    let pages = Arc::new(Health(metrics.clone()));
    let parts = Parts { door: door.clone(), pages, tracker: tracker.clone(), shutdown: shutdown.clone() };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners = [
        Listener { max_connections: options.max_connections, ..listener("mqtt", ListenerKind::Mqtt, any) },
        Listener {
            bind: vec![any, any],
            max_message_bytes: options.message_bytes_max,
            ..listener("coap", ListenerKind::Coap, any)
        },
        listener("http", ListenerKind::Http, any),
    ];
    let listening = start(&listeners, &parts).expect("free ports").listening();
    let [mqtt, coap, coap_too, http] = <[_; 4]>::try_from(listening).expect("four sockets").map(|at| at.addr);
    Site { journal, door, mqtt, coap, coap_too, http, room, metrics }
}

pub fn listener(name: &str, kind: ListenerKind, addr: SocketAddr) -> Listener {
    Listener {
        name: name.into(),
        kind,
        bind: vec![addr],
        max_message_bytes: MESSAGE_BYTES_MAX,
        max_connections: 16,
        serve: vec![Serve::Ingest, Serve::Metrics],
    }
}

pub fn fleet() -> config::Source {
    let text = |text: &str| TopicLevel::Text(text.into());
    let schema = serde_json::json!({"properties": {"speed_kmh": {"type": "number", "maximum": 400}}});
    config::Source {
        name: "fleet".into(),
        topic: TopicPattern {
            text: "fleet/{vehicle}/telemetry".into(),
            levels: vec![text("fleet"), TopicLevel::Capture("vehicle".into()), text("telemetry")],
        },
        format: Format::Auto,
        sensor: None,
        time: TimeRule { at: None, unit: TimeUnit::Millis, missing: MissingTime::Received, min: None },
        schema: Some(Schema { name: "fleet".into(), document: Arc::new(schema) }),
        priority: Priority::Normal,
        fields: None,
        dedup: None,
    }
}

/// History that a device fills in: first to be put off.
fn bulk() -> config::Source {
    let text = |text: &str| TopicLevel::Text(text.into());
    config::Source {
        name: "bulk".into(),
        topic: TopicPattern {
            text: "fleet/{vehicle}/history".into(),
            levels: vec![text("fleet"), TopicLevel::Capture("vehicle".into()), text("history")],
        },
        schema: None,
        priority: Priority::Bulk,
        ..fleet()
    }
}

impl Site {
    pub async fn mqtt(&self, version: Version) -> Client<TcpStream> {
        self.try_mqtt(version).await.expect("connects")
    }

    pub async fn try_mqtt(&self, version: Version) -> Result<Client<TcpStream>, ClientError> {
        let stream = TcpStream::connect(self.mqtt).await?;
        Client::connect(stream, &client::Options { version, ..client::Options::new("device") }).await
    }

    /// Packet ids and reason codes, in the order of the answers.
    pub async fn publish(&self, client: &mut Client<TcpStream>, batch: &[Publish<'_>]) -> Vec<(u16, u8)> {
        let mut acks = Vec::new();
        let published =
            timeout(PATIENCE, client.publish_batch(batch, &mut acks)).await.expect("answers come");
        published.expect("the connection stays");
        acks.into_iter().map(|ack| (ack.packet_id, ack.reason)).collect()
    }

    pub async fn coap(&self) -> ::coap::Client {
        ::coap::Client::connect(self.coap, ::coap::client::ClientSettings::default()).await.expect("a socket")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.http(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await
    }

    /// `headers` end with a line break each.
    pub async fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        self.http(&[head.as_bytes(), body].concat()).await
    }

    /// Sends bytes and reads the answer; a server that has answered need not read the rest.
    pub async fn http(&self, request: &[u8]) -> Answer {
        let (mut reader, mut writer) = TcpStream::connect(self.http).await.expect("connects").into_split();
        let mut answer = String::new();
        let (_, read) = tokio::join!(
            timeout(PATIENCE, writer.write_all(request)),
            timeout(PATIENCE, reader.read_to_string(&mut answer)),
        );
        read.expect("an answer comes").expect("it is text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// All dead letters on disk.
    pub async fn letters(&self) -> Vec<DeadLetter> {
        let mut reader = self.journal.dead_letters.reader(Offset(0));
        let mut letters = Vec::new();
        while let Some(chunk) = reader.try_next().await.expect("reads") {
            match &chunk.content {
                Content::DeadLetters(these) => letters.extend(these.iter().cloned()),
                other => panic!("not a dead letter: {other:?}"),
            }
        }
        letters
    }

    /// Waits until a sample has this value.
    pub async fn metric_becomes(&self, name: &str, value: f64) {
        let becomes = async {
            while !self.metrics.encode_text().contains(name) || self.metric(name) != value {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, becomes).await.expect("the metric gets there");
    }

    /// The value of the sample that `/metrics` shows as `name`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.encode_text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a metric of that name");
        line.trim().parse().expect("a number")
    }
}

pub async fn udp() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket")
}

/// One datagram there, one back.
pub async fn exchange(socket: &UdpSocket, server: SocketAddr, datagram: &[u8]) -> Vec<u8> {
    socket.send_to(datagram, server).await.expect("sends");
    let mut answer = vec![0; 2048];
    let (length, _) =
        timeout(PATIENCE, socket.recv_from(&mut answer)).await.expect("comes").expect("receives");
    answer.truncate(length);
    answer
}

/// A confirmable POST without a token (RFC 7252 §3); path segments of at most 12 bytes.
pub fn coap_post(message_id: u16, path: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x40, 0x02];
    datagram.extend(message_id.to_be_bytes());
    for (place, segment) in path.split(|byte| *byte == b'/').enumerate() {
        let delta = if place == 0 { 11 << 4 } else { 0 };
        datagram.push(delta | segment.len() as u8);
        datagram.extend(segment);
    }
    datagram.push(0xff);
    datagram.extend(payload);
    datagram
}

/// A confirmable POST of one more block of 1 KiB to `up`, Block1 (RFC 7959 §2.2) saying that others follow.
pub fn coap_block(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x40, 0x02, 0, number, 11 << 4 | 2];
    datagram.extend(b"up");
    // Delta 16 = 13 + 3; more follow, size exponent 6.
    datagram.extend([0xd1, 3, number << 4 | 1 << 3 | 6, 0xff]);
    datagram.extend(payload);
    datagram
}

/// Readings that take as much of the queue of `readings` as one append can.
pub fn backlog() -> Batch {
    let mut builder = BatchBuilder::default();
    let (time, received) = (Timestamp::default(), Timestamp::default());
    let reading = NewReading { source: "s", sensor: "a", time, received, flags: 0, fields: &[], tags: &[] };
    while builder.batch().bytes() < 9 << 20 {
        builder.push(reading);
        builder.end_message(Identity::None);
    }
    builder.finish()
}
