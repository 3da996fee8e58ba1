//! Message identities: what each protocol calls "the same message", as a hash that outlives connections,
//! restarts and releases (pure).
//!
//! Only what a retransmission repeats goes in. A copy has everything in common with its original, so more
//! inputs than the protocol's own (the topic, the payload) only make false matches rarer.

use std::net::IpAddr;

use crate::access::Principal;
use crate::journal::identity::of_message;
use crate::model::Identity;

/// Seconds for which a CoAP message id means the same confirmable message (RFC 7252 §4.8.2).
const EXCHANGE_LIFETIME_S: u32 = 247;
/// The same for a non-confirmable one.
const NON_LIFETIME_S: u32 = 145;

/// Identity of a publish: client, packet id, topic, payload. Packet ids are used again and again, so a first
/// transmission is remembered but not looked up, at QoS 2 too (`mosquitto_pub` always begins with packet id 1, and
/// equal readings are legitimate): every copy over a new connection carries DUP (MQTT 3.1.1 §4.4), and within
/// one the connection knows. QoS 0 and wills have none.
pub fn mqtt(client_id: &str, message: &mqtt::Message) -> Identity {
    if message.qos == mqtt::Qos::AtMostOnce || message.is_will {
        return Identity::None;
    }
    let hash = of_message(&[
        b"mqtt",
        client_id.as_bytes(),
        &message.packet_id.to_be_bytes(),
        message.topic.as_bytes(),
        &message.payload,
    ]);
    if message.dup { Identity::Match(hash) } else { Identity::Remember(hash) }
}

/// Identity of a request: endpoint, message id, token, path, payload (RFC 7252 §4.2). A copy that this process
/// has seen never gets here; this one is for copies of what a process before it has seen.
pub fn coap(request: &coap::Request) -> Identity {
    let lifetime_s = match request.reliability {
        coap::Reliability::Confirmable => EXCHANGE_LIFETIME_S,
        coap::Reliability::NonConfirmable => NON_LIFETIME_S,
    };
    let hash = of_message(&[
        b"coap",
        &address(request.peer.ip()),
        &request.peer.port().to_be_bytes(),
        &request.message_id.to_be_bytes(),
        request.token.as_slice(),
        request.path.as_bytes(),
        &request.payload,
    ]);
    Identity::MatchWithin(hash, lifetime_s)
}

/// Identity of a request with an `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): principal,
/// topic, key. None without a key.
pub fn http(principal: &Principal, topic: &str, key: Option<&str>) -> Identity {
    key.map_or(Identity::None, |key| {
        let parts = [b"http", principal.name().as_bytes(), topic.as_bytes(), key.trim().as_bytes()];
        Identity::Match(of_message(&parts))
    })
}

/// One form for an address, whatever the socket's family.
fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::access::{Access, Origin, Reach};

    fn publish(qos: mqtt::Qos) -> mqtt::Message {
        mqtt::Message {
            topic: mqtt::Topic::new(Bytes::from_static(b"fleet/v1")).expect("a topic"),
            payload: Bytes::from_static(b"{}"),
            properties: None,
            qos,
            packet_id: 7,
            dup: false,
            retain: false,
            is_will: false,
        }
    }

    #[test]
    fn a_publish_is_looked_up_when_it_may_be_a_copy() {
        let first = mqtt("c", &publish(mqtt::Qos::AtLeastOnce));
        assert!(matches!(first, Identity::Remember(_)), "{first:?}");
        let again = mqtt("c", &mqtt::Message { dup: true, ..publish(mqtt::Qos::AtLeastOnce) });
        assert_eq!(Some(again), first.hash().map(Identity::Match));
        assert!(matches!(mqtt("c", &publish(mqtt::Qos::ExactlyOnce)), Identity::Remember(_)));
        assert_eq!(mqtt("c", &publish(mqtt::Qos::AtMostOnce)), Identity::None);
        let will = mqtt::Message { is_will: true, ..publish(mqtt::Qos::AtLeastOnce) };
        assert_eq!(mqtt("c", &will), Identity::None);
    }

    #[test]
    fn another_message_has_another_identity() {
        let base = publish(mqtt::Qos::AtLeastOnce);
        let others = [
            mqtt("d", &base),
            mqtt("c", &mqtt::Message { packet_id: 8, ..base.clone() }),
            mqtt("c", &mqtt::Message { payload: Bytes::from_static(b"[]"), ..base.clone() }),
        ];
        others.into_iter().for_each(|other| assert_ne!(other.hash(), mqtt("c", &base).hash()));
        let request = coap::Request {
            peer: "10.0.0.1:5683".parse().expect("an address"),
            method: coap::Method::Post,
            fault: None,
            path: "a".into(),
            query: Vec::new(),
            content_format: None,
            accept: None,
            payload: Bytes::from_static(b"1"),
            reliability: coap::Reliability::Confirmable,
            message_id: 1,
            token: coap::Token::new(b"t").expect("a short token"),
        };
        let others = [
            coap::Request { message_id: 2, ..request.clone() },
            coap::Request { token: coap::Token::default(), ..request.clone() },
            coap::Request { peer: "10.0.0.1:5684".parse().expect("an address"), ..request.clone() },
            coap::Request { payload: Bytes::from_static(b"2"), ..request.clone() },
        ];
        others.iter().for_each(|other| assert_ne!(coap(other), coap(&request)));
        let mapped =
            coap::Request { peer: "[::ffff:10.0.0.1]:5683".parse().expect("one"), ..request.clone() };
        assert_eq!(coap(&mapped), coap(&request));
    }

    #[test]
    fn a_key_is_one_principals() {
        let access = Access::new(Reach::Everywhere);
        let principal = access.principal(Origin::Unknown).expect("everybody may");
        assert_eq!(http(&principal, "a", None), Identity::None);
        assert_eq!(http(&principal, "a", Some("k ")), http(&principal, "a", Some("k")));
        assert_ne!(http(&principal, "a", Some("k")), http(&principal, "b", Some("k")));
        assert_ne!(http(&principal, "a", Some("k")), http(&principal, "a", Some("l")));
    }

    /// The journal keeps identities over releases: the same message must hash the same for ever.
    #[test]
    fn identities_are_stable_over_releases() {
        let at = |identity: Identity| identity.hash().map(|hash| format!("{hash:016x}"));
        expect_test::expect![[r#"Some("1d041b6e5d099d95")"#]]
            .assert_eq(&format!("{:?}", at(mqtt("c", &publish(mqtt::Qos::AtLeastOnce)))));
    }
}
