//! CoAP: a burst of requests to the door, its verdicts to response codes.
//!
//! POST and PUT carry a message, their path is the topic; `GET /.well-known/core` says where (RFC 6690). The
//! one table of refusals (CONTRACT §4) for CoAP is [`refusal`]; a diagnostic payload is the reason's word and
//! the detail. Overload is answered before options and payload are decoded. What the server could not make a
//! message of (too large, no readable path) is kept as a dead letter before it is refused.
//!
//! Absent: Observe, FETCH and iPATCH, reading of values.

use std::sync::Arc;

use bytes::Bytes;
use coap::{Code, Dropped, Fault, Host, Method, Request, Response};
use futures_util::future;

use crate::access::{Origin, Principal};
use crate::intake::Rejection;
use crate::model::{DeadLetter, Identity, Inbound, Media, Protocol, Reason, Timestamp};
use crate::telemetry::clock;

use super::identity;
use super::{Door, Verdict};

/// application/link-format (RFC 6690).
const LINK_FORMAT: u16 = 40;
/// Where RFC 6690 has its list.
const CORE_PATH: &str = ".well-known/core";
/// Content formats a source may take: SenML JSON and CBOR, JSON, CBOR.
const CONTENT_FORMATS: &str = "110 112 50 60";

/// The embedder of the CoAP server.
pub(super) struct CoapHost {
    door: Arc<Door>,
}

/// What is done with a request.
enum Plan {
    /// Answered without the door.
    Answer(Response),
    /// No message, but kept.
    Refuse(Fault, DeadLetter),
    /// A message.
    Admit(Inbound),
}

impl CoapHost {
    pub(super) fn new(door: Arc<Door>) -> Self {
        Self { door }
    }

    fn plan(&self, request: Request, received: Timestamp) -> Plan {
        match request.method {
            Method::Post | Method::Put if request.path != CORE_PATH => {}
            Method::Get if request.path == CORE_PATH => {
                return Plan::Answer(Response::content(LINK_FORMAT, links(&self.door)));
            }
            _ => return Plan::Answer(Response::new(Code::METHOD_NOT_ALLOWED)),
        }
        match (self.door.principal(Origin::Peer(request.peer)), request.fault) {
            (Err(_), _) => {
                self.door.deny(Protocol::Coap, &request.path);
                Plan::Answer(Response::diagnostic(Code::UNAUTHORIZED, Reason::Unauthenticated.as_str()))
            }
            (Ok(principal), Some(fault)) => Plan::Refuse(fault, letter(fault, request, principal, received)),
            (Ok(principal), None) => Plan::Admit(inbound(request, principal, received)),
        }
    }

    /// Keeps what there is of a request, then refuses it.
    async fn refuse(&self, fault: Fault, letter: DeadLetter) -> Response {
        let rejection = Rejection::new(letter.reason, fault.to_string());
        match self.door.refuse(Protocol::Coap, letter).await {
            Ok(()) => Response { size1_bytes: fault.response().size1_bytes, ..refusal(&rejection) },
            Err(reason) => self.later(reason),
        }
    }

    fn answer(&self, verdict: Verdict) -> Response {
        match verdict {
            Verdict::Accepted { .. } => Response::new(Code::CHANGED),
            Verdict::Refused(rejection) => refusal(&rejection),
            Verdict::Later(reason) => self.later(reason),
        }
    }

    /// 5.03 and when to come back.
    fn later(&self, reason: Reason) -> Response {
        let max_age_s = u32::try_from(self.door.retry_after().as_secs()).unwrap_or(u32::MAX);
        Response::diagnostic(Code::SERVICE_UNAVAILABLE, reason.as_str()).with_max_age_s(max_age_s)
    }
}

impl Host for CoapHost {
    fn door(&self) -> Option<Response> {
        self.door.is_congested().then(|| self.later(Reason::Overload))
    }

    async fn handle(&self, burst: Vec<Request>) -> Vec<Response> {
        let received = clock::now();
        let mut answers = vec![None; burst.len()];
        let (mut inbound, mut places, mut faulty) = (Vec::with_capacity(burst.len()), Vec::new(), Vec::new());
        for (place, request) in burst.into_iter().enumerate() {
            match self.plan(request, received) {
                Plan::Answer(response) => answers[place] = Some(response),
                Plan::Refuse(fault, letter) => {
                    faulty.push(async move { (place, self.refuse(fault, letter).await) });
                }
                Plan::Admit(message) => {
                    inbound.push(message);
                    places.push(place);
                }
            }
        }
        let (verdicts, refused) = future::join(self.door.admit(inbound), future::join_all(faulty)).await;
        let admitted = places.into_iter().zip(verdicts.into_iter().map(|verdict| self.answer(verdict)));
        admitted.chain(refused).for_each(|(place, response)| answers[place] = Some(response));
        let missing = || Response::new(Code::INTERNAL_SERVER_ERROR);
        answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
    }

    fn dropped(&self, reason: Dropped) {
        self.door.dropped(Protocol::Coap, reason.as_str());
    }
}

fn inbound(request: Request, principal: Principal, received: Timestamp) -> Inbound {
    Inbound {
        protocol: Protocol::Coap,
        principal: principal.name().clone(),
        identity: identity::coap(&request),
        topic: request.path.into(),
        media: request.content_format.map_or(Media::Unsaid, Media::ContentFormat),
        payload: request.payload,
        received,
    }
}

/// A request that is no message: its length or its path is not allowed.
fn letter(fault: Fault, request: Request, principal: Principal, received: Timestamp) -> DeadLetter {
    let (reason, length_bytes) = match fault {
        Fault::TooLarge { body_bytes, .. } => (Reason::TooLarge, body_bytes),
        Fault::PathNotUtf8 | Fault::PathSegment => (Reason::Malformed, request.payload.len()),
    };
    DeadLetter {
        source: "".into(),
        reason,
        detail: fault.to_string(),
        topic: request.path.into(),
        principal: principal.name().clone(),
        received,
        line: None,
        payload: request.payload,
        length_bytes: length_bytes as u64,
        identity: Identity::None,
    }
}

/// CONTRACT §4, the column of CoAP, with the word and the detail as diagnostic payload.
fn refusal(rejection: &Rejection) -> Response {
    let code = match rejection.reason {
        Reason::Malformed => Code::BAD_REQUEST,
        Reason::Schema | Reason::Unit | Reason::Time | Reason::Field => Code::UNPROCESSABLE_ENTITY,
        Reason::Unmatched => Code::NOT_FOUND,
        Reason::UnsupportedFormat => Code::UNSUPPORTED_CONTENT_FORMAT,
        Reason::TooLarge => Code::REQUEST_ENTITY_TOO_LARGE,
        Reason::Forbidden | Reason::SensorForbidden => Code::FORBIDDEN,
        Reason::Unauthenticated => Code::UNAUTHORIZED,
        Reason::Rate => Code::TOO_MANY_REQUESTS,
        Reason::Overload | Reason::Disk => Code::SERVICE_UNAVAILABLE,
    };
    Response::diagnostic(code, format!("{}: {rejection}", rejection.reason))
}

/// One link for each first level a source takes: `</fleet>;rt="forebay.ingest";ct="110 112 50 60"`.
fn links(door: &Door) -> Bytes {
    let link =
        |root: &Arc<str>| format!("</{}>;rt=\"forebay.ingest\";ct=\"{CONTENT_FORMATS}\"", encoded(root));
    door.inside().roots.iter().map(link).collect::<Vec<_>>().join(",").into()
}

/// A path segment with everything but RFC 3986's unreserved characters escaped.
fn encoded(segment: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape = |byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    segment.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_refusals() {
        use Reason as R;
        let table: [(&[Reason], &str); 9] = [
            (&[R::Malformed], "4.00"),
            (&[R::Schema, R::Unit, R::Time, R::Field], "4.22"),
            (&[R::Unmatched], "4.04"),
            (&[R::UnsupportedFormat], "4.15"),
            (&[R::TooLarge], "4.13"),
            (&[R::Forbidden, R::SensorForbidden], "4.03"),
            (&[R::Unauthenticated], "4.01"),
            (&[R::Rate], "4.29"),
            (&[R::Overload, R::Disk], "5.03"),
        ];
        assert_eq!(table.iter().map(|row| row.0.len()).sum::<usize>(), Reason::ALL.len());
        for (reasons, want) in table {
            for reason in reasons {
                let response = refusal(&Rejection::new(*reason, "why"));
                assert_eq!(response.code.to_string(), want, "{reason}");
                assert_eq!(response.payload, format!("{reason}: why"), "{reason}");
            }
        }
    }

    #[test]
    fn segments_of_links_are_escaped() {
        assert_eq!(encoded("fleet"), "fleet");
        assert_eq!(encoded("a b>,é"), "a%20b%3E%2C%C3%A9");
    }
}
