//! Answers of the host: a status, a few headers, a body in one piece.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use tracing::error;

use crate::{Method, Problem};

/// A final status code, 200 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(u16);

#[allow(missing_docs, reason = "names of RFC 9110 §15 and RFC 6585")]
impl Status {
    pub const OK: Self = Self(200);
    pub const CREATED: Self = Self(201);
    pub const ACCEPTED: Self = Self(202);
    pub const NO_CONTENT: Self = Self(204);
    pub const NOT_MODIFIED: Self = Self(304);
    pub const BAD_REQUEST: Self = Self(400);
    pub const UNAUTHORIZED: Self = Self(401);
    pub const FORBIDDEN: Self = Self(403);
    pub const NOT_FOUND: Self = Self(404);
    pub const METHOD_NOT_ALLOWED: Self = Self(405);
    pub const NOT_ACCEPTABLE: Self = Self(406);
    pub const REQUEST_TIMEOUT: Self = Self(408);
    pub const CONFLICT: Self = Self(409);
    pub const CONTENT_TOO_LARGE: Self = Self(413);
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self(415);
    pub const UNPROCESSABLE_CONTENT: Self = Self(422);
    pub const TOO_MANY_REQUESTS: Self = Self(429);
    pub const INTERNAL_SERVER_ERROR: Self = Self(500);
    pub const NOT_IMPLEMENTED: Self = Self(501);
    pub const SERVICE_UNAVAILABLE: Self = Self(503);
}

impl Status {
    /// Returns a final status; `None` outside 200 to 599.
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 200 && code <= 599 { Some(Self(code)) } else { None }
    }

    /// Returns the code.
    pub const fn code(self) -> u16 {
        self.0
    }
}

/// An answer. `Content-Length`, `Date` and, where needed, `Connection` are added when it is written.
#[derive(Debug, Clone)]
pub struct Response {
    status: Status,
    headers: HeaderMap,
    body: Bytes,
}

impl Response {
    /// Creates an answer without a body.
    pub fn new(status: Status) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Creates an answer with a body of any type.
    ///
    /// # Panics
    /// When `content_type` has control characters.
    pub fn bytes(status: Status, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Self { body: body.into(), ..Self::new(status) };
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }

    /// Creates an answer of plain text in UTF-8.
    pub fn text(status: Status, body: impl Into<String>) -> Self {
        Self::bytes(status, "text/plain; charset=utf-8", body.into())
    }

    /// Creates an answer of JSON; 500, with the reason in the log, if `value` cannot be written as such.
    pub fn json(status: Status, value: &impl Serialize) -> Self {
        Self::serialized(status, "application/json", value)
    }

    /// Creates an answer of `application/problem+json`.
    pub fn problem(problem: Problem) -> Self {
        Self::serialized(problem.status(), "application/problem+json", &problem)
    }

    /// Creates a 405 that names the methods allowed, for [`Method::Options`] as well.
    pub fn method_not_allowed(allowed: &[Method]) -> Self {
        let names = allowed.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
        let detail = format!("allowed here: {names}");
        Self::problem(
            Problem::new(Status::METHOD_NOT_ALLOWED, "/problems/method", "Method Not Allowed").detail(detail),
        )
        .with(ALLOW, &names)
    }

    fn serialized(status: Status, content_type: &'static str, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::bytes(status, content_type, body),
            Err(error) => {
                error!(%error, "answer cannot be written as json");
                Self::new(Status::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// Sets a header. A value unfit for a header, as one with line ends is, leaves the answer unchanged.
    ///
    /// # Panics
    /// When `name` is not a header name in lower case.
    #[must_use]
    pub fn with_header(self, name: &'static str, value: &str) -> Self {
        self.with(HeaderName::from_static(name), value)
    }

    /// Sets `Retry-After`, in whole seconds, rounded up, at least one.
    #[must_use]
    pub fn retry_after(self, delay: Duration) -> Self {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        self.with(RETRY_AFTER, &seconds.max(1).to_string())
    }

    /// Closes the connection after this answer.
    #[must_use]
    pub fn last(mut self) -> Self {
        self.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        self
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Returns the status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns a header's value if it is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn into_hyper(self) -> hyper::Response<Full<Bytes>> {
        let mut response = hyper::Response::new(Full::new(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status.0).expect("a status is within 200 to 599");
        *response.headers_mut() = self.headers;
        response
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        Self::problem(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_rounds_up_and_never_says_at_once() {
        for (delay, expected) in [
            (Duration::ZERO, "1"),
            (Duration::from_millis(200), "1"),
            (Duration::from_secs(2), "2"),
            (Duration::from_millis(2001), "3"),
        ] {
            let response = Response::new(Status::SERVICE_UNAVAILABLE).retry_after(delay);
            assert_eq!(response.header("retry-after"), Some(expected), "{delay:?}");
        }
    }

    #[test]
    fn a_value_cannot_split_the_answer() {
        let response = Response::new(Status::OK).with_header("x-note", "a\r\nset-cookie: b");
        assert_eq!(response.header("x-note"), None);
    }

    #[test]
    fn only_final_statuses_exist() {
        assert_eq!([99, 100, 199, 600].map(Status::new), [None; 4]);
        assert_eq!(Status::new(204), Some(Status::NO_CONTENT));
    }
}
