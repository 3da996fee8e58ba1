//! From bytes to requests and from responses to bytes, by coap-lite's `Packet`.
//!
//! The only module that knows coap-lite. It decodes only what [`guard`](crate::guard) let through. Paths are
//! read here and not with the crate's `get_path`, which drops segments that are not UTF-8 and cannot tell
//! `["a/b"]` from `["a", "b"]`; both are a [`Fault`] of the request.

use std::net::SocketAddr;

use bytes::Bytes;
use coap_lite::{CoapOption, MessageType, Packet};

use crate::block::{Block, Slice, uint_bytes};
use crate::guard::{Envelope, Kind, Refusal, number, uint};
use crate::{Code, Fault, Method, Request, Response, Token};

/// A request and what its transfer in blocks needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub request: Request,
    pub block1: Option<Block>,
    pub block2: Option<Block>,
    pub size1_bytes: Option<u32>,
    /// Request-Tag options (RFC 9175 §3): part of an upload's identity.
    pub tags: Vec<Vec<u8>>,
}

/// Decodes a request that the guard let through.
pub(crate) fn decode(peer: SocketAddr, envelope: &Envelope, datagram: &[u8]) -> Result<Decoded, Refusal> {
    let mut packet = Packet::from_bytes(datagram).map_err(|_| bad_request("not decodable"))?;
    let payload = Bytes::from(std::mem::take(&mut packet.payload));
    let (path, fault) = path(&packet);
    let request = Request {
        peer,
        method: envelope.method.ok_or(bad_request("unknown method"))?,
        fault,
        path,
        query: query(&packet)?,
        content_format: first_u16(&packet, CoapOption::ContentFormat),
        accept: first_u16(&packet, CoapOption::Accept),
        payload,
        reliability: envelope.reliability,
        message_id: envelope.message_id,
        token: envelope.token,
    };
    Ok(Decoded {
        request,
        block1: block(&packet, CoapOption::Block1)?,
        block2: block(&packet, CoapOption::Block2)?,
        size1_bytes: first(&packet, CoapOption::Size1).and_then(uint),
        tags: values(&packet, CoapOption::Unknown(number::REQUEST_TAG)).map(<[u8]>::to_vec).collect(),
    })
}

const fn bad_request(text: &'static str) -> Refusal {
    Refusal { code: Code::BAD_REQUEST, text }
}

fn values(packet: &Packet, option: CoapOption) -> impl Iterator<Item = &[u8]> {
    packet.get_option(option).into_iter().flatten().map(Vec::as_slice)
}

fn first(packet: &Packet, option: CoapOption) -> Option<&[u8]> {
    packet.get_first_option(option).map(Vec::as_slice)
}

fn first_u16(packet: &Packet, option: CoapOption) -> Option<u16> {
    first(packet, option).and_then(uint).and_then(|number| u16::try_from(number).ok())
}

/// The segments joined, and what is wrong with them. Escaped as a whole where they are not text.
fn path(packet: &Packet) -> (String, Option<Fault>) {
    let (mut path, mut fault) = (Vec::new(), None);
    for (index, segment) in values(packet, CoapOption::UriPath).enumerate() {
        if segment.contains(&b'/') || segment == b"." || segment == b".." {
            fault = Some(Fault::PathSegment);
        }
        if index > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(segment);
    }
    match String::from_utf8(path) {
        Ok(path) => (path, fault),
        Err(error) => (error.as_bytes().escape_ascii().to_string(), Some(Fault::PathNotUtf8)),
    }
}

fn query(packet: &Packet) -> Result<Vec<String>, Refusal> {
    values(packet, CoapOption::UriQuery)
        .map(|query| String::from_utf8(query.to_vec()).map_err(|_| bad_request("a query is not utf-8")))
        .collect()
}

fn block(packet: &Packet, option: CoapOption) -> Result<Option<Block>, Refusal> {
    let Some(value) = first(packet, option) else { return Ok(None) };
    Block::decode(value).map(Some).ok_or(bad_request("block size 7 is reserved"))
}

/// Type, id and token of a message to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub kind: Kind,
    pub message_id: u16,
    pub token: Token,
}

/// The bytes of a response, with the block it acknowledges and the slice it carries.
pub(crate) fn encode_response(
    head: Head,
    response: &Response,
    block1: Option<Block>,
    slice: Option<&Slice>,
) -> Bytes {
    let mut packet = packet(head, response.code.byte());
    let mut add = |option, number: Option<u32>| {
        number.into_iter().for_each(|number| packet.add_option(option, uint_bytes(number)));
    };
    add(CoapOption::ContentFormat, response.content_format.map(u32::from));
    add(CoapOption::MaxAge, response.max_age_s);
    add(CoapOption::Size1, response.size1_bytes);
    add(CoapOption::Size2, slice.map(|slice| slice.whole_bytes));
    if let Some(block) = block1 {
        packet.add_option(CoapOption::Block1, block.encode());
    }
    if let Some(slice) = slice {
        packet.add_option(CoapOption::ETag, slice.etag.to_vec());
        packet.add_option(CoapOption::Block2, slice.block.encode());
    }
    packet.payload = slice.map_or(&response.payload, |slice| &slice.payload).to_vec();
    bytes(&packet)
}

/// The four bytes of an empty ACK or RST.
pub(crate) fn encode_empty(kind: Kind, message_id: u16) -> Bytes {
    bytes(&packet(Head { kind, message_id, token: Token::default() }, 0))
}

/// What a client sends beyond the head.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked<'a> {
    pub path: &'a str,
    pub query: &'a [String],
    pub content_format: Option<u16>,
    pub accept: Option<u16>,
    /// The classes of answers not wanted (RFC 7967).
    pub no_response: Option<u8>,
    pub block1: Option<Block>,
    pub size1_bytes: Option<u32>,
    pub tag: Option<u32>,
    pub payload: &'a [u8],
}

/// The bytes of a request.
pub(crate) fn encode_request(head: Head, method: Method, asked: &Asked<'_>) -> Bytes {
    let mut packet = packet(head, method as u8);
    for segment in asked.path.split('/').filter(|_| !asked.path.is_empty()) {
        packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
    }
    for query in asked.query {
        packet.add_option(CoapOption::UriQuery, query.as_bytes().to_vec());
    }
    let mut add = |option, number: Option<u32>| {
        number.into_iter().for_each(|number| packet.add_option(option, uint_bytes(number)));
    };
    add(CoapOption::ContentFormat, asked.content_format.map(u32::from));
    add(CoapOption::Accept, asked.accept.map(u32::from));
    add(CoapOption::NoResponse, asked.no_response.map(u32::from));
    add(CoapOption::Size1, asked.size1_bytes);
    if let Some(block) = asked.block1 {
        packet.add_option(CoapOption::Block1, block.encode());
    }
    if let Some(tag) = asked.tag {
        packet.add_option(CoapOption::Unknown(number::REQUEST_TAG), tag.to_be_bytes().to_vec());
    }
    packet.payload = asked.payload.to_vec();
    bytes(&packet)
}

/// Decodes a response; `None` if it is not one.
pub(crate) fn decode_response(datagram: &[u8]) -> Option<(Token, Response)> {
    let packet = Packet::from_bytes(datagram).ok()?;
    let token = Token::new(packet.get_token())?;
    let response = Response {
        code: Code::from_byte(packet.header.code.into()),
        content_format: first_u16(&packet, CoapOption::ContentFormat),
        max_age_s: first(&packet, CoapOption::MaxAge).and_then(uint),
        size1_bytes: first(&packet, CoapOption::Size1).and_then(uint),
        payload: Bytes::from(packet.payload),
    };
    Some((token, response))
}

fn packet(head: Head, code: u8) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_type(match head.kind {
        Kind::Confirmable => MessageType::Confirmable,
        Kind::NonConfirmable => MessageType::NonConfirmable,
        Kind::Acknowledgement => MessageType::Acknowledgement,
        Kind::Reset => MessageType::Reset,
    });
    packet.header.code = code.into();
    packet.header.message_id = head.message_id;
    packet.set_token(head.token.as_slice().to_vec());
    packet
}

fn bytes(packet: &Packet) -> Bytes {
    Bytes::from(packet.to_bytes_unlimited().expect("encoding fails only on a size limit, and none is set"))
}
