//! One request and its answer: head → admit → body → handle, or the host's word on one that cannot go so far.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Version;
use hyper::body::{Body, Incoming};
use hyper::header::HOST;
use hyper::http::request::Parts;

use crate::body::{self, BodyError};
use crate::watch::Watch;
use crate::{
    Admission, BadTarget, Dropped, Head, Host, Method, Oversize, Problem, Request, Response, Settings,
    Status, TargetError,
};

/// What the exchanges of a connection share.
#[derive(Debug)]
pub(crate) struct Exchange<'c, H> {
    pub(crate) host: &'c H,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) settings: &'c Settings,
    pub(crate) watch: &'c Watch,
}

/// Why a head is refused before the host sees it.
#[derive(Debug, thiserror::Error)]
enum HeadError {
    #[error("header host is missing")]
    NoHost,
    #[error("header host is repeated")]
    RepeatedHost,
    /// Answering it with success would turn the connection into a tunnel.
    #[error("CONNECT is not implemented")]
    Connect,
}

impl<H: Host> Exchange<'_, H> {
    /// Answers a request as hyper wants it.
    pub(crate) async fn answer(
        &self,
        request: hyper::Request<Incoming>,
    ) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
        self.watch.request_begins();
        let response = self.respond(request).await;
        self.watch.response_begins();
        Ok(response.into_hyper())
    }

    async fn respond(&self, request: hyper::Request<Incoming>) -> Response {
        let (parts, body) = request.into_parts();
        let (head, target) = match check(self.peer, parts, body.size_hint().exact()) {
            Ok(checked) => checked,
            Err(error) => return self.leave(body, self.refuse(error)),
        };
        if let Err(error) = target {
            return self.refuse_target(head, body, error).await;
        }
        match self.host.admit(&head) {
            Admission::Answer(response) => self.leave(body, response),
            Admission::Read { body_bytes_max } => self.read_and_handle(head, body, body_bytes_max).await,
        }
    }

    fn refuse(&self, error: HeadError) -> Response {
        let detail = error.to_string();
        if let HeadError::Connect = error {
            return Problem::new(Status::NOT_IMPLEMENTED, "/problems/method", "Not Implemented")
                .detail(detail)
                .into();
        }
        self.host.dropped(Dropped::BadTarget);
        Problem::malformed().detail(detail).into()
    }

    async fn refuse_target(&self, head: Head, mut body: Incoming, error: TargetError) -> Response {
        let start = body::start(&head, &mut body).await;
        let response = self.host.bad_target(BadTarget { head, error, start }).await;
        self.leave(body, response)
    }

    async fn read_and_handle(&self, head: Head, mut body: Incoming, body_bytes_max: u64) -> Response {
        if body.is_end_stream() {
            return self.host.handle(Request { head, body: Bytes::new() }).await;
        }
        let declared_bytes = head.content_bytes();
        if declared_bytes.is_some_and(|bytes| bytes > body_bytes_max) {
            let start = body::start(&head, &mut body).await;
            let oversize = Oversize { head, declared_bytes, body_bytes_max, start };
            let response = self.host.too_large(oversize).await;
            return self.leave(body, response);
        }
        let reading = body::read(&mut body, body_bytes_max);
        match tokio::time::timeout(self.settings.body_read_timeout, reading).await {
            Ok(Ok(body)) => self.host.handle(Request { head, body }).await,
            Ok(Err(BodyError::TooLarge(start))) => {
                let oversize = Oversize { head, declared_bytes, body_bytes_max, start };
                self.break_off(self.host.too_large(oversize).await)
            }
            Ok(Err(BodyError::Broken)) => {
                self.host.dropped(Dropped::BodyBroken);
                self.break_off(Problem::malformed().detail("body broke off or is not well chunked").into())
            }
            Err(_elapsed) => {
                self.host.dropped(Dropped::BodyTimeout);
                self.break_off(self.body_timeout().into())
            }
        }
    }

    /// Answers without waiting for the body. The connection lives on if all of it had arrived. A sender
    /// that waits for `100 Continue` gets none: hyper says it only to a body that is still held.
    fn leave(&self, mut body: Incoming, response: Response) -> Response {
        if body::discard_arrived(&mut body) { response } else { self.break_off(response) }
    }

    /// Makes this answer the connection's last one, although more may still come.
    fn break_off(&self, response: Response) -> Response {
        self.watch.leave_unread();
        response.last()
    }

    fn body_timeout(&self) -> Problem {
        let seconds = self.settings.body_read_timeout.as_secs_f64();
        Problem::new(Status::REQUEST_TIMEOUT, "/problems/timeout", "Request Timeout")
            .detail(format!("body did not arrive within {seconds} s"))
    }
}

/// The head, and whether its path could be decoded.
type Checked = (Head, Result<(), TargetError>);

fn check(peer: Option<SocketAddr>, parts: Parts, content_bytes: Option<u64>) -> Result<Checked, HeadError> {
    // RFC 9112 §3.2: exactly one `Host` in HTTP/1.1.
    let mut hosts = parts.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if parts.version >= Version::HTTP_11 => return Err(HeadError::NoHost),
        (_, Some(_)) => return Err(HeadError::RepeatedHost),
        _ => {}
    }
    let (head, target) = Head::from_parts(peer, parts, content_bytes);
    if head.method() == Method::Connect { Err(HeadError::Connect) } else { Ok((head, target)) }
}
