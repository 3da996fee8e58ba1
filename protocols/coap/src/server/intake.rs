//! What happens to one datagram: guard, exchange, door, decoder, blocks, and into the burst.
//!
//! Everything here is synchronous; the server's task reads the socket before it and writes the outbox after it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::block::{self, Cut};
use crate::blockwise::{Identity, Part, Step, Uploads};
use crate::exchange::{Exchanges, Key, Outgoing, Reply, Seen};
use crate::guard::{self, Checked, Envelope, Kind, Refusal};
use crate::wire::{self, Decoded};
use crate::{Code, Dropped, Fault, Host, Method, Request, Response, Settings};

use super::Ticket;

/// The shortest Max-Age of an overload answer of this crate's own, seconds.
const OVERLOAD_MAX_AGE_S: u32 = 5;
/// What is added at most, so that refused devices do not all come back at once.
const OVERLOAD_JITTER_S: u32 = 25;

/// The state of one socket's server, and what this turn has produced.
pub(super) struct Intake<H> {
    pub(super) settings: Settings,
    pub(super) exchanges: Exchanges,
    pub(super) outbox: Vec<Outgoing>,
    host: Arc<H>,
    uploads: Uploads,
    requests: Vec<Request>,
    tickets: Vec<Ticket>,
}

impl<H: Host> Intake<H> {
    pub(super) fn new(settings: Settings, host: Arc<H>) -> Self {
        Self {
            exchanges: Exchanges::new(&settings, fastrand::u64(..)),
            uploads: Uploads::new(settings.uploads.clone(), settings.body_bytes_max),
            settings,
            host,
            outbox: Vec::new(),
            requests: Vec::new(),
            tickets: Vec::new(),
        }
    }

    /// The requests for the host, and what is needed to answer them.
    pub(super) fn take_burst(&mut self) -> (Vec<Request>, Vec<Ticket>) {
        (std::mem::take(&mut self.requests), std::mem::take(&mut self.tickets))
    }

    /// Takes one datagram.
    pub(super) fn take(&mut self, now: Instant, peer: SocketAddr, datagram: &[u8]) {
        let key = |message_id| Key { peer, message_id };
        match guard::check(datagram) {
            Checked::Request(envelope) => self.request(now, key(envelope.message_id), &envelope, datagram),
            Checked::Refused(envelope, refusal) => {
                self.host.dropped(Dropped::Refused);
                self.refuse(key(envelope.message_id), &envelope, &refusal.into());
            }
            Checked::Unanswerable => self.host.dropped(Dropped::Refused),
            Checked::Ping { message_id } => self.reset(peer, message_id),
            Checked::Acknowledgement { message_id } => self.exchanges.acknowledged(key(message_id)),
            Checked::Reset { message_id } => self.exchanges.reset(key(message_id)),
            Checked::Stray { reject } => self.reject(peer, reject, Dropped::Stray),
            Checked::Malformed { reject } => self.reject(peer, reject, Dropped::Malformed),
        }
        self.report();
    }

    fn reject(&mut self, peer: SocketAddr, message_id: Option<u16>, reason: Dropped) {
        self.host.dropped(reason);
        if let Some(message_id) = message_id {
            self.reset(peer, message_id);
        }
    }

    fn reset(&mut self, peer: SocketAddr, message_id: u16) {
        self.outbox.push(Outgoing { peer, datagram: wire::encode_empty(Kind::Reset, message_id) });
    }

    /// Known ids first: a duplicate of an accepted request is answered even when the door is closed.
    fn request(&mut self, now: Instant, key: Key, envelope: &Envelope, datagram: &[u8]) {
        if let Seen::Before(reply) = self.exchanges.seen(key) {
            self.host.dropped(Dropped::Duplicate);
            self.outbox.extend(reply);
            return;
        }
        if let Some(closed) = self.host.door() {
            self.host.dropped(Dropped::Overload);
            return self.refuse(key, envelope, &closed);
        }
        match wire::decode(key.peer, envelope, datagram) {
            Ok(decoded) => self.decoded(now, key, envelope, decoded),
            Err(refusal) => {
                self.host.dropped(Dropped::Refused);
                self.refuse(key, envelope, &refusal.into());
            }
        }
    }

    fn decoded(&mut self, now: Instant, key: Key, envelope: &Envelope, decoded: Decoded) {
        if self.exchanges.open(now, key, envelope.reliability, envelope.token).is_err() {
            self.host.dropped(Dropped::Overload);
            return self.refuse(key, envelope, &overload(key.message_id));
        }
        let ticket = Ticket {
            key,
            method: decoded.request.method,
            fault: None,
            no_response: envelope.no_response,
            block1: decoded.block1,
            block2: decoded.block2,
        };
        match self.join(now, key, decoded) {
            Ok(request) => {
                self.tickets.push(Ticket { fault: request.fault, ..ticket });
                self.requests.push(request);
            }
            Err(response) => self.answer(now, &ticket, &response),
        }
    }

    /// Joins a block to its upload; `Err` is the answer to one that does not complete it. A request with a fault
    /// goes to the host as it is: no more of it is wanted.
    fn join(&mut self, now: Instant, key: Key, decoded: Decoded) -> Result<Request, Response> {
        let Decoded { mut request, block1, size1_bytes, tags, .. } = decoded;
        let Some(block) = block1.filter(|_| request.fault.is_none()) else { return Ok(self.limit(request)) };
        let part = Part {
            identity: Identity {
                method: request.method,
                path: request.path.clone(),
                query: request.query.clone(),
                tags,
            },
            block,
            whole_bytes: size1_bytes,
            content_format: request.content_format,
            payload: std::mem::take(&mut request.payload),
        };
        let (response, reason) = match self.uploads.push(now, key.peer, part) {
            Step::Complete(body) => return Ok(Request { payload: body, ..request }),
            Step::TooLarge { body_bytes, start } => {
                return Ok(Request { fault: Some(self.too_large(body_bytes)), payload: start, ..request });
            }
            Step::Continue => return Err(Response::new(Code::CONTINUE)),
            Step::BadLength => (
                Response::diagnostic(Code::BAD_REQUEST, "the payload does not fit the block size"),
                Dropped::Refused,
            ),
            Step::Incomplete => (
                Response::diagnostic(Code::REQUEST_ENTITY_INCOMPLETE, "not the next block"),
                Dropped::Incomplete,
            ),
            Step::Full => (overload(key.message_id), Dropped::UploadsFull),
        };
        self.host.dropped(reason);
        Err(response)
    }

    /// Finds the fault of a body that came in one datagram and is too large.
    fn limit(&self, request: Request) -> Request {
        let body_bytes = request.payload.len();
        if body_bytes <= self.settings.body_bytes_max {
            return request;
        }
        let fault = request.fault.unwrap_or(self.too_large(body_bytes));
        Request { fault: Some(fault), payload: Fault::start(&request.payload), ..request }
    }

    /// Ends a request with its answer, cut to the block the client asked for.
    pub(super) fn answer(&mut self, now: Instant, ticket: &Ticket, response: &Response) {
        let fault = ticket.fault.filter(|_| response.code.is_success()).map(Fault::response);
        let response = fault.as_ref().unwrap_or(response);
        let cut = match ticket.method {
            Method::Get | Method::Fetch if response.code.is_success() => {
                block::cut(&response.payload, ticket.block2)
            }
            _ => Cut::Whole,
        };
        let beyond = Response::diagnostic(Code::BAD_REQUEST, "no such block");
        let (response, slice) = match &cut {
            Cut::Whole => (response, None),
            Cut::Slice(slice) => (response, Some(slice)),
            Cut::Beyond => (&beyond, None),
        };
        // 2.31 echoes "more"; every other answer acknowledges the block and ends the upload.
        let block1 = ticket.block1.map(|block| block.with_more(response.code == Code::CONTINUE));
        let reply = if ticket.no_response.suppresses(response.code) {
            Reply::Suppressed
        } else {
            Reply::Response { response, block1, slice }
        };
        self.outbox.extend(self.exchanges.answer(now, ticket.key, reply));
        self.report();
    }

    /// Answers without remembering.
    fn refuse(&mut self, key: Key, envelope: &Envelope, response: &Response) {
        let Envelope { reliability, token, no_response, .. } = *envelope;
        self.outbox.extend(if no_response.suppresses(response.code) {
            self.exchanges.refuse_silently(key, reliability)
        } else {
            Some(self.exchanges.refuse(key, reliability, token, response))
        });
    }

    /// Sends what is due.
    pub(super) fn poll(&mut self, now: Instant) {
        self.outbox.extend(self.exchanges.poll(now));
        self.report();
    }

    /// Forgets what has lived its time.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.uploads.is_empty() {
            return;
        }
        for _ in 0..self.uploads.expire(now) {
            self.host.dropped(Dropped::UploadExpired);
        }
    }

    fn report(&mut self) {
        self.exchanges.take_dropped().for_each(|reason| self.host.dropped(reason));
    }

    fn too_large(&self, body_bytes: usize) -> Fault {
        Fault::TooLarge { body_bytes, body_bytes_max: self.settings.body_bytes_max }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self::diagnostic(refusal.code, refusal.text)
    }
}

/// The crate's own "come back later"; the message id spreads the devices.
fn overload(message_id: u16) -> Response {
    let max_age_s = OVERLOAD_MAX_AGE_S + u32::from(message_id) % (OVERLOAD_JITTER_S + 1);
    Response::new(Code::SERVICE_UNAVAILABLE).with_max_age_s(max_age_s)
}
