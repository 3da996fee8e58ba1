//! A request as the host sees it: [`Head`] first, [`Request`] once the body is there.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use hyper::Uri;
use hyper::header::{ACCEPT, CONTENT_TYPE, FORWARDED, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;

use crate::target::{self, Segments, TargetError};

/// Fields by which a proxy says that it speaks for somebody else.
const PROXY_FIELDS: [HeaderName; 4] = [
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

/// Request method; a closed set, fit for a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`; answer as if it were `GET`, the body is left out by the server.
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `CONNECT`; the server itself refuses it.
    Connect,
    /// Any other token.
    Other,
}

impl Method {
    /// Returns the method's name; `OTHER` for [`Method::Other`].
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Connect => "CONNECT",
            Method::Other => "OTHER",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&hyper::Method> for Method {
    fn from(method: &hyper::Method) -> Self {
        match *method {
            hyper::Method::GET => Method::Get,
            hyper::Method::HEAD => Method::Head,
            hyper::Method::POST => Method::Post,
            hyper::Method::PUT => Method::Put,
            hyper::Method::PATCH => Method::Patch,
            hyper::Method::DELETE => Method::Delete,
            hyper::Method::OPTIONS => Method::Options,
            hyper::Method::CONNECT => Method::Connect,
            _ => Method::Other,
        }
    }
}

/// A request without its body.
#[derive(Debug, Clone)]
pub struct Head {
    peer: Option<SocketAddr>,
    method: Method,
    uri: Uri,
    /// Decoded segments; `None` if they read as in the raw path, or cannot be decoded.
    decoded: Option<Vec<String>>,
    headers: HeaderMap,
    content_bytes: Option<u64>,
}

impl Head {
    /// Builds a head without a connection, for tests of a host.
    ///
    /// # Errors
    /// When `target` is no path, or not percent-encoded UTF-8.
    pub fn new(method: Method, target: &str) -> Result<Self, TargetError> {
        let uri: Uri = target.parse().map_err(|_| TargetError::NotAPath(target.to_owned()))?;
        let decoded = target::decode_path(uri.path())?;
        Ok(Self { peer: None, method, uri, decoded, headers: HeaderMap::new(), content_bytes: Some(0) })
    }

    /// Adds a header to a head built by [`Head::new`].
    ///
    /// # Panics
    /// When `name` is not lower case or either is not fit for a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// Sets the peer of a head built by [`Head::new`].
    #[must_use]
    pub fn with_peer(mut self, peer: SocketAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Takes a head apart from its path's decoding, which may fail: then its segments stay as they came.
    pub(crate) fn from_parts(
        peer: Option<SocketAddr>,
        parts: Parts,
        content_bytes: Option<u64>,
    ) -> (Self, Result<(), TargetError>) {
        let method = Method::from(&parts.method);
        let (decoded, outcome) = match target::decode_path(parts.uri.path()) {
            // Its target is an authority.
            _ if method == Method::Connect => (None, Ok(())),
            Ok(decoded) => (decoded, Ok(())),
            Err(error) => (None, Err(error)),
        };
        (Self { peer, method, uri: parts.uri, decoded, headers: parts.headers, content_bytes }, outcome)
    }

    /// Returns the peer's address, as given to [`crate::serve`].
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Returns the method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Returns the path as it came, still percent-encoded; it begins with `/` or is `*`.
    pub fn raw_path(&self) -> &str {
        self.uri.path()
    }

    /// Returns the path's segments, percent-decoded: none for `/`, a last empty one after a trailing
    /// slash. Control characters and `..` are possible.
    pub fn segments(&self) -> Segments<'_> {
        Segments::new(self.uri.path(), self.decoded.as_deref())
    }

    /// Returns the query as it came, without the question mark.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// Returns the first value of a query parameter, decoded; `None` also if it is not UTF-8.
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        target::query_value(self.uri.query()?, name)
    }

    /// Returns the first field of that name (any case) if its value is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns all fields, names in lower case, values as bytes.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// Returns `Content-Type` with its parameters.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE)?.to_str().ok()
    }

    /// Returns the first `Accept`.
    pub fn accept(&self) -> Option<&str> {
        self.headers.get(ACCEPT)?.to_str().ok()
    }

    /// Returns whether a proxy says that it speaks for somebody else, so that [`Head::peer`] is not the
    /// client.
    pub fn is_forwarded(&self) -> bool {
        PROXY_FIELDS.iter().any(|name| self.headers.contains_key(name))
    }

    /// Returns the body's announced size: 0 without a body, `None` if it comes in chunks.
    pub fn content_bytes(&self) -> Option<u64> {
        self.content_bytes
    }
}

/// A request with its body.
#[derive(Debug, Clone)]
pub struct Request {
    /// Everything but the body.
    pub head: Head,
    /// The body, within what [`crate::Host::admit`] allowed. It may share the connection's read buffer
    /// (8 to 64 KiB): copy what is kept for long.
    pub body: Bytes,
}
