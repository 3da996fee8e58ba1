//! What has killed a stock rumqttd, and other input that only an attacker or a broken client sends.
//! Every one ends its own connection at most; afterwards the server serves on.

use mqtt::{CloseReason, Qos, Version};

use crate::harness::*;

const BOTH: [Version; 2] = [Version::V311, Version::V5];

/// Sends `bytes` over a new connection: reason code of the DISCONNECT (MQTT 5), how it ended, the log.
async fn attack(bench: &Bench, version: Version, bytes: &[u8]) -> (Option<u8>, CloseReason) {
    let mut peer = bench.connect(version, "attacker").await;
    peer.send(bytes).await;
    let (last, reason) = peer.end().await;
    (last.get(2).copied(), reason)
}

async fn serves_on(bench: &Bench) {
    for version in BOTH {
        let mut peer = bench.connect(version, "other").await;
        peer.send(&publish(version, Qos::AtLeastOnce, 1, "x")).await;
        peer.expect(&puback(1)).await;
    }
}

/// K1: a topic that starts with a character of two bytes killed the router.
#[tokio::test(start_paused = true)]
async fn k1_a_topic_that_starts_with_a_wide_character() {
    let bench = Bench::open();
    for version in BOTH {
        let mut peer = bench.connect(version, "c").await;
        peer.send(&publish_to(version, Qos::AtLeastOnce, 1, "öl/temp".as_bytes(), b"x")).await;
        peer.expect(&puback(1)).await;
    }
    assert_eq!(bench.host.bursts()[0][0].topic.as_str(), "öl/temp");
}

/// K2: client ids with `+ $ # /` poisoned the listener.
#[tokio::test(start_paused = true)]
async fn k2_client_ids_with_special_characters() {
    let bench = Bench::open();
    for id in ["a+b", "a+b", "slash/id", "$x", "#"] {
        bench.connect(Version::V311, id).await;
    }
    serves_on(&bench).await;
}

/// K4: a publish with properties broke 3.1.1 connections.
#[tokio::test(start_paused = true)]
async fn k4_properties_beside_a_311_client() {
    let bench = Bench::open();
    let _v311 = bench.connect(Version::V311, "v311").await;
    let mut peer = bench.connect(Version::V5, "v5").await;
    let user = [&[38][..], &text("k"), &text("v")].concat();
    peer.send(&frame(0x32, &[&text("t"), &[0, 1], &[user.len() as u8], &user, b"x"])).await;
    peer.expect(&puback(1)).await;
    bench.connect(Version::V311, "v311").await;
    serves_on(&bench).await;
}

/// K5: packets that only a server sends made the decoder panic.
#[tokio::test(start_paused = true)]
async fn k5_packets_of_a_server() {
    let bench = Bench::open();
    for version in BOTH {
        for first in [0x00, 0x10, 0x20, 0x90, 0xb0, 0xd0, 0xf0] {
            let (code, reason) = attack(&bench, version, &[first, 4, 0, 0, 0, 0]).await;
            assert_eq!(code, (version == Version::V5).then_some(0x82), "{first:#x}");
            assert_eq!(reason.label(), "protocol");
        }
    }
    serves_on(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn topics_that_are_none() {
    let bench = Bench::open();
    let table: [(&[u8], u8); 6] = [
        (b"a\xff", 0x81),
        (b"\xed\xa0\x80", 0x81),
        (b"a/+", 0x90),
        (b"#", 0x90),
        (b"a\0", 0x90),
        (b"", 0x82),
    ];
    for version in BOTH {
        for (topic, expected) in table {
            let good = publish(version, Qos::AtLeastOnce, 1, "good");
            let bad = publish_to(version, Qos::AtLeastOnce, 2, topic, b"bytes");
            let mut peer = bench.connect(version, "c").await;
            peer.send(&[good, bad].concat()).await;
            peer.expect(&puback(1)).await; // what came before is good
            let (last, reason) = peer.end().await;
            assert_eq!(last.get(2).copied(), (version == Version::V5).then_some(expected), "{topic:?}");
            let CloseReason::Protocol(error) = reason else { panic!("{reason:?}") };
            assert_eq!(error.label(), "topic");
            let evidence = error.evidence().unwrap();
            assert_eq!((&evidence.topic[..], &evidence.payload[..]), (topic, &b"bytes"[..]));
        }
    }
    let offences = bench.host.log().iter().filter(|line| line.starts_with("offence topic")).count();
    assert_eq!(offences, 12, "the host is told of each");
}

/// A 10 MB body is refused from its first bytes, with topic and the first 4 KiB kept.
#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_not_collected() {
    let bench = Bench::open();
    for version in BOTH {
        let mut peer = bench.connect(version, "c").await;
        let bytes = publish_to(version, Qos::AtLeastOnce, 1, b"t/big", &vec![b'x'; 10_000_000]);
        let (mut read, mut write) = tokio::io::split(peer.stream);
        let send = async {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut write, &bytes).await;
            tokio::io::AsyncWriteExt::shutdown(&mut write).await
        };
        let mut last = Vec::new();
        let (_, received) = tokio::join!(send, tokio::io::AsyncReadExt::read_to_end(&mut read, &mut last));
        received.unwrap();
        assert_eq!(last.get(2).copied(), (version == Version::V5).then_some(0x95));
        let reason = (&mut peer.task).await.unwrap();
        let CloseReason::Protocol(error) = reason else { panic!("{reason:?}") };
        let evidence = error.evidence().unwrap();
        assert_eq!(&evidence.topic[..], b"t/big");
        assert_eq!(evidence.payload.len(), 4096);
        assert!(evidence.announced_bytes > 10_000_000);
    }
    assert!(bench.host.bursts().is_empty());
    serves_on(&bench).await;
}

/// A payload over the limit in a frame that topic and properties would have excused.
#[tokio::test(start_paused = true)]
async fn the_limit_of_a_payload_is_exact() {
    let bench = Bench::open();
    let version = Version::V5;
    let mut peer = bench.connect(version, "c").await;
    peer.send(&publish_to(version, Qos::AtLeastOnce, 1, b"t", &vec![0; 1 << 20])[..]).await;
    peer.expect(&puback(1)).await;
    peer.send(&publish_to(version, Qos::AtLeastOnce, 2, b"t", &vec![0; (1 << 20) + 1])[..]).await;
    let (last, reason) = peer.end().await;
    assert_eq!((last[2], reason.label()), (0x95, "protocol"));
}

#[tokio::test(start_paused = true)]
async fn other_protocol_errors_have_their_code() {
    let bench = Bench::open();
    let alias = frame(0x30, &[&text(""), &[3, 35, 0, 1], b"x"]);
    let subscription_id = frame(0x30, &[&text("t"), &[2, 11, 1], b"x"]);
    let overrun = frame(0x30, &[&text("t"), &[1, 1], b"x"]); // one property byte, the value outside
    let unknown = frame(0x30, &[&text("t"), &[2, 99, 1], b"x"]);
    let table = [
        ("topic alias", alias, 0x94),
        ("subscription identifier", subscription_id, 0x81),
        ("property over its length", overrun, 0x81),
        ("unknown property", unknown, 0x81),
        ("packet id 0", frame(0x32, &[&text("t"), &[0, 0, 0]]), 0x81),
        ("QoS 3", frame(0x36, &[&text("t"), &[0, 1, 0]]), 0x81),
        ("second CONNECT", connect(Version::V5, "c", 0), 0x82),
        ("five length bytes", vec![0x30, 0xff, 0xff, 0xff, 0xff, 1], 0x81),
        ("filters without end", vec![0x82, 0xff, 0xff, 0xff, 0x7f], 0x95),
    ];
    for (name, bytes, expected) in table {
        assert_eq!(attack(&bench, Version::V5, &bytes).await.0, Some(expected), "{name}");
    }
    serves_on(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn more_in_flight_than_announced() {
    let bench = Bench::gated(|_| mqtt::Verdict::Accepted);
    let mut peer = bench.connect(Version::V5, "c").await;
    let flood: Vec<u8> =
        (1..=2000).flat_map(|id| publish_to(Version::V5, Qos::ExactlyOnce, id, b"t", b"")).collect();
    bench.host.gate.add_permits(1000);
    peer.send(&flood).await;
    let (last, reason) = peer.end().await;
    assert_eq!(reason.label(), "protocol");
    let disconnect = last.windows(4).any(|bytes| bytes[0] == 0xe0 && bytes[2] == 0x93);
    assert!(disconnect, "{last:x?}");
    assert_eq!(bench.host.payloads().len(), 1024);
}
