//! A server with a host that records, and devices that send raw bytes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coap::{Code, Dropped, Host, Method, Request, Response, Settings, Timing};
use coap_lite::{MessageType, Packet};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a test listens for what must not come.
const SILENCE: Duration = Duration::from_millis(150);

pub const CON: u8 = 0;
pub const NON: u8 = 1;
pub const GET: u8 = 1;
pub const POST: u8 = 2;

/// Short times, so that separate answers and retransmissions come within a test.
pub fn quick() -> Settings {
    let timing = Timing {
        piggyback: Duration::from_millis(50),
        ack_timeout: Duration::from_millis(100),
        ..Timing::default()
    };
    Settings { timing, ..Settings::default() }
}

/// Records what it is given, and answers when the gate is open.
pub struct Recorder {
    pub bursts: Mutex<Vec<Vec<Request>>>,
    pub dropped: Mutex<Vec<Dropped>>,
    pub door: Mutex<Option<Response>>,
    pub gate: watch::Sender<Gate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Open,
    Closed,
}

impl Recorder {
    pub fn requests(&self) -> Vec<Request> {
        self.bursts.lock().unwrap().concat()
    }

    pub fn dropped(&self) -> Vec<Dropped> {
        self.dropped.lock().unwrap().clone()
    }
}

impl Host for Recorder {
    fn door(&self) -> Option<Response> {
        self.door.lock().unwrap().clone()
    }

    async fn handle(&self, burst: Vec<Request>) -> Vec<Response> {
        self.bursts.lock().unwrap().push(burst.clone());
        self.gate.subscribe().wait_for(|gate| *gate == Gate::Open).await.unwrap();
        burst.iter().flat_map(answer).collect()
    }

    fn dropped(&self, reason: Dropped) {
        self.dropped.lock().unwrap().push(reason);
    }
}

fn answer(request: &Request) -> Option<Response> {
    Some(match (request.method, request.path.as_str()) {
        (_, "panic") => panic!("asked to panic"),
        (_, "missing") => return None,
        (Method::Get, "big") => Response::content(60, (0..2_500_u32).map(|n| n as u8).collect::<Vec<_>>()),
        (Method::Get, _) => Response::content(0, "text"),
        (_, "bad") => Response::diagnostic(Code::UNPROCESSABLE_ENTITY, "schema"),
        _ => Response::new(Code::CHANGED),
    })
}

pub struct Server {
    pub address: SocketAddr,
    pub host: Arc<Recorder>,
    pub shutdown: CancellationToken,
    pub task: JoinSet<std::io::Result<()>>,
}

impl Server {
    pub async fn start(settings: Settings, gate: Gate) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let host = Arc::new(Recorder {
            bursts: Mutex::default(),
            dropped: Mutex::default(),
            door: Mutex::default(),
            gate: watch::Sender::new(gate),
        });
        let (address, shutdown) = (socket.local_addr().unwrap(), CancellationToken::new());
        let mut task = JoinSet::new();
        task.spawn(coap::serve(socket, Arc::clone(&host), settings, shutdown.clone()));
        Self { address, host, shutdown, task }
    }

    pub async fn device(&self) -> Device {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.address).await.unwrap();
        Device { socket }
    }

    /// Waits until the host has seen so many requests.
    pub async fn until_requests(&self, count: usize) {
        eventually(|| self.host.requests().len() >= count).await;
    }

    pub async fn until_dropped(&self, reason: Dropped) {
        eventually(|| self.host.dropped().contains(&reason)).await;
    }
}

pub async fn eventually(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("the condition never came true");
}

pub struct Device {
    socket: UdpSocket,
}

impl Device {
    pub async fn send(&self, datagram: &[u8]) {
        self.socket.send(datagram).await.unwrap();
    }

    pub async fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_535];
        let length = timeout(PATIENCE, self.socket.recv(&mut buffer)).await.expect("nothing came").unwrap();
        buffer[..length].to_vec()
    }

    /// Sends, and describes what comes back.
    pub async fn ask(&self, datagram: &[u8]) -> String {
        self.send(datagram).await;
        describe(&self.receive().await)
    }

    pub async fn hears_nothing(&self) {
        let mut buffer = [0; 2_048];
        if let Ok(Ok(length)) = timeout(SILENCE, self.socket.recv(&mut buffer)).await {
            panic!("unexpected {}", describe(&buffer[..length]));
        }
    }
}

/// A message with token `aa` and one path segment; `options` have numbers above 11, each as delta byte and value.
pub fn message(kind: u8, code: u8, id: u16, path: &str, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x41 | kind << 4, code];
    bytes.extend(id.to_be_bytes());
    bytes.extend([0xaa, 0xb0 | u8::try_from(path.len()).unwrap()]);
    bytes.extend(path.as_bytes());
    bytes.extend(options);
    if !payload.is_empty() {
        bytes.push(0xff);
        bytes.extend(payload);
    }
    bytes
}

/// `ACK 2.04 #7 aa 14=0a`: type, code, id, token, options by number in hex, payload if it is text.
pub fn describe(datagram: &[u8]) -> String {
    let packet = Packet::from_bytes(datagram).unwrap();
    let kind = match packet.header.get_type() {
        MessageType::Confirmable => "CON",
        MessageType::NonConfirmable => "NON",
        MessageType::Acknowledgement => "ACK",
        MessageType::Reset => "RST",
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut words = vec![kind.to_owned(), packet.header.get_code(), format!("#{}", packet.header.message_id)];
    words.extend(Some(hex(packet.get_token())).filter(|token| !token.is_empty()));
    words.extend(
        packet.options().flat_map(|(number, list)| list.iter().map(move |v| format!("{number}={}", hex(v)))),
    );
    words.extend(String::from_utf8(packet.payload).ok().filter(|text| !text.is_empty()));
    words.join(" ")
}

/// The message id of a datagram.
pub fn id_of(datagram: &[u8]) -> u16 {
    u16::from_be_bytes([datagram[2], datagram[3]])
}

/// An empty ACK (type 2) or RST (type 3).
pub fn empty(kind: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![0x40 | kind << 4, 0, high, low]
}
