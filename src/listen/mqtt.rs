//! MQTT: a burst of publishes to the door, its verdicts to reason codes.
//!
//! The one table of refusals (CONTRACT §4) for MQTT is [`answer`]. MQTT 3.1.1 has no refusal, so a final one is
//! a plain PUBACK there; what is not on disk gets no acknowledgement on either version, because a client
//! frees a message on any. There is no overload door: while an append waits, the socket is not read.
//!
//! Absent: roles (nothing is forbidden yet), subscriptions, relaying of what no source takes.

use std::net::SocketAddr;
use std::sync::Arc;

use mqtt::{
    CloseReason, Connect, ConnectRefusal, DisconnectCode, Evidence, Host, Message, ProtocolError, Qos,
    Refusal, RefusalCode, Version,
};

use crate::access::{Origin, Principal};
use crate::config::OnDenied;
use crate::intake::Rejection;
use crate::model::{DeadLetter, Identity, Inbound, Media, Protocol, Reason, Timestamp};
use crate::telemetry::clock;
use crate::telemetry::facts::{Fact, MessageDropped};

use super::identity;
use super::{Door, Verdict};

/// The embedder of the MQTT server.
pub(super) struct MqttHost {
    door: Arc<Door>,
}

/// A connected client.
pub(super) struct Session {
    principal: Principal,
    client_id: String,
    version: Version,
}

impl MqttHost {
    pub(super) fn new(door: Arc<Door>) -> Self {
        Self { door }
    }

    /// The answer to one message.
    fn settle(&self, session: &Session, qos: Qos, verdict: Verdict) -> mqtt::Verdict {
        if let (Qos::AtMostOnce, Verdict::Later(reason)) = (qos, &verdict) {
            MessageDropped { protocol: Protocol::Mqtt, reason: *reason }.record(&self.door.metrics);
        }
        answer(session.version, self.door.inside().on_denied, verdict)
    }
}

impl Host for MqttHost {
    type Session = Session;

    async fn connect(&self, request: Connect) -> Result<Arc<Session>, ConnectRefusal> {
        let origin = request.peer.map_or(Origin::Unknown, Origin::Peer);
        let principal = self.door.principal(origin).map_err(|_| {
            self.door.deny(Protocol::Mqtt, "");
            unauthenticated(&request)
        })?;
        Ok(Arc::new(Session { principal, client_id: request.client_id, version: request.version }))
    }

    async fn publish(&self, session: &Arc<Session>, burst: Vec<Message>) -> Vec<mqtt::Verdict> {
        let received = clock::now();
        let is_taken = |message: &Message| !message.topic.as_str().starts_with('$');
        let taken = burst.iter().filter(|message| is_taken(message));
        let inbound = taken.map(|message| inbound(session, message, received)).collect();
        let mut verdicts = self.door.admit(inbound).await.into_iter();
        let settle = |message: &Message| match is_taken(message).then(|| verdicts.next()).flatten() {
            Some(verdict) => self.settle(session, message.qos, verdict),
            // A bridge's `$SYS/broker/connection/…`: acknowledged and discarded.
            None => mqtt::Verdict::Accepted,
        };
        burst.iter().map(settle).collect()
    }

    fn closed(&self, session: &Arc<Session>, reason: &CloseReason) {
        tracing::debug!(client_id = ?session.client_id, %reason, "session closed");
    }

    async fn protocol_error(
        &self,
        peer: Option<SocketAddr>,
        session: Option<&Arc<Session>>,
        error: &ProtocolError,
    ) {
        tracing::debug!(?peer, %error, "protocol error");
        self.door.dropped(Protocol::Mqtt, error.label());
        if let Some(evidence) = error.evidence() {
            let principal = session.map_or_else(|| Arc::from(""), |session| session.principal.name().clone());
            let letter = letter(error, evidence, principal, clock::now());
            // The connection is closed whether or not the letter could be kept, which is counted.
            let _ = self.door.refuse(Protocol::Mqtt, letter).await;
        }
    }
}

fn inbound(session: &Session, message: &Message, received: Timestamp) -> Inbound {
    let content_type = message.properties.as_ref().and_then(|properties| properties.content_type.as_deref());
    Inbound {
        protocol: Protocol::Mqtt,
        principal: session.principal.name().clone(),
        topic: message.topic.as_str().into(),
        media: content_type.map_or(Media::Unsaid, super::media_type),
        payload: message.payload.clone(),
        received,
        identity: identity::mqtt(&session.client_id, message),
    }
}

/// CONNACK 0x86; on 3.1.1 it is 4 for credentials that do not count, 5 for none.
fn unauthenticated(request: &Connect) -> ConnectRefusal {
    let has_credentials = request.username.is_some() || request.password.is_some();
    match request.version {
        Version::V311 if !has_credentials => ConnectRefusal::NotAuthorized,
        _ => ConnectRefusal::BadCredentials,
    }
}

/// CONTRACT §4, the columns of MQTT 5 and 3.1.1.
fn answer(version: Version, on_denied: OnDenied, verdict: Verdict) -> mqtt::Verdict {
    let rejection = match verdict {
        Verdict::Accepted { .. } => return mqtt::Verdict::Accepted,
        Verdict::Later(_) => return mqtt::Verdict::Later,
        Verdict::Refused(rejection) => rejection,
    };
    let code = match rejection.reason {
        Reason::Malformed
        | Reason::Schema
        | Reason::Unit
        | Reason::Time
        | Reason::Field
        | Reason::UnsupportedFormat => RefusalCode::PayloadFormatInvalid,
        Reason::Unmatched => RefusalCode::TopicNameInvalid,
        Reason::Forbidden | Reason::SensorForbidden | Reason::Unauthenticated => {
            if version == Version::V311 && on_denied == OnDenied::Close {
                return mqtt::Verdict::Close(DisconnectCode::NotAuthorized);
            }
            RefusalCode::NotAuthorized
        }
        Reason::TooLarge => return mqtt::Verdict::Close(DisconnectCode::PacketTooLarge),
        Reason::Rate | Reason::Overload | Reason::Disk => return mqtt::Verdict::Later,
    };
    mqtt::Verdict::Refused(Refusal { code, reason: reason_string(&rejection) })
}

/// `schema: /speed_kmh: 900 is greater than the maximum of 400`.
fn reason_string(rejection: &Rejection) -> String {
    format!("{}: {rejection}", rejection.reason)
}

/// A publish that is no message: its length or its topic's name is not allowed.
fn letter(
    error: &ProtocolError,
    evidence: &Evidence,
    principal: Arc<str>,
    received: Timestamp,
) -> DeadLetter {
    let topic = match str::from_utf8(&evidence.topic) {
        Ok(topic) => topic.into(),
        Err(_) => evidence.topic.escape_ascii().to_string().into(),
    };
    let reason = match error {
        ProtocolError::TooLarge { .. } => Reason::TooLarge,
        _ => Reason::Malformed,
    };
    DeadLetter {
        source: "".into(),
        reason,
        detail: error.to_string(),
        topic,
        principal,
        received,
        line: None,
        payload: evidence.payload.clone(),
        length_bytes: evidence.announced_bytes as u64,
        identity: Identity::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Offset;

    fn refused(reason: Reason) -> Verdict {
        Verdict::Refused(Rejection::new(reason, "why"))
    }

    /// The code of the PUBACK or of the DISCONNECT, as the contract writes it.
    fn code(version: Version, on_denied: OnDenied, verdict: Verdict) -> String {
        match answer(version, on_denied, verdict) {
            mqtt::Verdict::Accepted => "0x00".into(),
            mqtt::Verdict::Later => "not read".into(),
            mqtt::Verdict::Close(code) => format!("{:#04x}, close", code as u8),
            mqtt::Verdict::Refused(refusal) => format!("{:?}", refusal.code),
        }
    }

    #[test]
    fn the_table_of_refusals() {
        use Reason as R;
        let table: [(&[Reason], &str, &str); 6] = [
            (
                &[R::Malformed, R::Schema, R::Unit, R::Time, R::Field, R::UnsupportedFormat],
                "PayloadFormatInvalid",
                "PayloadFormatInvalid",
            ),
            (&[R::Unmatched], "TopicNameInvalid", "TopicNameInvalid"),
            (&[R::TooLarge], "0x95, close", "0x95, close"),
            (&[R::Forbidden, R::SensorForbidden], "NotAuthorized", "0x87, close"),
            (&[R::Unauthenticated], "NotAuthorized", "0x87, close"),
            (&[R::Rate, R::Overload, R::Disk], "not read", "not read"),
        ];
        assert_eq!(table.iter().map(|row| row.0.len()).sum::<usize>(), Reason::ALL.len());
        for (reasons, want, want_close_v311) in table {
            for reason in reasons {
                let at = |version, on_denied| code(version, on_denied, refused(*reason));
                assert_eq!(at(Version::V5, OnDenied::Ack), want, "{reason}");
                assert_eq!(at(Version::V5, OnDenied::Close), want, "{reason}");
                assert_eq!(at(Version::V311, OnDenied::Ack), want, "{reason}");
                assert_eq!(at(Version::V311, OnDenied::Close), want_close_v311, "{reason}");
            }
        }
        let accepted = Verdict::Accepted { readings: 1, offset: Offset(0), is_duplicate: true };
        assert_eq!(code(Version::V5, OnDenied::Ack, accepted), "0x00");
        assert_eq!(code(Version::V5, OnDenied::Ack, Verdict::Later(R::Disk)), "not read");
    }

    #[test]
    fn a_connect_without_rights_is_answered_by_version() {
        let connect = |version, username: Option<&str>| Connect {
            client_id: "c".into(),
            version,
            username: username.map(str::to_owned),
            password: None,
            peer: None,
            clean: true,
            keep_alive_s: 0,
            will: None,
        };
        use ConnectRefusal::{BadCredentials, NotAuthorized};
        let table = [
            (Version::V5, None, BadCredentials),
            (Version::V5, Some("u"), BadCredentials),
            (Version::V311, None, NotAuthorized),
            (Version::V311, Some("u"), BadCredentials),
        ];
        for (version, username, want) in table {
            assert_eq!(unauthenticated(&connect(version, username)), want, "{version:?} {username:?}");
        }
    }
}
