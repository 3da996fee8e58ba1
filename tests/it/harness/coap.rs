//! A CoAP device that sends whatever bytes it is told to: confirmable POSTs, retransmitted until answered.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

const URI_PATH: u16 = 11;
const CONTENT_FORMAT: u16 = 12;
const BLOCK1: u16 = 27;
const SIZE1: u16 = 60;
/// The low bits of Block1 (RFC 7959 section 2.2).
const MORE: u32 = 8;
const SIZE_1024: u32 = 6;
/// How long it waits before it sends again. Shorter than RFC 7252's 2 s: loopback, and tests are in a hurry.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(250);
/// How often it sends a message.
const TRANSMISSIONS_MAX: usize = 120;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Post<'a> {
    pub path: Vec<&'a [u8]>,
    pub content_format: Option<u16>,
    /// The number of a block of 1024 bytes that is not the last one.
    pub block: Option<u32>,
    /// The announced length of the whole body.
    pub size1_bytes: Option<u32>,
    pub payload: &'a [u8],
}

impl<'a> Post<'a> {
    /// A message to a topic.
    pub fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self { path: topic.split('/').map(str::as_bytes).collect(), payload, ..Self::default() }
    }
}

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `2.04`.
    pub code: String,
    pub size1_bytes: Option<u32>,
    pub payload: Vec<u8>,
}

impl Answer {
    /// The diagnostic payload.
    pub fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).unwrap()
    }
}

/// An endpoint.
pub struct Device {
    socket: UdpSocket,
    message_id: u16,
}

impl Device {
    pub fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(RETRANSMIT_AFTER)).unwrap();
        Self { socket, message_id: 0 }
    }

    /// Sends a confirmable POST to `addr()`, asked anew before each transmission, until there is an answer.
    pub fn post(&mut self, post: &Post<'_>, mut addr: impl FnMut() -> SocketAddr) -> Answer {
        self.message_id = self.message_id.wrapping_add(1);
        let request = self.encode(post);
        for _ in 0..TRANSMISSIONS_MAX {
            // A port where nobody listens yet is a lost datagram.
            let _ = self.socket.send_to(&request, addr());
            if let Some(answer) = self.answer() {
                return answer;
            }
        }
        panic!("no answer to {post:?}");
    }

    fn encode(&self, post: &Post<'_>) -> Vec<u8> {
        let id = self.message_id.to_be_bytes();
        // Version 1, confirmable, a token of two bytes (the message id's), POST.
        let mut out = vec![0x42, 0x02, id[0], id[1], id[0], id[1]];
        let mut last = 0;
        let mut option = |number: u16, value: &[u8]| {
            let (delta, length) = (nibble(number - last), nibble(value.len() as u16));
            out.push(delta.0 << 4 | length.0);
            out.extend(delta.1.into_iter().chain(length.1));
            out.extend(value);
            last = number;
        };
        post.path.iter().for_each(|segment| option(URI_PATH, segment));
        if let Some(format) = post.content_format {
            option(CONTENT_FORMAT, &shortest(u32::from(format)));
        }
        if let Some(number) = post.block {
            option(BLOCK1, &shortest(number << 4 | MORE | SIZE_1024));
        }
        if let Some(bytes) = post.size1_bytes {
            option(SIZE1, &shortest(bytes));
        }
        if !post.payload.is_empty() {
            out.push(0xff);
            out.extend(post.payload);
        }
        out
    }

    /// The answer to the last request; `None` when it is time to send again.
    fn answer(&self) -> Option<Answer> {
        let mut bytes = [0; 2048];
        loop {
            let (length, from) = match self.socket.recv_from(&mut bytes) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(_) => return None,
            };
            let message = &bytes[..length];
            let is_confirmable = message[0] >> 4 & 3 == 0;
            if is_confirmable {
                self.socket.send_to(&[0x60, 0, message[2], message[3]], from).unwrap();
            }
            // An empty acknowledgement promises an answer; another token is of an earlier request.
            if message[1] != 0 && message.get(4..6) == Some(&self.message_id.to_be_bytes()[..]) {
                return Some(decode(message));
            }
        }
    }
}

/// A number in as few bytes as it needs: none for 0.
fn shortest(number: u32) -> Vec<u8> {
    number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect()
}

/// An option's delta or length: the nibble and the bytes behind it (RFC 7252 section 3.1).
fn nibble(number: u16) -> (u8, Vec<u8>) {
    match number {
        0..13 => (number as u8, vec![]),
        13..269 => (13, vec![(number - 13) as u8]),
        _ => (14, (number - 269).to_be_bytes().to_vec()),
    }
}

fn decode(message: &[u8]) -> Answer {
    let code = format!("{}.{:02}", message[1] >> 5, message[1] & 0x1f);
    let (mut rest, mut number, mut size1_bytes) = (&message[6..], 0, None);
    while let [head, tail @ ..] = rest {
        if *head == 0xff {
            return Answer { code, size1_bytes, payload: tail.to_vec() };
        }
        let (delta, tail) = extended(head >> 4, tail);
        let (length, tail) = extended(head & 0xf, tail);
        let (value, tail) = tail.split_at(usize::from(length));
        number += delta;
        if number == SIZE1 {
            size1_bytes = Some(value.iter().fold(0, |bytes, byte| bytes << 8 | u32::from(*byte)));
        }
        rest = tail;
    }
    Answer { code, size1_bytes, payload: vec![] }
}

fn extended(nibble: u8, tail: &[u8]) -> (u16, &[u8]) {
    match (nibble, tail) {
        (13, [byte, tail @ ..]) => (u16::from(*byte) + 13, tail),
        (14, [high, low, tail @ ..]) => (u16::from_be_bytes([*high, *low]) + 269, tail),
        _ => (u16::from(nibble), tail),
    }
}
