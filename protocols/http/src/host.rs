//! What the embedder supplies ([`Host`], [`Settings`]) and what it is told ([`Dropped`], [`CloseReason`]).

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::{Head, Problem, Request, Response, Status, TargetError};

/// Answers requests; one value serves all connections.
pub trait Host: Send + Sync + 'static {
    /// Decides from the head alone, before a byte of the body is waited for: unknown paths, methods,
    /// rights, overload. Runs on the connection's task and must not block.
    fn admit(&self, head: &Head) -> Admission;

    /// Answers an admitted request. It is run to its end even if the peer has gone meanwhile.
    fn handle(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// Answers a request whose body exceeds what [`Host::admit`] allowed; the connection closes
    /// afterwards. By default counts [`Dropped::BodyTooLarge`] and answers 413; a host that overrides
    /// it counts for itself.
    fn too_large(&self, oversize: Oversize) -> impl Future<Output = Response> + Send {
        async move {
            self.dropped(Dropped::BodyTooLarge);
            oversize.into_response()
        }
    }

    /// Answers a request whose path is not percent-encoded UTF-8; [`Host::admit`] is not asked. By default
    /// counts [`Dropped::BadTarget`] and answers 400; a host that overrides it counts for itself.
    fn bad_target(&self, request: BadTarget) -> impl Future<Output = Response> + Send {
        async move {
            self.dropped(Dropped::BadTarget);
            request.into_response()
        }
    }

    /// Counts what never reached [`Host::handle`] through the peer's fault.
    fn dropped(&self, reason: Dropped);
}

/// What to do with a request, judged by its head.
#[derive(Debug)]
pub enum Admission {
    /// Read the body, then call [`Host::handle`].
    Read {
        /// Largest body taken, in bytes.
        body_bytes_max: u64,
    },
    /// Answer at once; the body is not read, and `Expect: 100-continue` gets this instead of 100.
    Answer(Response),
}

/// A request whose body is larger than [`Admission::Read`] allowed.
#[derive(Debug)]
pub struct Oversize {
    /// The request's head.
    pub head: Head,
    /// `Content-Length`; `None` if the body came in chunks and was cut.
    pub declared_bytes: Option<u64>,
    /// The limit that was exceeded, in bytes.
    pub body_bytes_max: u64,
    /// The body's beginning, at most [`Oversize::START_BYTES_MAX`]; empty if the sender waits for
    /// `100 Continue`, and shorter if it does not come within a second.
    pub start: Bytes,
}

impl Oversize {
    /// Most bytes of a cut body that are kept, for a record of what was refused.
    pub const START_BYTES_MAX: usize = 4096;

    /// Returns the usual answer: 413, with the limit in the text.
    pub fn into_response(self) -> Response {
        let problem = Problem::new(Status::CONTENT_TOO_LARGE, "/problems/too_large", "Content Too Large");
        let limit = self.body_bytes_max;
        match self.declared_bytes {
            Some(declared) => problem.detail(format!("body of {declared} bytes exceeds {limit}")),
            None => problem.detail(format!("body exceeds {limit} bytes")),
        }
        .with("limit", limit)
        .into()
    }
}

/// A request whose path cannot be decoded.
#[derive(Debug)]
pub struct BadTarget {
    /// The request's head; its [`Head::segments`] are as they came, still percent-encoded.
    pub head: Head,
    /// What is wrong with the path.
    pub error: TargetError,
    /// The body's beginning, on the terms of [`Oversize::start`].
    pub start: Bytes,
}

impl BadTarget {
    /// Returns the usual answer: 400, with the segment in the text.
    pub fn into_response(self) -> Response {
        Problem::malformed().detail(self.error.to_string()).into()
    }
}

/// Why a request, or the beginning of one, was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// Not HTTP/1.1: request line, header or framing; answered 400 where an answer was possible.
    BadRequest,
    /// More header bytes or fields than [`Settings`] allow, or too long a target; answered 431 or 414.
    HeadTooLarge,
    /// The path is not percent-encoded UTF-8, or `Host` is missing or repeated; answered 400.
    BadTarget,
    /// The head did not arrive within [`Settings::header_read_timeout`]; closed without an answer.
    HeaderTimeout,
    /// The body did not arrive within [`Settings::body_read_timeout`]; answered 408.
    BodyTimeout,
    /// The body exceeds its limit; answered 413.
    BodyTooLarge,
    /// The body broke off or its chunks are malformed; answered 400 if anyone still listens.
    BodyBroken,
    /// The peer closed in the middle of a head.
    Truncated,
    /// The answer was not taken within [`Settings::response_write_timeout`].
    WriteTimeout,
}

impl Dropped {
    /// Returns the reason as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Dropped::BadRequest => "bad_request",
            Dropped::HeadTooLarge => "head_too_large",
            Dropped::BadTarget => "bad_target",
            Dropped::HeaderTimeout => "header_timeout",
            Dropped::BodyTimeout => "body_timeout",
            Dropped::BodyTooLarge => "body_too_large",
            Dropped::BodyBroken => "body_broken",
            Dropped::Truncated => "truncated",
            Dropped::WriteTimeout => "write_timeout",
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Either side had said that the last exchange was the last one, or the peer left between requests.
    Done,
    /// No request within [`Settings::idle_timeout`].
    Idle,
    /// The shutdown token; a request in flight was answered before.
    Shutdown,
    /// The peer broke the protocol or a deadline; [`Host::dropped`] was told the same.
    Dropped(Dropped),
    /// The stream failed.
    Io,
}

/// Limits and deadlines of a connection. Body sizes are judged by request, in [`Host::admit`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most bytes of a request line with its headers.
    pub header_bytes_max: usize,
    /// Most header fields; 100 is the cheapest, being what hyper keeps on the stack.
    pub header_count_max: usize,
    /// From the first byte of a head to its end.
    pub header_read_timeout: Duration,
    /// From the head's end to the body's end, the whole of it.
    pub body_read_timeout: Duration,
    /// Between two requests, and before the first.
    pub idle_timeout: Duration,
    /// How long a peer may leave an answer waiting in our buffer, the whole of it.
    pub response_write_timeout: Duration,
    /// How long a peer may go on sending what was refused. Closing earlier would reset the connection,
    /// and the peer might lose the answer that says why.
    pub linger_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_bytes_max: 16 * 1024,
            header_count_max: 100,
            header_read_timeout: Duration::from_secs(10),
            body_read_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            response_write_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(5),
        }
    }
}
