//! Bursts, verdicts and acknowledgements.

use std::time::Duration;

use mqtt::{CloseReason, Qos, Refusal, RefusalCode, Verdict, Version};

use crate::harness::*;

const BOTH: [Version; 2] = [Version::V311, Version::V5];
const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

#[tokio::test(start_paused = true)]
async fn an_ack_leaves_only_after_the_verdict() {
    for version in BOTH {
        let bench = Bench::gated(|_| Verdict::Accepted);
        let mut peer = bench.connect(version, "c").await;
        peer.send(&publish(version, Q1, 7, "x")).await;
        peer.expect_silence(Duration::from_secs(30)).await;
        assert_eq!(bench.host.payloads(), ["x"]);
        bench.host.gate.add_permits(1);
        peer.expect(&puback(7)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn acks_keep_the_order_of_publishes() {
    let bench = Bench::gated(|_| Verdict::Accepted);
    let mut peer = bench.connect(Version::V311, "c").await;
    for ids in [[1, 2], [3, 4], [5, 6]] {
        peer.send(&ids.map(|id| publish(Version::V311, Q1, id, "x")).concat()).await;
        settle().await;
    }
    assert_eq!(bench.host.burst_sizes(), [2, 2, 2]);
    bench.host.gate.add_permits(3);
    peer.expect(&(1..=6).map(puback).collect::<Vec<_>>().concat()).await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_cut_into_bursts_and_then_not_read() {
    let version = Version::V311;
    let bench = Bench::gated(|_| Verdict::Accepted);
    let mut peer = bench.connect(version, "c").await;
    let flood: Vec<Vec<u8>> = (1..=6000).map(|id| publish(version, Q1, id, "12345678")).collect();
    peer.send(&flood.concat()).await;
    settle().await;
    let first = bench.host.burst_sizes();
    assert_eq!(first.len(), 4, "four wait and no more: {first:?}");
    assert!(first.iter().all(|size| *size <= 256), "{first:?}");
    peer.expect_silence(Duration::from_secs(3600)).await; // unread is not silent: no keep alive
    bench.host.gate.add_permits(1000);
    peer.expect(&(1..=6000).map(puback).collect::<Vec<_>>().concat()).await;
    assert_eq!(bench.host.burst_sizes().iter().sum::<usize>(), 6000);
    assert_eq!(bench.host.burst_sizes().iter().max(), Some(&256));
}

#[tokio::test(start_paused = true)]
async fn bursts_are_bounded_in_bytes_and_a_large_message_is_one() {
    let version = Version::V311;
    let bench = Bench::open();
    let peer = bench.connect(version, "c").await;
    let payload = "x".repeat(1000);
    let mut flood: Vec<Vec<u8>> = (1..=200).map(|id| publish(version, Q1, id, &payload)).collect();
    flood.push(publish(version, Q1, 201, &"y".repeat(1_000_000)));
    let sent = flood.concat();
    let (mut read, mut write) = tokio::io::split(peer.stream);
    let expected = (1..=201).map(puback).collect::<Vec<_>>().concat();
    let receive = async {
        let mut acks = vec![0; expected.len()];
        tokio::io::AsyncReadExt::read_exact(&mut read, &mut acks).await.unwrap();
        acks
    };
    let (sent, acks) = tokio::join!(tokio::io::AsyncWriteExt::write_all(&mut write, &sent), receive);
    sent.unwrap();
    assert_eq!(acks, expected);
    for burst in bench.host.bursts() {
        let bytes: usize = burst.iter().map(|message| message.payload.len()).sum();
        assert!(bytes <= 64 * 1024 || burst.len() == 1, "{bytes} bytes in {}", burst.len());
    }
    assert_eq!(bench.host.payloads().last().map(String::len), Some(1_000_000));
    peer.task.abort();
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_while_bursts_wait() {
    let version = Version::V5;
    let bench = Bench::gated(|_| Verdict::Accepted);
    let mut peer = bench.connect(version, "c").await;
    for id in 1..=4 {
        peer.send(&publish(version, Q1, id, "x")).await;
        settle().await;
    }
    assert_eq!(bench.host.burst_sizes(), [1, 1, 1, 1]);
    peer.send(&[0xc0, 0]).await;
    peer.expect(&[0xd0, 0]).await;
    // A fifth publish is where reading ends; a ping behind it waits with it.
    peer.send(&[publish(version, Q1, 5, "x"), vec![0xc0, 0]].concat()).await;
    peer.expect_silence(Duration::from_secs(5)).await;
    assert_eq!(bench.host.burst_sizes(), [1, 1, 1, 1]);
    bench.host.gate.add_permits(1);
    peer.expect(&[puback(1), vec![0xd0, 0]].concat()).await;
}

/// However long the host takes, the peer is not blamed for what it could not say meanwhile.
#[tokio::test(start_paused = true)]
async fn keep_alive_starts_again_when_reading_does() {
    let version = Version::V311;
    let bench = Bench::gated(|_| Verdict::Accepted);
    let mut peer = bench.connect(version, "c").await;
    for id in 1..=5 {
        peer.send(&publish(version, Q1, id, "x")).await;
        settle().await;
    }
    peer.expect_silence(Duration::from_secs(3600)).await;
    bench.host.gate.add_permits(5);
    peer.expect(&(1..=5).map(puback).collect::<Vec<_>>().concat()).await;
    peer.expect_silence(Duration::from_secs(89)).await;
    assert_eq!(peer.end().await.1, CloseReason::KeepAlive);
}

/// A connection whose first three bursts are settled, whose acknowledgements are half written into a
/// pipe of 64 bytes, and whose fourth burst waits.
async fn stuck_in_a_write(bench: &Bench) -> Peer {
    let version = Version::V311;
    let mut peer = bench.dial_through(64);
    peer.send(&connect(version, "c", 0)).await;
    peer.welcome(version).await;
    for burst in 0..4 {
        let ids = 1 + 7 * burst..=7 + 7 * burst;
        peer.send(&ids.flat_map(|id| publish(version, Q1, id, "")).collect::<Vec<_>>()).await;
        settle().await;
    }
    assert_eq!(bench.host.burst_sizes(), [7, 7, 7, 7]);
    bench.host.gate.add_permits(3);
    settle().await;
    peer
}

#[tokio::test(start_paused = true)]
async fn bursts_go_on_while_a_write_is_stuck() {
    let bench = Bench::gated(|_| Verdict::Accepted);
    let mut peer = stuck_in_a_write(&bench).await;
    bench.host.gate.add_permits(1);
    settle().await;
    assert_eq!(bench.host.settled.load(std::sync::atomic::Ordering::Relaxed), 4);
    peer.expect(&(1..=28).map(puback).collect::<Vec<_>>().concat()).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_a_stuck_write_repeats_nothing() {
    let bench = Bench::gated(|_| Verdict::Accepted);
    let peer = stuck_in_a_write(&bench).await;
    bench.shutdown.cancel();
    settle().await;
    bench.host.gate.add_permits(1);
    let (acks, reason) = peer.end().await;
    assert_eq!(acks, (1..=28).map(puback).collect::<Vec<_>>().concat());
    assert_eq!(reason, CloseReason::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn qos2_is_handed_on_once_across_copies() {
    for version in BOTH {
        let bench = Bench::gated(|_| Verdict::Accepted);
        let mut peer = bench.connect(version, "c").await;
        let first = publish(version, Q2, 9, "x");
        let copy = [&[first[0] | 8], &first[1..]].concat();
        peer.send(&[first, copy.clone()].concat()).await;
        peer.expect_silence(Duration::from_secs(5)).await;
        bench.host.gate.add_permits(9);
        peer.expect(&pubrec(9)).await;
        peer.send(&copy).await;
        peer.expect(&pubrec(9)).await;
        assert_eq!(bench.host.payloads(), ["x"]);
        peer.send(&pubrel(9)).await;
        peer.expect(&pubcomp(9)).await;
        peer.send(&publish(version, Q2, 9, "y")).await;
        peer.expect(&pubrec(9)).await;
        assert_eq!(bench.host.payloads(), ["x", "y"]);
        peer.send(&pubrel(77)).await;
        match version {
            Version::V311 => peer.expect(&pubcomp(77)).await,
            Version::V5 => peer.expect(&[0x70, 4, 0, 77, 0x92, 0]).await,
        }
    }
}

fn refuse_bad(message: &mqtt::Message) -> Verdict {
    match &message.payload[..] {
        b"bad" => Verdict::Refused(Refusal { code: RefusalCode::PayloadFormatInvalid, reason: "/v".into() }),
        b"later" => Verdict::Later,
        b"close" => Verdict::Close(mqtt::DisconnectCode::PacketTooLarge),
        _ => Verdict::Accepted,
    }
}

fn judging() -> Bench {
    let bench = Bench::gated(refuse_bad);
    bench.host.gate.add_permits(1000);
    bench
}

#[tokio::test(start_paused = true)]
async fn a_final_refusal_is_told_on_5_and_acknowledged_on_311() {
    let bench = judging();
    let mut peer = bench.connect(Version::V5, "c").await;
    peer.send(&publish(Version::V5, Q1, 1, "bad")).await;
    peer.expect(&[0x40, 9, 0, 1, 0x99, 5, 0x1f, 0, 2, b'/', b'v']).await;
    // The refused packet id is free again at once: no PUBREL follows a PUBREC with an error.
    peer.send(&publish(Version::V5, Q2, 2, "bad")).await;
    peer.expect(&[0x50, 9, 0, 2, 0x99, 5, 0x1f, 0, 2, b'/', b'v']).await;
    peer.send(&publish(Version::V5, Q2, 2, "good")).await;
    peer.expect(&pubrec(2)).await;

    let mut peer = bench.connect(Version::V311, "d").await;
    peer.send(&[publish(Version::V311, Q1, 1, "bad"), publish(Version::V311, Q2, 2, "bad")].concat()).await;
    peer.expect(&[puback(1), pubrec(2)].concat()).await;
    peer.send(&pubrel(2)).await;
    peer.expect(&pubcomp(2)).await;
}

#[tokio::test(start_paused = true)]
async fn reason_strings_are_left_out_on_request() {
    let bench = judging();
    let mut peer = bench.dial();
    // Request Problem Information (0x17) = 0.
    let connect = frame(0x10, &[&text("MQTT"), &[5, 2], &[0, 60], &[2, 0x17, 0], &text("c")]);
    peer.send(&connect).await;
    peer.welcome(Version::V5).await;
    peer.send(&publish(Version::V5, Q1, 1, "bad")).await;
    peer.expect(&[0x40, 4, 0, 1, 0x99, 0]).await;
}

#[tokio::test(start_paused = true)]
async fn later_is_never_acknowledged_and_ends_the_connection() {
    for version in BOTH {
        let bench = judging();
        let mut peer = bench.connect(version, "c").await;
        let burst = [(1, "good"), (2, "later"), (3, "good")];
        peer.send(&burst.map(|(id, payload)| publish(version, Q1, id, payload)).concat()).await;
        peer.expect(&[puback(1), puback(3)].concat()).await;
        peer.send(&publish(version, Q1, 4, "good")).await;
        peer.expect_silence(Duration::from_secs(29)).await; // half the keep alive is 30 s
        let (last, reason) = peer.end().await;
        assert_eq!(reason, CloseReason::Overload);
        match version {
            Version::V311 => assert!(last.is_empty()),
            Version::V5 => assert_eq!((last[0], last[2]), (0xe0, 0x97)),
        }
        assert_eq!(bench.host.payloads(), ["good", "later", "good"], "not read after `Later`");
    }
}

#[tokio::test(start_paused = true)]
async fn later_with_qos0_only_drops_the_message() {
    let bench = judging();
    let mut peer = bench.connect(Version::V311, "c").await;
    peer.send(&publish(Version::V311, Qos::AtMostOnce, 0, "later")).await;
    peer.send(&publish(Version::V311, Q1, 1, "good")).await;
    peer.expect(&puback(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_closes_after_the_answers_before() {
    let bench = judging();
    let mut peer = bench.connect(Version::V5, "c").await;
    let burst = [(1, "good"), (2, "close"), (3, "good")];
    peer.send(&burst.map(|(id, payload)| publish(Version::V5, Q1, id, payload)).concat()).await;
    peer.expect(&puback(1)).await;
    let (last, reason) = peer.end().await;
    assert_eq!((last[0], last[2]), (0xe0, 0x95));
    assert_eq!(reason, CloseReason::Host(mqtt::DisconnectCode::PacketTooLarge));
}

#[tokio::test(start_paused = true)]
async fn properties_reach_the_host() {
    let bench = Bench::open();
    let mut peer = bench.connect(Version::V5, "c").await;
    let properties =
        [&[1, 1, 2, 0, 0, 0, 9, 3][..], &text("application/json"), &[38], &text("k"), &text("v")].concat();
    let length = [properties.len() as u8];
    peer.send(&frame(0x3b, &[&text("t/a"), &[0, 1], &length, &properties, b"{}"])).await;
    peer.expect(&puback(1)).await;
    let bursts = bench.host.bursts();
    let message = &bursts[0][0];
    assert_eq!((message.topic.as_str(), &message.payload[..]), ("t/a", &b"{}"[..]));
    assert!(message.dup && message.retain && !message.is_will);
    let properties = message.properties.as_deref().unwrap();
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert_eq!((properties.payload_is_utf8, properties.expiry_s), (true, Some(9)));
    assert_eq!(properties.user, [("k".to_owned(), "v".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_refused() {
    for (version, subscribe, suback, unsubscribe, unsuback) in [
        (
            Version::V311,
            &b"\x82\x06\0\x01\0\x01#\0"[..],
            &b"\x90\x03\0\x01\x80"[..],
            &b"\xa2\x05\0\x02\0\x01#"[..],
            &b"\xb0\x02\0\x02"[..],
        ),
        (
            Version::V5,
            b"\x82\x07\0\x01\0\0\x01#\0",
            b"\x90\x04\0\x01\0\x83",
            b"\xa2\x06\0\x02\0\0\x01#",
            b"\xb0\x04\0\x02\0\x11",
        ),
    ] {
        let bench = Bench::open();
        let mut peer = bench.connect(version, "c").await;
        peer.send(subscribe).await;
        peer.expect(suback).await;
        peer.send(unsubscribe).await;
        peer.expect(unsuback).await;
    }
}
