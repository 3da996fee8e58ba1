//! Listeners as devices meet them: real sockets on loopback, a real journal, the protocol crates' own clients.

mod exchange;
mod harness;
mod refusals;

use std::time::Duration;

use ::coap::Code;
use ::coap::client::Call;
use ::mqtt::Version;
use ::mqtt::client::{ClientError, Publish};
use futures_util::future;
use tokio::time::timeout;

use crate::access::ANONYMOUS;
use crate::config::Anonymous;
use crate::journal::Work;
use crate::model::Offset;

use super::{Level, Pressure};

use harness::{Options, Site, TELEMETRY, TOPIC, run};

/// Long enough for what must not happen to happen.
const A_WHILE: Duration = Duration::from_millis(300);

#[test]
fn an_answer_means_on_disk() {
    // The second message of each pair has to wait for the next sync; an early answer would be seen.
    run(Options { linger: Duration::from_millis(100), ..Options::default() }, async |site: &Site| {
        let durable = || site.journal.readings.durable().0;
        let mut mqtt = site.mqtt(Version::V5).await;
        for packet_id in [1, 2] {
            let before = durable();
            let acks = site.publish(&mut mqtt, &[Publish::at_least_once(TOPIC, TELEMETRY, packet_id)]).await;
            assert_eq!((acks, durable()), (vec![(packet_id, 0)], before + 1));
        }
        let coap = site.coap().await;
        for _ in 0..2 {
            let before = durable();
            let response = coap.call(&Call::post(TOPIC).body(50, TELEMETRY)).await.expect("an answer");
            assert_eq!((response.code, durable()), (Code::CHANGED, before + 1));
        }
        for _ in 0..2 {
            let before = durable();
            let answer = site.post("/ingest/fleet/v17/telemetry", "", TELEMETRY).await;
            assert_eq!((answer.status, durable()), (202, before + 1));
            assert_eq!(answer.body, format!("{{\"accepted\":1,\"offset\":{before}}}"));
        }
        assert_eq!(site.metric("forebay_intake_accepted_total{source=\"fleet\"}"), 6.0);
        for protocol in ["mqtt", "coap", "http"] {
            assert_eq!(
                site.metric(&format!("forebay_listen_messages_total{{protocol=\"{protocol}\"}}")),
                2.0
            );
            assert_eq!(site.metric(&format!("forebay_ack_seconds_count{{protocol=\"{protocol}\"}}")), 2.0);
        }
    });
}

#[test]
fn copies_are_acknowledged_and_not_taken_again() {
    run(Options::default(), async |site: &Site| {
        let publish = Publish::at_least_once(TOPIC, TELEMETRY, 1);
        let mut first = site.mqtt(Version::V311).await;
        assert_eq!(site.publish(&mut first, &[publish]).await, [(1, 0)]);
        drop(first);
        let mut second = site.mqtt(Version::V311).await;
        assert_eq!(site.publish(&mut second, &[publish.resent()]).await, [(1, 0)]);
        assert_eq!(site.journal.readings.durable(), Offset(1));

        // To two servers, as to one that has restarted: neither remembers what the other has seen.
        let datagram = harness::coap_post(7, TOPIC.as_bytes(), TELEMETRY);
        let socket = harness::udp().await;
        for server in [site.coap, site.coap_too] {
            assert_eq!(harness::exchange(&socket, server, &datagram).await[1], 0x44, "2.04");
        }
        assert_eq!(site.journal.readings.durable(), Offset(2));

        let key = "Idempotency-Key: \"8e03978e\"\r\n";
        for _ in 0..2 {
            let answer = site.post("/ingest/fleet/v17/telemetry", key, TELEMETRY).await;
            assert_eq!((answer.status, &*answer.body), (202, "{\"accepted\":1,\"offset\":2}"));
        }
        assert_eq!(site.journal.readings.durable(), Offset(3));
        assert_eq!(site.metric("forebay_intake_duplicates_total{source=\"fleet\"}"), 3.0);
        assert_eq!(site.metric("forebay_intake_readings_total{source=\"fleet\"}"), 3.0);
    });
}

/// A topic of the bulk source.
const HISTORY: &str = "fleet/v17/history";

/// What CoAP and HTTP say to a message on each topic: code, status and reason.
async fn put_off(site: &Site) -> Vec<(String, u16)> {
    let coap = site.coap().await;
    let mut said = Vec::new();
    for topic in [TOPIC, HISTORY, "nobody/v17"] {
        let response = coap.call(&Call::post(topic).body(50, TELEMETRY)).await.expect("an answer");
        let text = String::from_utf8_lossy(&response.payload).into_owned();
        let answer = site.post(&format!("/ingest/{topic}"), "", TELEMETRY).await;
        assert_eq!(answer.status == 503, response.code == Code::SERVICE_UNAVAILABLE, "{topic}");
        assert_eq!(answer.head.contains("retry-after"), answer.status == 503, "{topic}");
        said.push((text.split(':').next().unwrap_or_default().to_owned(), answer.status));
    }
    said
}

#[test]
fn where_room_runs_out_bulk_sources_go_first() {
    run(Options::default(), async |site: &Site| {
        let said = |said: [(&str, u16); 3]| said.map(|(reason, status)| (reason.to_owned(), status));
        let (taken, unmatched, disk) = (("", 202), ("unmatched", 404), ("disk", 503));
        assert_eq!(put_off(site).await, said([taken, taken, unmatched]));
        site.room.set_disk(Level::Scarce);
        assert_eq!(put_off(site).await, said([taken, disk, unmatched]));
        site.room.set_disk(Level::Critical);
        assert_eq!(put_off(site).await, said([disk, disk, disk]));
        assert_eq!(site.metric("forebay_intake_rejected_total{reason=\"disk\",source=\"bulk\"}"), 4.0);
        site.room.set_disk(Level::Ample);
        site.room.set_pressed(Pressure::High);
        assert_eq!(put_off(site).await, said([taken, ("overload", 503), unmatched]));
        site.room.set_pressed(Pressure::None);
        assert_eq!(put_off(site).await, said([taken, taken, unmatched]));
    });
}

#[test]
fn a_bulk_publisher_is_slowed_while_processing_is_behind() {
    run(Options::default(), async |site: &Site| {
        site.room.set_pressed(Pressure::High);
        let mut device = site.mqtt(Version::V5).await;
        let begun = std::time::Instant::now();
        assert_eq!(site.publish(&mut device, &[Publish::at_least_once(TOPIC, TELEMETRY, 1)]).await, [(1, 0)]);
        let waited = begun.elapsed();
        let publish = Publish::at_least_once(HISTORY, TELEMETRY, 2);
        assert_eq!(site.publish(&mut device, &[publish]).await, [(2, 0)]);
        assert!(begun.elapsed() >= std::time::Duration::from_secs(1) && waited < begun.elapsed());
    });
}

#[test]
fn what_is_not_on_disk_is_not_acknowledged() {
    run(Options::default(), async |site: &Site| {
        site.journal.readings.close().await;
        let mut mqtt = site.mqtt(Version::V5).await;
        let mut acks = Vec::new();
        let publish = [Publish::at_least_once(TOPIC, TELEMETRY, 1)];
        let waited = timeout(A_WHILE, mqtt.publish_batch(&publish, &mut acks)).await;
        assert!(waited.is_err() && acks.is_empty(), "{waited:?} {acks:?}");

        let mut other = site.mqtt(Version::V311).await;
        assert_eq!(site.publish(&mut other, &[Publish::at_most_once(TOPIC, TELEMETRY)]).await, []);
        other.ping().await.expect("the connection goes on");
        let dropped = "forebay_listen_dropped_total{protocol=\"mqtt\",reason=\"overload\"}";
        site.metric_becomes(dropped, 1.0).await;

        let coap = site.coap().await;
        let response = coap.call(&Call::post(TOPIC).body(50, TELEMETRY)).await.expect("an answer");
        assert_eq!((response.code, &*response.payload), (Code::SERVICE_UNAVAILABLE, b"overload".as_slice()));
        assert!(response.max_age_s.is_some_and(|seconds| (5..37).contains(&seconds)), "{response:?}");

        let answer = site.post("/ingest/fleet/v17/telemetry", "", TELEMETRY).await;
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("/problems/overload"), "{}", answer.body);
        assert!(answer.head.contains("retry-after: "), "{}", answer.head);

        // A refusal needs its dead letter on disk as much.
        site.journal.dead_letters.close().await;
        let answer = site.post("/ingest/fleet/v17/telemetry", "", b"{").await;
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("/problems/disk"), "{}", answer.body);
        let answer = site.post("/ingest/%FF", "", TELEMETRY).await;
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("/problems/disk"), "{}", answer.body);
        for body in [b"{".to_vec(), vec![b'x'; harness::MESSAGE_BYTES_MAX + 1]] {
            let response = coap.call(&Call::post(TOPIC).body(50, body)).await.expect("an answer");
            assert_eq!((response.code, &*response.payload), (Code::SERVICE_UNAVAILABLE, b"disk".as_slice()));
        }
    });
}

/// The door is shut before a body is read: the head alone is sent, and answered.
#[test]
fn overload_is_answered_before_anything_is_looked_at() {
    // Only closing ends this linger: the queue stays full for as long as the test takes.
    run(Options { linger: Duration::from_secs(600), ..Options::default() }, async |site: &Site| {
        assert_eq!(site.post("/ingest/fleet/v17/telemetry", "", TELEMETRY).await.status, 202);
        let answers = async {
            let head = "POST /ingest/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\n";
            let answer = site.http(head.as_bytes()).await;
            assert_eq!(answer.status, 503);
            assert!(answer.body.contains("/problems/overload"), "{}", answer.body);
            let coap = site.coap().await;
            let call = Call::post("nobody/here").body(50, b"{".as_slice());
            let response = coap.call(&call).await.expect("an answer");
            assert_eq!(response.code, Code::SERVICE_UNAVAILABLE);
            assert!(response.max_age_s.is_some_and(|seconds| (5..37).contains(&seconds)), "{response:?}");
            assert_eq!(site.letters().await.len(), 0);
        };
        // One append takes at most a quarter of the queue.
        let append = || site.journal.readings.append(Work::Readings(harness::backlog()));
        tokio::select! {
            biased;
            kept = future::select_all([append(), append(), append()].map(Box::pin)) => panic!("{:?}", kept.0),
            () = answers => {}
        }
    });
}

#[test]
fn who_may_not_come_in_is_told() {
    run(Options { anonymous: Anonymous::Never, ..Options::default() }, async |site: &Site| {
        for (version, want) in [(Version::V5, 0x86), (Version::V311, 5)] {
            let refused = site.try_mqtt(version).await.map(|_| ());
            let is_told = matches!(refused, Err(ClientError::Refused { code }) if code == want);
            assert!(is_told, "{version:?}: {refused:?}");
        }
        let coap = site.coap().await;
        let response = coap.call(&Call::post(TOPIC).body(50, TELEMETRY)).await.expect("an answer");
        assert_eq!(response.code, Code::UNAUTHORIZED);
        let answer = site.post("/ingest/fleet/v17/telemetry", "", TELEMETRY).await;
        assert_eq!(answer.status, 401);
        assert!(answer.head.contains("www-authenticate: "), "{}", answer.head);
        assert_eq!(site.get("/metrics").await.status, 401);
        assert_eq!(site.get("/healthz").await.status, 200);
        assert_eq!(site.letters().await.len(), 0);
    });
    run(Options::default(), async |site: &Site| {
        let forwarded = "X-Forwarded-For: 203.0.113.9\r\n";
        assert_eq!(site.post("/ingest/fleet/v17/telemetry", forwarded, TELEMETRY).await.status, 401);
    });
}

#[test]
fn topics_of_the_broker_itself_are_discarded() {
    run(Options::default(), async |site: &Site| {
        let mut mqtt = site.mqtt(Version::V5).await;
        let batch = [
            Publish::at_least_once("$SYS/broker/connection/site/state", b"1", 1),
            Publish::at_least_once(TOPIC, TELEMETRY, 2),
            Publish::at_least_once("nobody/here", TELEMETRY, 3),
        ];
        assert_eq!(site.publish(&mut mqtt, &batch).await, [(1, 0), (2, 0), (3, 0x90)]);
        assert_eq!(site.journal.readings.durable(), Offset(1));
        let letters = site.letters().await;
        assert_eq!(letters.len(), 1);
        assert_eq!((&*letters[0].topic, &*letters[0].principal), ("nobody/here", ANONYMOUS));
    });
}

#[test]
fn http_serves_what_the_listener_lists() {
    run(Options::default(), async |site: &Site| {
        let table =
            [("/metrics", 200), ("/healthz", 200), ("/api/v1/status", 404), ("/", 404), ("/ingest/a", 405)];
        for (path, want) in table {
            assert_eq!(site.get(path).await.status, want, "{path}");
        }
        let answer = site.post("/metrics/none", "", b"").await;
        assert_eq!(answer.status, 404);
    });
}

#[test]
fn coap_says_where_to_post() {
    run(Options::default(), async |site: &Site| {
        let coap = site.coap().await;
        let response = coap.call(&Call::get(".well-known/core")).await.expect("an answer");
        assert_eq!((response.code, response.content_format), (Code::CONTENT, Some(40)));
        assert_eq!(response.payload, "</fleet>;rt=\"forebay.ingest\";ct=\"110 112 50 60\"");
        let response = coap.call(&Call::get(TOPIC)).await.expect("an answer");
        assert_eq!(response.code, Code::METHOD_NOT_ALLOWED);
        let post = Call::post(TOPIC).body(50, TELEMETRY).non_confirmable();
        assert_eq!(coap.call(&post).await.expect("an answer").code, Code::CHANGED);
    });
}

#[test]
fn a_client_over_the_limit_waits_for_its_turn() {
    run(Options { max_connections: 1, ..Options::default() }, async |site: &Site| {
        let first = site.mqtt(Version::V5).await;
        assert_eq!(site.metric("forebay_connections{protocol=\"mqtt\"}"), 1.0);
        let second = site.try_mqtt(Version::V5);
        tokio::pin!(second);
        assert!(timeout(A_WHILE, &mut second).await.is_err(), "there is one permit");
        first.disconnect().await.expect("leaves");
        second.await.expect("its turn");
    });
}

#[test]
fn an_address_in_use_is_named() {
    run(Options::default(), async |site: &Site| {
        let listeners = [harness::listener("two", crate::config::ListenerKind::Http, site.http)];
        let error = super::bind(&listeners).map(|_| ()).expect_err("the address is taken");
        let in_use = std::io::Error::from(rustix::io::Errno::ADDRINUSE);
        // As the program shows it, with what caused it.
        assert_eq!(
            format!("{:#}", anyhow::Error::from(error)),
            format!("listen.two.bind: cannot bind {}: {in_use}", site.http)
        );
    });
}
