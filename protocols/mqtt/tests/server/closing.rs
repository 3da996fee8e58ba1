//! How connections end: what is still acknowledged, said, and published.

use std::time::Duration;

use mqtt::{CloseReason, Qos, Verdict, Version};

use crate::harness::*;

const BOTH: [Version; 2] = [Version::V311, Version::V5];

fn with_will(version: Version) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    connect_with(version, 0b0010_1110, 60, &[&text("c"), properties, &text("t/will"), &text("gone")])
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_disconnect_reaches_the_host() {
    for version in BOTH {
        let bench = Bench::gated(|_| Verdict::Accepted);
        let mut peer = bench.connect(version, "c").await;
        peer.send(&[publish(version, Qos::AtMostOnce, 0, "x"), vec![0xe0, 0]].concat()).await;
        drop(peer.stream);
        settle().await;
        assert_eq!(bench.host.log().len(), 1, "not closed while the burst waits");
        bench.host.gate.add_permits(1);
        assert_eq!(peer.task.await.unwrap(), CloseReason::Disconnected);
        assert_eq!(bench.host.payloads(), ["x"]);
        assert_eq!(bench.host.log()[1], "closed c: client disconnected");
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_answers_what_waits_and_says_so() {
    for version in BOTH {
        let bench = Bench::gated(|_| Verdict::Accepted);
        let mut peer = bench.connect(version, "c").await;
        peer.send(&publish(version, Qos::AtLeastOnce, 1, "x")).await;
        settle().await;
        bench.shutdown.cancel();
        peer.expect_silence(Duration::from_secs(1)).await;
        peer.send(&publish(version, Qos::AtLeastOnce, 2, "y")).await;
        bench.host.gate.add_permits(1);
        peer.expect(&puback(1)).await;
        let (last, reason) = peer.end().await;
        assert_eq!(reason, CloseReason::Shutdown);
        assert_eq!(last.get(2), (version == Version::V5).then_some(&0x8b));
        assert_eq!(bench.host.payloads(), ["x"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_answers_cannot_hold_a_closing_connection() {
    let bench = Bench::gated(|_| Verdict::Accepted);
    let mut peer = bench.connect(Version::V311, "c").await;
    peer.send(&publish(Version::V311, Qos::AtLeastOnce, 1, "x")).await;
    settle().await;
    bench.shutdown.cancel();
    assert_eq!(peer.end().await, (vec![], CloseReason::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn a_will_is_published_unless_the_client_says_goodbye() {
    for version in BOTH {
        for (goodbye, published) in [
            (&[][..], true),           // the stream just ends
            (&[0xe0, 0][..], false),   // DISCONNECT
            (&[0xe0, 1, 4][..], true), // 5: with will; 3.1.1: malformed
            (&[0x20, 0][..], true),    // a protocol error
        ] {
            let bench = Bench::open();
            let mut peer = bench.dial();
            peer.send(&with_will(version)).await;
            peer.welcome(version).await;
            peer.send(goodbye).await;
            tokio::io::AsyncWriteExt::shutdown(&mut peer.stream).await.unwrap();
            peer.end().await;
            let bursts = bench.host.bursts();
            assert_eq!(bursts.len(), usize::from(published), "{version:?} {goodbye:x?}");
            if let Some([will]) = bursts.first().map(Vec::as_slice) {
                assert!(will.is_will && will.retain && will.packet_id == 0);
                assert_eq!((will.topic.as_str(), &will.payload[..]), ("t/will", &b"gone"[..]));
                assert_eq!(will.qos, Qos::AtLeastOnce);
            }
        }
    }
}
