//! Properties: whatever a peer sends, its connection ends in order, and in time.

use std::time::Duration;

use mqtt::{CloseReason, Qos, Version};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::*;

/// Serves `bytes` (after a CONNECT, if there is a version) to their end.
fn serve(version: Option<Version>, bytes: &[u8]) -> CloseReason {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let bench = Bench::open();
        let mut peer = match version {
            Some(version) => bench.connect(version, "c").await,
            None => bench.dial(),
        };
        let (mut read, mut write) = tokio::io::split(peer.stream);
        let send = async {
            let _ = write.write_all(bytes).await;
            let _ = write.shutdown().await;
        };
        let mut answers = Vec::new();
        let receive = read.read_to_end(&mut answers);
        let ended = async { tokio::join!(send, receive, &mut peer.task).2.unwrap() };
        tokio::time::timeout(Duration::from_secs(120), ended).await.expect("ends in time")
    })
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V311), Just(Version::V5)]
}

/// Valid frames, to be cut and flipped.
fn frames(version: Version) -> impl Strategy<Value = Vec<u8>> {
    let publish = (0..3u8, 1..9u16, ".{0,9}", prop::collection::vec(any::<u8>(), 0..40)).prop_map(
        move |(qos, id, topic, payload)| {
            let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(qos)];
            publish_to(version, qos, id, topic.as_bytes(), &payload)
        },
    );
    let control = prop_oneof![
        Just(vec![0xc0, 0]),
        (1..9u16).prop_map(pubrel),
        Just(b"\x82\x07\0\x01\0\0\x01#\0".to_vec()),
        Just(b"\xa2\x06\0\x02\0\0\x01#".to_vec()),
    ];
    prop::collection::vec(prop_oneof![4 => publish, 1 => control], 0..20).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_end_in_order(version in prop::option::of(version()), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        serve(version, &bytes);
    }

    #[test]
    fn flipped_frames_end_in_order(
        (version, mut bytes) in version().prop_flat_map(|version| (Just(version), frames(version))),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for (at, byte) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        serve(Some(version), &bytes);
    }

    #[test]
    fn flipped_connects_end_in_order(
        version in version(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
        let fields = [&text("client")[..], properties, &text("t/will"), &text("x"), &text("user"), &text("pass")];
        let mut bytes = connect_with(version, 0b1110_1110, 9, &fields);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        serve(None, &bytes);
    }
}
