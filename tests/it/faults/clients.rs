//! Devices that do what their protocols ask of them: keep a message until it is acknowledged, and send it again.
//!
//! On MQTT with DUP under the old packet id after a new connection, on CoAP with the same message id and token,
//! on HTTP with the same `Idempotency-Key`. Each is a thread, and sends its messages in order, at a rate; the
//! server's address is read anew for each connection. What was acknowledged is counted, and written down where
//! somebody wants to know when ([`Diary`]).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::accounts::{Reading, SENSORS};
use crate::harness::{PATIENCE, Site, coap};

/// How soon a device tries again.
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// Unacknowledged messages of an MQTT device.
const WINDOW: usize = 128;
/// How long it waits for acknowledgements before it looks whether to send more.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Who is told of every acknowledgement: the device's number, and the message's.
pub type Diary = Arc<dyn Fn(usize, &[u64]) + Send + Sync>;

/// How many devices of each protocol, and how fast each is, in messages a second.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    pub mqtt: usize,
    pub mqtt_rate: f64,
    pub coap: usize,
    pub http: usize,
    /// Of a CoAP and an HTTP device, which have one message on its way at a time.
    pub slow_rate: f64,
}

impl Fleet {
    /// Names of the devices in the order of their numbers.
    pub fn names(&self) -> Vec<String> {
        let of = |letter: char, count: usize| (0..count).map(move |at| format!("{letter}{at}"));
        of('m', self.mqtt).chain(of('c', self.coap)).chain(of('h', self.http)).collect()
    }
}

/// What a device shares with its owner.
#[derive(Clone)]
struct Common {
    name: String,
    number: usize,
    port_file: PathBuf,
    rate: f64,
    since: Instant,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    resent: Arc<AtomicU64>,
    diary: Option<Diary>,
}

/// A running fleet.
pub struct Running {
    devices: Vec<(String, JoinHandle<u64>)>,
    stop: Arc<AtomicBool>,
    pub acked: Arc<AtomicU64>,
    pub resent: Arc<AtomicU64>,
    pub since: Instant,
}

impl Running {
    /// Sends on until told to stop.
    pub fn start(site: &Site, fleet: Fleet, diary: Option<Diary>) -> Self {
        let (stop, since) = (Arc::default(), Instant::now());
        let (acked, resent) = (Arc::default(), Arc::default());
        let common = |(number, name): (usize, String)| {
            let (listener, rate, run): (_, _, fn(&Common) -> u64) = match name.as_bytes()[0] {
                b'm' => ("mqtt", fleet.mqtt_rate, mqtt),
                b'c' => ("coap", fleet.slow_rate, coap),
                _ => ("http", fleet.slow_rate, http),
            };
            let port_file = site.path(&format!("{listener}.port"));
            let (stop, acked, resent) = (Arc::clone(&stop), Arc::clone(&acked), Arc::clone(&resent));
            let diary = diary.clone();
            let common =
                Common { name: name.clone(), number, port_file, rate, since, stop, acked, resent, diary };
            (name, thread::spawn(move || run(&common)))
        };
        let devices = fleet.names().into_iter().enumerate().map(common).collect();
        Self { devices, stop, acked, resent, since }
    }

    /// Messages acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Lets every device see its last messages acknowledged; how many each sent.
    pub fn finish(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.devices.into_iter().map(|(name, device)| (name, device.join().unwrap())).collect()
    }
}

impl Common {
    /// Whether message `number` is due.
    fn is_due(&self, number: u64) -> bool {
        !self.is_over() && (number as f64) < self.rate * self.since.elapsed().as_secs_f64()
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn acknowledged(&self, numbers: &[u64]) {
        self.acked.fetch_add(numbers.len() as u64, Ordering::Relaxed);
        if let Some(diary) = &self.diary {
            diary(self.number, numbers);
        }
    }

    /// Where the server is now: it comes back on another port.
    fn address(&self) -> io::Result<SocketAddr> {
        let port = fs::read_to_string(&self.port_file)?.parse().map_err(io::Error::other)?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address()?)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Sends one message after the other with `post`, which must see to it that each is acknowledged.
    fn one_by_one(&self, mut post: impl FnMut(u64)) -> u64 {
        let mut number = 0;
        while !self.is_over() {
            if self.is_due(number) {
                post(number);
                self.acknowledged(&[number]);
                number += 1;
            } else {
                thread::sleep(Duration::from_millis(1));
            }
        }
        number
    }
}

/// One reading of every sensor of `names` that closes its windows.
pub fn close_windows(site: &Site, names: &[String]) {
    let common = Common {
        name: "closer".into(),
        number: usize::MAX,
        port_file: site.path("http.port"),
        rate: 0.0,
        since: Instant::now(),
        stop: Arc::default(),
        acked: Arc::default(),
        resent: Arc::default(),
        diary: None,
    };
    let mut stream = None;
    for (name, sensor) in names.iter().flat_map(|name| (0..SENSORS).map(move |sensor| (name, sensor))) {
        let reading = Reading::closer(name, sensor);
        post_until_accepted(&common, &mut stream, &reading, &format!("close-{}", reading.sensor));
    }
}

fn http(common: &Common) -> u64 {
    let mut stream = None;
    common.one_by_one(|number| {
        let key = format!("{}-{number}", common.name);
        post_until_accepted(common, &mut stream, &Reading::new(&common.name, number), &key);
    })
}

fn post_until_accepted(common: &Common, stream: &mut Option<TcpStream>, reading: &Reading, key: &str) {
    let body = reading.payload();
    let request = format!(
        "POST /ingest/{} HTTP/1.1\r\nhost: faults\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        reading.topic(),
        body.len()
    );
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let answered = match stream {
            Some(stream) => exchange(stream, request.as_bytes()),
            None => common.connect().map(|new| *stream = Some(new)).map(|()| 0),
        };
        match answered {
            Ok(202) => return,
            Ok(0) => continue,
            Ok(503) => {}
            Ok(status) => panic!("{key}: answered {status}"),
            Err(_) => *stream = None,
        }
        assert!(Instant::now() < deadline, "{key}: not accepted");
        common.resent.fetch_add(1, Ordering::Relaxed);
        thread::sleep(RETRY_AFTER);
    }
}

/// Sends a request and reads the whole answer; its status.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<u16> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&bytes[..length]);
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let body = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        if answer.len() >= end + 4 + body.map_or(0, |length| length.trim().parse().unwrap()) {
            return Ok(head.split(' ').nth(1).unwrap().parse().unwrap());
        }
    }
}

fn coap(common: &Common) -> u64 {
    let mut device = coap::Device::new();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    common.one_by_one(|number| {
        let reading = Reading::new(&common.name, number);
        let (topic, payload) = (reading.topic(), reading.payload());
        loop {
            let post = coap::Post::new(&topic, payload.as_bytes());
            match &*device.post(&post, || common.address().unwrap_or(nowhere)).code {
                "2.04" => return,
                // Not now: a new exchange after a while.
                "5.03" => thread::sleep(RETRY_AFTER),
                other => panic!("{} {number}: answered {other}", common.name),
            }
            common.resent.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// A QoS 1 publisher: what it has sent and not seen acknowledged, by packet id, in order.
struct Publisher<'a> {
    common: &'a Common,
    inflight: BTreeMap<u64, u16>,
    next: u64,
    packet_id: u16,
}

fn mqtt(common: &Common) -> u64 {
    let mut publisher = Publisher { common, inflight: BTreeMap::new(), next: 0, packet_id: 0 };
    while !(common.is_over() && publisher.inflight.is_empty()) {
        // An end of the connection is what this is all about.
        let _ = publisher.session();
        thread::sleep(RETRY_AFTER);
    }
    publisher.next
}

impl Publisher<'_> {
    /// One connection, until it breaks or everything is acknowledged.
    fn session(&mut self) -> io::Result<()> {
        let mut stream = self.common.connect()?;
        let id = &self.common.name;
        // MQTT 3.1.1, no clean session, keep alive 60 s.
        let body = [b"\0\x04MQTT\x04\x00\0\x3c\0".as_slice(), &[id.len() as u8], id.as_bytes()].concat();
        stream.write_all(&[&[0x10, body.len() as u8], &*body].concat())?;
        let mut connack = [0; 4];
        stream.read_exact(&mut connack)?;
        assert_eq!((connack[0], connack[3]), (0x20, 0), "CONNACK {connack:x?}");
        let again: Vec<u8> =
            self.inflight.iter().flat_map(|(number, id)| self.publish(*number, *id, 0x3a)).collect();
        self.common.resent.fetch_add(self.inflight.len() as u64, Ordering::Relaxed);
        stream.write_all(&again)?;
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        let mut read = Vec::new();
        while !(self.common.is_over() && self.inflight.is_empty()) {
            let fresh = self.fresh();
            stream.write_all(&fresh)?;
            self.acknowledgements(&mut stream, &mut read)?;
        }
        stream.write_all(&[0xe0, 0])
    }

    /// New messages as far as the rate and the window allow.
    fn fresh(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.inflight.len() < WINDOW && self.common.is_due(self.next) {
            // The ids go round; those on their way are the latest few.
            self.packet_id = self.packet_id % u16::MAX + 1;
            self.inflight.insert(self.next, self.packet_id);
            out.extend(self.publish(self.next, self.packet_id, 0x32));
            self.next += 1;
        }
        out
    }

    fn publish(&self, number: u64, packet_id: u16, first: u8) -> Vec<u8> {
        let reading = Reading::new(&self.common.name, number);
        let (topic, payload) = (reading.topic(), reading.payload());
        let length = 2 + topic.len() + 2 + payload.len();
        assert!(length < 128, "the length is one byte");
        let topic_length = (topic.len() as u16).to_be_bytes();
        let packet_id = packet_id.to_be_bytes();
        [&[first, length as u8], &topic_length[..], topic.as_bytes(), &packet_id, payload.as_bytes()].concat()
    }

    fn acknowledgements(&mut self, stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<()> {
        let mut bytes = [0; 4 * WINDOW];
        match stream.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => read.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let whole = read.len() / 4 * 4;
        let mut numbers = Vec::new();
        for packet in read.drain(..whole).as_slice().chunks(4) {
            assert_eq!(packet[..2], [0x40, 2], "not a PUBACK");
            let id = u16::from_be_bytes([packet[2], packet[3]]);
            let number = self.inflight.iter().find(|(_, known)| **known == id).map(|(number, _)| *number);
            let number = number.unwrap_or_else(|| panic!("PUBACK of {id}, which is not on its way"));
            self.inflight.remove(&number);
            numbers.push(number);
        }
        self.common.acknowledged(&numbers);
        Ok(())
    }
}
