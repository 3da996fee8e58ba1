//! CONNECT: versions, client ids, credentials, wills, deadlines, takeover.

use std::time::Duration;

use mqtt::{CloseReason, ConnectRefusal, Qos, Settings, Verdict, Version};

use crate::harness::*;

const BOTH: [Version; 2] = [Version::V311, Version::V5];

/// Sends bytes as the first ones; what comes back until the end, and the log.
async fn first_words(bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
    let bench = Bench::open();
    let mut peer = bench.dial();
    peer.send(bytes).await;
    let (answer, _) = peer.end().await;
    (answer, bench.host.log())
}

#[tokio::test(start_paused = true)]
async fn refusals_have_a_code_on_both_versions() {
    let long = "x".repeat(257);
    let v311 = |id: &str| connect(Version::V311, id, 0);
    let v5 = |id: &str| connect(Version::V5, id, 0);
    let table: Vec<(&str, Vec<u8>, &[u8])> = vec![
        ("3.1", frame(0x10, &[&text("MQIsdp"), &[3, 2, 0, 0], &text("c")]), &[0x20, 2, 0, 1]),
        ("level 6", frame(0x10, &[&text("MQTT"), &[6, 2, 0, 0, 0], &text("c")]), &[0x20, 3, 0, 0x84, 0]),
        ("3.1.1 empty id, not clean", connect_with(Version::V311, 0, 0, &[&text("")]), &[0x20, 2, 0, 2]),
        ("3.1.1 long id", v311(&long), &[0x20, 2, 0, 2]),
        ("5 long id", v5(&long), &[0x20, 3, 0, 0x85, 0]),
        ("5 control characters", v5("a\nb"), &[0x20, 3, 0, 0x85, 0]),
        (
            "5 authentication method",
            frame(0x10, &[&text("MQTT"), &[5, 2, 0, 0, 4, 0x15, 0, 1, b'x'], &text("c")]),
            &[0x20, 3, 0, 0x8c, 0],
        ),
        (
            "5 will topic",
            connect_with(Version::V5, 0b110, 0, &[&text("c"), &[0], &text("a/#"), &text("x")]),
            &[0x20, 3, 0, 0x90, 0],
        ),
        (
            "3.1.1 will topic",
            connect_with(Version::V311, 0b110, 0, &[&text("c"), &text("a/#"), &text("x")]),
            &[],
        ),
        (
            "5 too large",
            [&[0x10, 0x81, 0x80, 1][..], &text("MQTT"), &[5, 2]].concat(),
            &[0x20, 3, 0, 0x95, 0],
        ),
        (
            "5 malformed",
            frame(0x10, &[&text("MQTT"), &[5, 2, 0, 0, 0], &[0, 9, b'c']]),
            &[0x20, 3, 0, 0x81, 0],
        ),
        ("3.1.1 malformed", frame(0x10, &[&text("MQTT"), &[4, 2, 0, 0], &[0, 9, b'c']]), &[]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), &[]),
        ("PUBLISH first", publish(Version::V311, Qos::AtMostOnce, 0, "x"), &[]),
    ];
    for (name, bytes, expected) in table {
        let (answer, log) = first_words(&bytes).await;
        assert_eq!(answer, expected, "{name}");
        let told = usize::from(name != "5 authentication method");
        assert_eq!(log.len(), told, "{name} {log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_refuses() {
    let bench = Bench::open();
    bench.host.refuse_connects(ConnectRefusal::BadCredentials);
    for (version, answer) in [(Version::V311, &[0x20, 2, 0, 4][..]), (Version::V5, &[0x20, 3, 0, 0x86, 0])] {
        let mut peer = bench.dial();
        peer.send(&connect_with(version, 0b1100_0010, 0, &[&text("c"), &text("u"), &text("p")])).await;
        let (read, reason) = peer.end().await;
        assert_eq!(read, answer);
        assert_eq!(reason, CloseReason::Refused(ConnectRefusal::BadCredentials));
    }
    assert!(bench.host.log().is_empty(), "neither session nor offence");
}

#[tokio::test(start_paused = true)]
async fn an_accepted_connect_reaches_the_host() {
    for version in BOTH {
        let bench = Bench::open();
        let mut peer = bench.dial();
        let connect = connect_with(version, 0b1100_0010, 0, &[&text("sl/as+h"), &text("u"), &text("p")]);
        for byte in connect {
            peer.send(&[byte]).await; // however it is cut
            settle().await;
        }
        peer.welcome(version).await;
        assert_eq!(bench.host.log(), ["connect sl/as+h user=Some(\"u\")"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_client_id_is_assigned_and_told_on_5() {
    let bench = Bench::open();
    for version in BOTH {
        let mut peer = bench.dial();
        peer.send(&connect(version, "", 0)).await;
        let answer = peer.frame().await;
        let told = answer.windows(5).any(|bytes| bytes == b"auto-");
        assert_eq!(told, version == Version::V5);
        peer.send(&[0xe0, 0]).await;
        peer.end().await;
    }
    let log = bench.host.log();
    let id = |line: &String| line.split_whitespace().nth(1).unwrap().to_owned();
    assert!(id(&log[0]).starts_with("auto-") && id(&log[0]) != id(&log[2]), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connect_has_to_come_in_time() {
    let bench = Bench::open();
    let mut peer = bench.dial();
    peer.send(&connect(Version::V311, "c", 0)[..5]).await;
    peer.expect_silence(Duration::from_secs(9)).await;
    let start = tokio::time::Instant::now();
    let (answer, reason) = peer.end().await;
    assert_eq!((answer, reason), (vec![], CloseReason::ConnectDeadline));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_with_the_same_id_takes_over() {
    for version in BOTH {
        let bench = Bench::open();
        let old = bench.connect(version, "c").await;
        let mut new = bench.connect(version, "c").await;
        let (last, reason) = old.end().await;
        assert_eq!(reason, CloseReason::TakenOver);
        match version {
            Version::V311 => assert!(last.is_empty()),
            Version::V5 => assert_eq!((last[0], last[2]), (0xe0, 0x8e)),
        }
        new.send(&publish(version, Qos::AtLeastOnce, 1, "x")).await;
        new.expect(&puback(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_takeover_does_not_wait_for_a_connection_stuck_in_a_write() {
    let bench = Bench::open();
    let version = Version::V311;
    let mut old = bench.dial_through(64);
    old.send(&connect(version, "c", 0)).await;
    old.welcome(version).await;
    for id in 1..200 {
        let bytes = publish(version, Qos::AtLeastOnce, id, "x");
        let sent = tokio::time::timeout(Duration::from_secs(1), old.send(&bytes)).await;
        if sent.is_err() {
            break; // it is stuck: its acknowledgements are not read
        }
    }
    let start = tokio::time::Instant::now();
    let _new = bench.connect(version, "c").await;
    assert!(start.elapsed() < Duration::from_secs(1));
    let Peer { stream, task } = old;
    assert_eq!(task.await.unwrap(), CloseReason::TakenOver);
    drop(stream);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_closed() {
    let bench = Bench::open();
    let version = Version::V311;
    let mut peer = bench.dial_through(64);
    peer.send(&connect(version, "c", 0)).await;
    peer.welcome(version).await;
    let flood: Vec<u8> = (1..1000).flat_map(|id| publish(version, Qos::AtLeastOnce, id, "x")).collect();
    let Peer { mut stream, task } = peer;
    let sent = tokio::io::AsyncWriteExt::write_all(&mut stream, &flood);
    let sent = tokio::time::timeout(Duration::from_secs(60), sent).await;
    assert!(matches!(sent, Ok(Err(_))), "{sent:?}");
    assert_eq!(task.await.unwrap(), CloseReason::WriteTimeout);
}

#[tokio::test(start_paused = true)]
async fn keep_alive() {
    for version in BOTH {
        let bench = Bench::gated(|_| Verdict::Accepted);
        let mut peer = bench.dial();
        peer.send(&connect(version, "c", 10)).await;
        peer.welcome(version).await;
        for _ in 0..5 {
            peer.expect_silence(Duration::from_secs(14)).await;
            peer.send(&[0xc0, 0]).await;
            peer.expect(&[0xd0, 0]).await;
        }
        peer.expect_silence(Duration::from_millis(14_900)).await;
        let start = tokio::time::Instant::now();
        let (last, reason) = peer.end().await;
        assert_eq!(reason, CloseReason::KeepAlive);
        assert!(start.elapsed() < Duration::from_secs(1));
        assert_eq!(last.get(2), (version == Version::V5).then_some(&0x8d));
    }
}

#[tokio::test(start_paused = true)]
async fn keep_alive_zero_is_off_but_a_begun_packet_must_go_on() {
    let bench = Bench::open();
    let mut peer = bench.dial();
    peer.send(&connect(Version::V311, "c", 0)).await;
    peer.welcome(Version::V311).await;
    peer.expect_silence(Duration::from_secs(100 * 24 * 3600)).await;
    peer.send(&publish(Version::V311, Qos::AtMostOnce, 0, "x")[..4]).await;
    peer.expect_silence(Duration::from_secs(29)).await;
    assert_eq!(peer.end().await.1, CloseReason::Stalled);
}

/// What one idle connection costs: the future with all its state, and its buffers.
#[tokio::test]
async fn an_idle_connection_is_small() {
    let bench = Bench::with(|_| Verdict::Accepted, Settings::default());
    let (_near, far) = tokio::io::duplex(64);
    let future = bench.server.serve(far, None, &bench.shutdown);
    let bytes = std::mem::size_of_val(&future);
    assert!(bytes <= 6 * 1024, "{bytes} bytes");
}
