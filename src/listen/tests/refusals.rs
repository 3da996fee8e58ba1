//! Hostile input on every protocol: a clear refusal by the table, a dead letter with reason and bytes, and a
//! gateway that goes on.

use ::coap::Code;
use ::coap::client::Call;
use ::mqtt::client::{ClientError, Publish};
use ::mqtt::{Qos, Version};

use crate::model::dead_letter::KEPT_BYTES_MAX;
use crate::model::{DeadLetter, Offset, Reason};

use super::harness::{self, MESSAGE_BYTES_MAX, Options, Site, TELEMETRY, TOPIC, run};

/// What is sent, why it is refused, and the codes of HTTP, CoAP and MQTT 5.
struct Case {
    topic: &'static str,
    payload: Vec<u8>,
    reason: Reason,
    codes: (u16, Code, u8),
}

fn cases() -> Vec<Case> {
    let malformed = (400, Code::BAD_REQUEST, 0x99);
    let case =
        |payload: &[u8], reason, codes| Case { topic: TOPIC, payload: payload.to_vec(), reason, codes };
    let schema = (422, Code::UNPROCESSABLE_ENTITY, 0x99);
    let unmatched = (404, Code::NOT_FOUND, 0x90);
    vec![
        case(b"{\"speed_kmh\":", Reason::Malformed, malformed),
        case(b"{\"speed_kmh\":900}", Reason::Schema, schema),
        Case { topic: "nobody/here", ..case(TELEMETRY, Reason::Unmatched, unmatched) },
        case(&[b'['; 50_000], Reason::Malformed, malformed),
        // An array that says it has 2^64 - 1 elements.
        case(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", Reason::Malformed, malformed),
        case(b"{\"speed_kmh\":1e999}", Reason::Malformed, malformed),
    ]
}

fn seen(letters: &[DeadLetter]) -> Vec<(Reason, &str, &[u8])> {
    letters.iter().map(|letter| (letter.reason, &*letter.topic, &*letter.payload)).collect()
}

async fn assert_letters(site: &Site, cases: &[Case]) {
    let want: Vec<_> = cases.iter().map(|case| (case.reason, case.topic, &*case.payload)).collect();
    assert_eq!(seen(&site.letters().await), want);
    assert_eq!(site.journal.readings.durable(), Offset(0));
}

#[test]
fn over_mqtt() {
    for version in [Version::V5, Version::V311] {
        run(Options::default(), async |site: &Site| {
            let mut client = site.mqtt(version).await;
            let cases = cases();
            for (packet_id, case) in (1..).zip(&cases) {
                let publish = Publish::at_least_once(case.topic, &case.payload, packet_id);
                let want = if version == Version::V5 { case.codes.2 } else { 0 };
                assert_eq!(
                    site.publish(&mut client, &[publish]).await,
                    [(packet_id, want)],
                    "{}",
                    case.reason
                );
            }
            assert_letters(site, &cases).await;
            let taken = site.publish(&mut client, &[Publish::at_least_once(TOPIC, TELEMETRY, 9)]).await;
            assert_eq!(taken, [(9, 0)]);
        });
    }
}

#[test]
fn over_mqtt_what_closes_the_connection() {
    let large = vec![b'x'; 10_000_000];
    let bad_topic = Publish { topic: b"fleet/\xff", ..Publish::at_least_once("", TELEMETRY, 1) };
    let table = [
        (Publish::at_least_once(TOPIC, &large, 1), 0x95, Reason::TooLarge, TOPIC, &large[..KEPT_BYTES_MAX]),
        (bad_topic, 0x81, Reason::Malformed, "fleet/\\xff", TELEMETRY),
        (
            Publish { qos: Qos::AtMostOnce, packet_id: 0, ..bad_topic },
            0x81,
            Reason::Malformed,
            "fleet/\\xff",
            TELEMETRY,
        ),
    ];
    for (publish, want, reason, topic, bytes) in table {
        for version in [Version::V5, Version::V311] {
            run(Options::default(), async |site: &Site| {
                let mut client = site.mqtt(version).await;
                let mut acks = Vec::new();
                // The second is there to be waited for: nobody answers a publish with QoS 0.
                let batch = [publish, Publish::at_least_once(TOPIC, TELEMETRY, 2)];
                let end = client.publish_batch(&batch, &mut acks).await;
                let is_told = match end {
                    Err(ClientError::Disconnected { code }) => version == Version::V5 && code == want,
                    // A server that closes may be faster than what the client still writes.
                    Err(ClientError::Io(_)) => version == Version::V311 || reason == Reason::TooLarge,
                    _ => false,
                };
                assert!(is_told && acks.is_empty(), "{version:?} {reason}: {end:?} {acks:?}");
                let letters = site.letters().await;
                assert_eq!(letters.len(), 1);
                assert_eq!((letters[0].reason, &*letters[0].topic), (reason, topic));
                assert!(
                    bytes.starts_with(&letters[0].payload) && letters[0].length_bytes >= bytes.len() as u64
                );
                let mut other = site.mqtt(version).await;
                let taken = site.publish(&mut other, &[Publish::at_least_once(TOPIC, TELEMETRY, 9)]).await;
                assert_eq!(taken, [(9, 0)]);
            });
        }
    }
}

#[test]
fn over_coap() {
    run(Options::default(), async |site: &Site| {
        let coap = site.coap().await;
        let cases = cases();
        for case in &cases {
            let call = Call::post(case.topic).untyped_body(case.payload.clone());
            let response = coap.call(&call).await.expect("an answer");
            assert_eq!(response.code, case.codes.1, "{}", case.reason);
            let text = String::from_utf8(response.payload.to_vec()).expect("a diagnostic text");
            assert!(text.starts_with(&format!("{}: ", case.reason)), "{text}");
        }
        assert_letters(site, &cases).await;
        let response = coap.call(&Call::post(TOPIC).body(99, TELEMETRY)).await.expect("an answer");
        assert_eq!(response.code, Code::UNSUPPORTED_CONTENT_FORMAT);
        let response = coap.call(&Call::post(TOPIC).body(50, TELEMETRY)).await.expect("an answer");
        assert_eq!(response.code, Code::CHANGED);
    });
}

/// Announced by Size1, or found out in the middle: kept with its beginning, and answered after that.
#[test]
fn over_coap_too_large_in_blocks() {
    run(Options { message_bytes_max: 5000, ..Options::default() }, async |site: &Site| {
        let coap = site.coap().await;
        let body: Vec<u8> = (0..10_000_u32).map(|at| at as u8).collect();
        let response = coap.call(&Call::post(TOPIC).body(50, body.clone())).await.expect("an answer");
        assert_eq!((response.code, response.size1_bytes), (Code::REQUEST_ENTITY_TOO_LARGE, Some(5000)));
        let letters = site.letters().await;
        assert_eq!(seen(&letters), [(Reason::TooLarge, TOPIC, &body[..1024])]);
        assert_eq!((letters[0].length_bytes, &*letters[0].principal), (10_000, "anonymous"));
        let socket = harness::udp().await;
        let block = |number: u8| harness::coap_block(number, &body[usize::from(number) * 1024..][..1024]);
        for number in 0..4 {
            let answer = harness::exchange(&socket, site.coap, &block(number)).await;
            assert_eq!(answer[1], 0x5f, "2.31: {answer:02x?}");
        }
        for _ in 0..3 {
            let answer = harness::exchange(&socket, site.coap, &block(4)).await;
            assert_eq!(answer[1], 0x8d, "4.13, the first time and from memory: {answer:02x?}");
        }
        let letters = site.letters().await;
        assert_eq!(seen(&letters[1..]), [(Reason::TooLarge, "up", &body[..KEPT_BYTES_MAX])]);
        assert_eq!(letters[1].length_bytes, 5 * 1024);
    });
}

/// A copy of a refused message has its answer from memory, and no second dead letter.
#[test]
fn over_coap_a_path_that_is_none() {
    run(Options::default(), async |site: &Site| {
        let socket = harness::udp().await;
        for _ in 0..3 {
            let post = harness::coap_post(1, b"a/\xff", TELEMETRY);
            let answer = harness::exchange(&socket, site.coap, &post).await;
            assert_eq!(answer[1], 0x80, "4.00: {answer:02x?}");
            assert!(answer.ends_with(b"malformed: a path segment is not utf-8"), "{answer:02x?}");
        }
        let answer = harness::exchange(&socket, site.coap, &harness::coap_post(2, b"a/..", b"1")).await;
        assert_eq!(answer[1], 0x80, "4.00: {answer:02x?}");
        let want: [(Reason, &str, &[u8]); 2] =
            [(Reason::Malformed, r"a/\xff", TELEMETRY), (Reason::Malformed, "a/..", b"1")];
        assert_eq!(seen(&site.letters().await), want);
    });
}

/// A body that arrives whole is kept with its topic and its beginning, and answered after that.
#[test]
fn over_coap_too_large_in_one_datagram() {
    run(Options { message_bytes_max: 5000, ..Options::default() }, async |site: &Site| {
        let socket = harness::udp().await;
        let large = [b'x'; 6000];
        let answer = harness::exchange(&socket, site.coap, &harness::coap_post(1, b"a/b", &large)).await;
        assert_eq!(answer[1], 0x8d, "4.13: {answer:02x?}");
        assert_eq!(seen(&site.letters().await), [(Reason::TooLarge, "a/b", &large[..KEPT_BYTES_MAX])]);
        assert_eq!(site.letters().await[0].length_bytes, 6000);
        let fits = harness::coap_post(2, TOPIC.as_bytes(), TELEMETRY);
        assert_eq!(harness::exchange(&socket, site.coap, &fits).await[1], 0x44, "2.04");
    });
}

#[test]
fn over_http() {
    run(Options::default(), async |site: &Site| {
        let cases = cases();
        for case in &cases {
            let answer = site.post(&format!("/ingest/{}", case.topic), "", &case.payload).await;
            assert_eq!(answer.status, case.codes.0, "{}", case.reason);
            assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
            assert!(answer.body.contains(&format!("\"/problems/{}\"", case.reason)), "{}", answer.body);
        }
        assert_letters(site, &cases).await;
        let answer = site.post("/ingest/fleet/v17/telemetry", "Content-Type: text/csv\r\n", TELEMETRY).await;
        assert_eq!(answer.status, 415);
        let answer = site.post("/ingest/fleet/v17/telemetry", "", TELEMETRY).await;
        assert_eq!(answer.status, 202);
    });
}

#[test]
fn over_http_a_path_that_is_none() {
    run(Options::default(), async |site: &Site| {
        let topics = ["a/%FF", "a/50%", "a%2Fb", "a/%23"];
        for path in topics {
            let answer = site.post(&format!("/ingest/{path}"), "", TELEMETRY).await;
            assert_eq!(answer.status, 400, "{path}");
            assert!(answer.body.contains("\"/problems/malformed\""), "{path}: {}", answer.body);
        }
        assert_eq!(site.post("/metrics/%FF", "", TELEMETRY).await.status, 404, "a part that is not served");
        assert_eq!(site.get("/ingest/%FF").await.status, 405);
        let want = topics.map(|topic| (Reason::Malformed, topic, TELEMETRY));
        let letters = site.letters().await;
        assert_eq!(seen(&letters), want);
        let lengths: Vec<_> = letters.iter().map(|letter| letter.length_bytes).collect();
        assert_eq!(lengths, [TELEMETRY.len() as u64; 4]);
    });
}

#[test]
fn over_http_too_large() {
    let large = vec![b'x'; 10_000_000];
    let chunk = format!("{:x}\r\n", large.len());
    let chunked = [
        b"POST /ingest/a/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        chunk.as_bytes(),
        &large,
    ]
    .concat();
    run(Options::default(), async |site: &Site| {
        let answer = site.post("/ingest/a/b", "", &large).await;
        assert_eq!(answer.status, 413);
        assert_eq!(site.http(&chunked).await.status, 413);
        let letters = site.letters().await;
        let kept = (Reason::TooLarge, "a/b", &large[..KEPT_BYTES_MAX]);
        assert_eq!(seen(&letters), [kept, kept]);
        let lengths: Vec<_> = letters.iter().map(|letter| letter.length_bytes).collect();
        assert_eq!(lengths, [10_000_000, MESSAGE_BYTES_MAX as u64 + 1]);
    });
}
