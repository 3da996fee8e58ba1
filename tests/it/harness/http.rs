//! An HTTP/1.1 client that sends whatever it is told to: one request a connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use serde_json::Value;

use super::PATIENCE;

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// GETs a path.
pub fn get(addr: SocketAddr, path: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n");
    try_exchange(addr, head.as_bytes(), &[]).unwrap_or_else(|| panic!("no answer to a GET of {path}"))
}

/// POSTs a body to `/ingest/<topic>`; the topic goes out as it is. `headers` are lines with their ends.
pub fn post(addr: SocketAddr, topic: &str, headers: &str, body: &[u8]) -> Answer {
    try_post(addr, topic, headers, body).unwrap_or_else(|| panic!("no answer to a POST to {topic}"))
}

/// As [`post`]; `None` where the connection broke without a whole answer.
pub fn try_post(addr: SocketAddr, topic: &str, headers: &str, body: &[u8]) -> Option<Answer> {
    let length = body.len();
    let head = format!(
        "POST /ingest/{topic} HTTP/1.1\r\nhost: it\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    try_exchange(addr, head.as_bytes(), body)
}

/// Sends and reads at the same time: a server may answer, and hang up, before it has read all. `None` where the
/// connection broke without a whole answer.
pub fn try_exchange(addr: SocketAddr, head: &[u8], body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut bytes = Vec::new();
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(head).and_then(|()| writer.write_all(body)));
        // What came before a reset counts.
        let _ = stream.read_to_end(&mut bytes);
    });
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head, body: bytes.split_off(end + 4) })
}
