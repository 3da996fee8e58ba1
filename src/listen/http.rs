//! HTTP: `POST /ingest/{topic…}` to the door, its verdict to 202 or a problem document.
//!
//! The one table of refusals (CONTRACT §4) for HTTP is [`problem`] (RFC 9457, with JSON pointer, record and
//! line). Rights and overload are judged from the head, before the body is read. A refused message is kept as a
//! dead letter first, also one that is too large or has no readable topic. All other paths belong to the
//! embedder's [`Pages`]; the listener's `serve` says which of them exist here at all.

use std::sync::Arc;

use bytes::Bytes;
use httpd::{
    Admission, BadTarget, Dropped, Head, Host, Method, Oversize, Problem, Request, Response, Status,
};
use serde::Serialize;

use crate::access::{Origin, Principal, Unauthenticated};
use crate::config::Serve;
use crate::intake::Rejection;
use crate::model::{DeadLetter, Identity, Inbound, Media, Offset, Protocol, Reason};
use crate::telemetry::clock;

use super::identity;
use super::{Door, Verdict};

/// Largest body of a request to a page, in bytes.
const PAGE_BODY_BYTES_MAX: u64 = 64 * 1024;
/// The header of draft-ietf-httpapi-idempotency-key-header.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Port: what answers everything but `/ingest`. The application plugs in its pages here.
pub trait Pages: Send + Sync + 'static {
    /// The answer to a request; `None` where there is no such page. Must not block.
    fn page(&self, request: &Request) -> Option<Response>;
}

/// The embedder of the HTTP server: one for each listener.
pub(super) struct HttpHost {
    door: Arc<Door>,
    pages: Arc<dyn Pages>,
    serve: Vec<Serve>,
    message_bytes_max: usize,
}

/// What a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Area {
    /// `/healthz`, `/readyz`: open to everybody, on every listener.
    Health,
    /// A part that `serve` names.
    Part(Serve),
}

/// The body of a 202.
#[derive(Serialize)]
struct Accepted {
    accepted: u64,
    offset: Offset,
}

impl HttpHost {
    pub(super) fn new(door: Arc<Door>, pages: Arc<dyn Pages>, listener: &crate::config::Listener) -> Self {
        let (serve, message_bytes_max) = (listener.serve.clone(), listener.max_message_bytes);
        Self { door, pages, serve, message_bytes_max }
    }

    /// What is read of the body, or what is answered without it.
    fn judge(&self, head: &Head) -> Admission {
        let page = Admission::Read { body_bytes_max: PAGE_BODY_BYTES_MAX };
        let part = match area(head) {
            Area::Health => return page,
            Area::Part(part) => part,
        };
        if !self.serve.contains(&part) {
            return Admission::Answer(not_found());
        }
        if self.principal(head).is_err() {
            self.door.deny(Protocol::Http, head.raw_path());
            return Admission::Answer(unauthenticated());
        }
        if part == Serve::Ingest { self.judge_ingest(head) } else { page }
    }

    fn judge_ingest(&self, head: &Head) -> Admission {
        if head.method() != Method::Post {
            return Admission::Answer(Response::method_not_allowed(&[Method::Post]));
        }
        if self.door.is_congested() {
            return Admission::Answer(self.later(Reason::Overload));
        }
        Admission::Read { body_bytes_max: self.message_bytes_max as u64 }
    }

    fn principal(&self, head: &Head) -> Result<Principal, Unauthenticated> {
        let origin = match head.peer() {
            _ if head.is_forwarded() => Origin::Forwarded,
            Some(peer) => Origin::Peer(peer),
            None => Origin::Unknown,
        };
        self.door.principal(origin)
    }

    async fn ingest(&self, request: Request) -> Response {
        let Ok(principal) = self.principal(&request.head) else { return unauthenticated() };
        let topic = match topic(&request.head) {
            Ok(topic) => topic,
            Err(rejection) => {
                let length_bytes = request.body.len() as u64;
                return self.refuse(&request.head, rejection, request.body, length_bytes).await;
            }
        };
        let head = &request.head;
        let inbound = Inbound {
            protocol: Protocol::Http,
            principal: principal.name().clone(),
            identity: identity::http(&principal, &topic, head.header(IDEMPOTENCY_KEY)),
            topic: topic.into(),
            media: head.content_type().map_or(Media::Unsaid, super::media_type),
            payload: request.body,
            received: clock::now(),
        };
        match self.door.admit(vec![inbound]).await.pop() {
            Some(Verdict::Accepted { readings, offset, .. }) => {
                Response::json(Status::ACCEPTED, &Accepted { accepted: readings, offset })
            }
            Some(Verdict::Refused(rejection)) => problem(&rejection),
            Some(Verdict::Later(reason)) => self.later(reason),
            None => Response::new(Status::INTERNAL_SERVER_ERROR),
        }
    }

    /// 503 and when to come back.
    fn later(&self, reason: Reason) -> Response {
        let text = match reason {
            Reason::Disk => "the journal cannot be written now",
            _ => "the gateway is behind",
        };
        problem(&Rejection::new(reason, text)).retry_after(self.door.retry_after())
    }

    async fn refuse_too_large(&self, oversize: Oversize) -> Response {
        let limit = oversize.body_bytes_max;
        // Of a body in chunks no more is known than that it is larger than allowed.
        let length_bytes = oversize.declared_bytes.unwrap_or(limit + 1);
        let text = format!("body of {length_bytes} bytes or more exceeds {limit}");
        let rejection = Rejection::new(Reason::TooLarge, text);
        match self.keep(&oversize.head, &rejection, oversize.start.clone(), length_bytes).await {
            Ok(()) => oversize.into_response(),
            Err(response) => response,
        }
    }

    async fn refuse_bad_target(&self, request: BadTarget) -> Response {
        let rejection = Rejection::new(Reason::Malformed, request.error.to_string());
        let start_bytes = request.start.len() as u64;
        let length_bytes = request.head.content_bytes().map_or(start_bytes, |bytes| bytes.max(start_bytes));
        self.refuse(&request.head, rejection, request.start, length_bytes).await
    }

    async fn refuse(&self, head: &Head, rejection: Rejection, payload: Bytes, length_bytes: u64) -> Response {
        match self.keep(head, &rejection, payload, length_bytes).await {
            Ok(()) => problem(&rejection),
            Err(response) => response,
        }
    }

    /// Keeps what never became a message; `Err` is the answer where that cannot be.
    async fn keep(
        &self,
        head: &Head,
        rejection: &Rejection,
        payload: Bytes,
        length_bytes: u64,
    ) -> Result<(), Response> {
        let principal = self.principal(head).map_err(|Unauthenticated| unauthenticated())?;
        let letter = DeadLetter {
            source: "".into(),
            reason: rejection.reason,
            detail: rejection.to_string(),
            topic: topic(head).unwrap_or_else(|_| raw_topic(head).to_owned()).into(),
            principal: principal.name().clone(),
            received: clock::now(),
            line: None,
            payload,
            length_bytes,
            identity: Identity::None,
        };
        self.door.refuse(Protocol::Http, letter).await.map_err(|reason| self.later(reason))
    }
}

impl Host for HttpHost {
    fn admit(&self, head: &Head) -> Admission {
        self.judge(head)
    }

    async fn handle(&self, request: Request) -> Response {
        match area(&request.head) {
            Area::Part(Serve::Ingest) => self.ingest(request).await,
            _ => self.pages.page(&request).unwrap_or_else(not_found),
        }
    }

    async fn too_large(&self, oversize: Oversize) -> Response {
        self.dropped(Dropped::BodyTooLarge);
        match area(&oversize.head) {
            Area::Part(Serve::Ingest) => self.refuse_too_large(oversize).await,
            _ => oversize.into_response(),
        }
    }

    async fn bad_target(&self, request: BadTarget) -> Response {
        self.dropped(Dropped::BadTarget);
        match (area(&request.head), self.judge(&request.head)) {
            (_, Admission::Answer(response)) => response,
            (Area::Part(Serve::Ingest), _) => self.refuse_bad_target(request).await,
            _ => request.into_response(),
        }
    }

    fn dropped(&self, reason: Dropped) {
        self.door.dropped(Protocol::Http, reason.label());
    }
}

fn area(head: &Head) -> Area {
    let mut segments = head.segments();
    match (segments.next(), segments.next()) {
        (Some("healthz" | "readyz"), None) => Area::Health,
        (Some("ingest"), _) => Area::Part(Serve::Ingest),
        (Some("metrics"), None) => Area::Part(Serve::Metrics),
        (Some("api"), _) => Area::Part(Serve::Api),
        _ => Area::Part(Serve::Console),
    }
}

/// The topic path behind `/ingest/`. What is a separator or wildcard elsewhere cannot be part of a level.
fn topic(head: &Head) -> Result<String, Rejection> {
    let levels: Vec<&str> = head.segments().skip(1).collect();
    let is_level = |level: &&str| !level.contains(['/', '+', '#', '\0']);
    match levels.iter().find(|level| !is_level(level)) {
        Some(level) => {
            let text = format!("topic level {level:?} holds a separator, wildcard or NUL");
            Err(Rejection::new(Reason::Malformed, text))
        }
        None => Ok(levels.join("/")),
    }
}

/// The topic path as it came, still percent-encoded: what is said of one that is none.
fn raw_topic(head: &Head) -> &str {
    let path = head.raw_path();
    path.strip_prefix("/ingest/").unwrap_or(path)
}

fn not_found() -> Response {
    Problem::new(Status::NOT_FOUND, "/problems/not_found", "Not Found").into_response()
}

fn unauthenticated() -> Response {
    problem(&Rejection::new(Reason::Unauthenticated, Unauthenticated.to_string()))
        .with_header("www-authenticate", "Basic realm=\"forebay\"")
}

/// CONTRACT §4, the column of HTTP.
fn problem(rejection: &Rejection) -> Response {
    let (status, title) = match rejection.reason {
        Reason::Malformed => (Status::BAD_REQUEST, "Malformed Payload"),
        Reason::Schema => (Status::UNPROCESSABLE_CONTENT, "Schema Violated"),
        Reason::Unit => (Status::UNPROCESSABLE_CONTENT, "Unknown Unit"),
        Reason::Time => (Status::UNPROCESSABLE_CONTENT, "Unusable Time"),
        Reason::Field => (Status::UNPROCESSABLE_CONTENT, "Unusable Field"),
        Reason::Unmatched => (Status::NOT_FOUND, "No Source For Topic"),
        Reason::UnsupportedFormat => (Status::UNSUPPORTED_MEDIA_TYPE, "Unsupported Format"),
        Reason::TooLarge => (Status::CONTENT_TOO_LARGE, "Content Too Large"),
        Reason::Forbidden => (Status::FORBIDDEN, "Forbidden"),
        Reason::SensorForbidden => (Status::FORBIDDEN, "Sensor Forbidden"),
        Reason::Unauthenticated => (Status::UNAUTHORIZED, "Unauthenticated"),
        Reason::Rate => (Status::TOO_MANY_REQUESTS, "Too Many Requests"),
        Reason::Overload => (Status::SERVICE_UNAVAILABLE, "Overloaded"),
        Reason::Disk => (Status::SERVICE_UNAVAILABLE, "Disk Unavailable"),
    };
    let mut problem = Problem::new(status, format!("/problems/{}", rejection.reason), title);
    problem = problem.detail(rejection.to_string());
    if let Some(pointer) = &rejection.pointer {
        problem = problem.pointer(pointer.clone());
    }
    if let Some(record) = rejection.record {
        problem = problem.with("record", record);
    }
    if let Some(line) = rejection.line {
        problem = problem.with("line", line);
    }
    problem.into_response()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[test]
    fn the_table_of_refusals() {
        use Reason as R;
        let table: [(&[Reason], u16); 9] = [
            (&[R::Malformed], 400),
            (&[R::Schema, R::Unit, R::Time, R::Field], 422),
            (&[R::Unmatched], 404),
            (&[R::UnsupportedFormat], 415),
            (&[R::TooLarge], 413),
            (&[R::Forbidden, R::SensorForbidden], 403),
            (&[R::Unauthenticated], 401),
            (&[R::Rate], 429),
            (&[R::Overload, R::Disk], 503),
        ];
        assert_eq!(table.iter().map(|row| row.0.len()).sum::<usize>(), Reason::ALL.len());
        for (reasons, want) in table {
            for reason in reasons {
                let response = problem(&Rejection::new(*reason, "why"));
                assert_eq!(response.status().code(), want, "{reason}");
                let body: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
                assert_eq!(body["type"], format!("/problems/{reason}"));
            }
        }
    }

    fn check(rejection: Rejection, expected: Expect) {
        expected.assert_eq(str::from_utf8(problem(&rejection).body()).expect("UTF-8"));
    }

    #[test]
    fn a_problem_says_where() {
        let rejection = Rejection::new(Reason::Schema, "900 is greater than the maximum of 400");
        check(
            rejection.clone(),
            expect![[
                r#"{"type":"/problems/schema","title":"Schema Violated","status":422,"detail":"900 is greater than the maximum of 400"}"#
            ]],
        );
        let (pointer, record) = (Some("/3/speed_kmh".into()), Some(3));
        check(
            Rejection { pointer, record, ..rejection.clone() },
            expect![[
                r#"{"type":"/problems/schema","title":"Schema Violated","status":422,"detail":"/3/speed_kmh: 900 is greater than the maximum of 400","pointer":"/3/speed_kmh","record":3}"#
            ]],
        );
        let (pointer, line) = (Some("/speed_kmh".into()), Some(17));
        check(
            Rejection { pointer, line, ..rejection },
            expect![[
                r#"{"type":"/problems/schema","title":"Schema Violated","status":422,"detail":"/speed_kmh: 900 is greater than the maximum of 400","pointer":"/speed_kmh","line":17}"#
            ]],
        );
    }

    #[test]
    fn paths_have_areas_and_topics() {
        let head = |path| Head::new(Method::Post, path).expect("a path");
        let table = [
            ("/healthz", Area::Health),
            ("/readyz", Area::Health),
            ("/readyz/x", Area::Part(Serve::Console)),
            ("/ingest/a", Area::Part(Serve::Ingest)),
            ("/metrics", Area::Part(Serve::Metrics)),
            ("/api/v1/status", Area::Part(Serve::Api)),
            ("/", Area::Part(Serve::Console)),
            ("/app.js", Area::Part(Serve::Console)),
        ];
        for (path, want) in table {
            assert_eq!(area(&head(path)), want, "{path}");
        }
        let topics = [
            ("/ingest/fleet/v17/telemetry", Some("fleet/v17/telemetry")),
            ("/ingest/caf%C3%A9//x", Some("café//x")),
            ("/ingest", Some("")),
            ("/ingest/a%2Fb", None),
            ("/ingest/a/%23", None),
        ];
        for (path, want) in topics {
            assert_eq!(topic(&head(path)).ok().as_deref(), want, "{path}");
        }
    }
}
