//! Requests and responses as the embedder sees them.
//!
//! No type of the codec crate appears here, and content formats stay raw numbers, so that "absent" and
//! "a number nobody registered" remain different things.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::Fault;

/// What a request asks for (RFC 7252 §5.8, RFC 8132).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// 0.01
    Get = 1,
    /// 0.02
    Post = 2,
    /// 0.03
    Put = 3,
    /// 0.04
    Delete = 4,
    /// 0.05
    Fetch = 5,
    /// 0.06
    Patch = 6,
    /// 0.07
    IPatch = 7,
}

impl Method {
    /// Reads a code byte; `None` for every code that is not a registered method.
    pub(crate) fn from_byte(code: u8) -> Option<Self> {
        use Method::{Delete, Fetch, Get, IPatch, Patch, Post, Put};
        [Get, Post, Put, Delete, Fetch, Patch, IPatch].into_iter().find(|method| *method as u8 == code)
    }
}

/// A response code, `class.detail` (RFC 7252 §12.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(u8);

impl Code {
    /// 2.01
    pub const CREATED: Self = Self::new(2, 1);
    /// 2.02
    pub const DELETED: Self = Self::new(2, 2);
    /// 2.03
    pub const VALID: Self = Self::new(2, 3);
    /// 2.04
    pub const CHANGED: Self = Self::new(2, 4);
    /// 2.05
    pub const CONTENT: Self = Self::new(2, 5);
    /// 2.31 (RFC 7959)
    pub const CONTINUE: Self = Self::new(2, 31);
    /// 4.00
    pub const BAD_REQUEST: Self = Self::new(4, 0);
    /// 4.01
    pub const UNAUTHORIZED: Self = Self::new(4, 1);
    /// 4.02
    pub const BAD_OPTION: Self = Self::new(4, 2);
    /// 4.03
    pub const FORBIDDEN: Self = Self::new(4, 3);
    /// 4.04
    pub const NOT_FOUND: Self = Self::new(4, 4);
    /// 4.05
    pub const METHOD_NOT_ALLOWED: Self = Self::new(4, 5);
    /// 4.06
    pub const NOT_ACCEPTABLE: Self = Self::new(4, 6);
    /// 4.08 (RFC 7959)
    pub const REQUEST_ENTITY_INCOMPLETE: Self = Self::new(4, 8);
    /// 4.09 (RFC 8132)
    pub const CONFLICT: Self = Self::new(4, 9);
    /// 4.13
    pub const REQUEST_ENTITY_TOO_LARGE: Self = Self::new(4, 13);
    /// 4.15
    pub const UNSUPPORTED_CONTENT_FORMAT: Self = Self::new(4, 15);
    /// 4.22 (RFC 8132)
    pub const UNPROCESSABLE_ENTITY: Self = Self::new(4, 22);
    /// 4.29 (RFC 8516)
    pub const TOO_MANY_REQUESTS: Self = Self::new(4, 29);
    /// 5.00
    pub const INTERNAL_SERVER_ERROR: Self = Self::new(5, 0);
    /// 5.03
    pub const SERVICE_UNAVAILABLE: Self = Self::new(5, 3);
    /// 5.05
    pub const PROXYING_NOT_SUPPORTED: Self = Self::new(5, 5);

    /// Builds `class.detail`; class 2 to 5 and detail 0 to 31 make a response code.
    pub const fn new(class: u8, detail: u8) -> Self {
        Self(class << 5 | (detail & 0x1f))
    }

    pub(crate) const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    pub(crate) const fn byte(self) -> u8 {
        self.0
    }

    /// The digit before the dot: 2 success, 4 the request is at fault, 5 the server is.
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// Whether the class is 2.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.0 & 0x1f)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What joins a response to its request: 0 to 8 bytes chosen by the client (RFC 7252 §5.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Token {
    bytes: [u8; 8],
    len: u8,
}

impl Token {
    /// The longest token, in bytes.
    pub const BYTES_MAX: usize = 8;

    /// Copies the bytes; `None` if there are more than eight.
    pub fn new(token: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::BYTES_MAX];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        Some(Self { bytes, len: token.len() as u8 })
    }

    /// The token's bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether the sender retransmits until it hears something (RFC 7252 §4.2, §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reliability {
    /// CON: answered in the acknowledgement, or acknowledged first and answered later.
    Confirmable,
    /// NON: sent once; the answer is sent once as well.
    NonConfirmable,
}

/// One request, complete unless it has a fault: the blocks of an upload are already joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where it came from.
    pub peer: SocketAddr,
    /// What it asks for.
    pub method: Method,
    /// Why it cannot be taken: then it gets no success code, see [`Fault`].
    pub fault: Option<Fault>,
    /// Uri-Path segments joined by `/`, without a leading slash. No segment is `.`, `..` or holds a `/`, unless
    /// there is a fault; of a path that is not UTF-8, other bytes than ASCII are escaped: `fleet/\xff`.
    pub path: String,
    /// Uri-Query options in order, such as `unit=C`.
    pub query: Vec<String>,
    /// The Content-Format number as sent; `None` if there is none.
    pub content_format: Option<u16>,
    /// The Accept number as sent; `None` if any format will do.
    pub accept: Option<u16>,
    /// The body; of one that is too large, how it begins, at most [`Fault::START_BYTES_MAX`]; of a block with a
    /// faulty path, that block.
    pub payload: Bytes,
    /// CON or NON.
    pub reliability: Reliability,
    /// The message id; of an upload, the one of its last block.
    pub message_id: u16,
    /// The token; of an upload, the one of its last block.
    pub token: Token,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The outcome.
    pub code: Code,
    /// The body: a representation, or a diagnostic text.
    pub payload: Bytes,
    /// The Content-Format number; `None` for an empty body or a diagnostic text.
    pub content_format: Option<u16>,
    /// Max-Age, seconds: with 5.03 and 4.29, how long the client should wait.
    pub max_age_s: Option<u32>,
    /// Size1, bytes: with 4.13, the largest body accepted.
    pub size1_bytes: Option<u32>,
}

impl Response {
    /// An answer with an empty body.
    pub const fn new(code: Code) -> Self {
        Self { code, payload: Bytes::new(), content_format: None, max_age_s: None, size1_bytes: None }
    }

    /// An answer with a diagnostic text (RFC 7252 §5.5.2).
    pub fn diagnostic(code: Code, text: impl Into<Bytes>) -> Self {
        Self { payload: text.into(), ..Self::new(code) }
    }

    /// A 2.05 with a representation.
    pub fn content(content_format: u16, payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), content_format: Some(content_format), ..Self::new(Code::CONTENT) }
    }

    /// The same answer with Max-Age in seconds.
    pub const fn with_max_age_s(mut self, seconds: u32) -> Self {
        self.max_age_s = Some(seconds);
        self
    }

    /// The same answer with Size1 in bytes.
    pub const fn with_size1_bytes(mut self, bytes: u32) -> Self {
        self.size1_bytes = Some(bytes);
        self
    }
}
