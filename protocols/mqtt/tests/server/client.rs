//! The crate's own publisher against its own server.

use mqtt::client::{Ack, Client, ClientError, Options, PacketIds, Publish};
use mqtt::{ConnectRefusal, Qos, Verdict, Version};

use crate::harness::*;

fn options(version: Version) -> Options {
    Options { version, username: Some("u".into()), password: Some("p".into()), ..Options::new("c") }
}

#[tokio::test(start_paused = true)]
async fn publishes_with_every_qos_through_a_narrow_pipe() {
    for version in [Version::V311, Version::V5] {
        let bench = Bench::open();
        let mut client = Client::connect(bench.dial_through(100).stream, &options(version)).await.unwrap();
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let payloads: Vec<String> = (0..3000).map(|n| format!("{qos:?} {n}")).collect();
            let batch: Vec<Publish> = payloads
                .iter()
                .zip(PacketIds::default())
                .map(|(payload, id)| Publish { qos, ..Publish::at_least_once("t/a", payload.as_bytes(), id) })
                .collect();
            let mut acks = Vec::new();
            client.publish_batch(&batch, &mut acks).await.unwrap();
            client.ping().await.unwrap();
            let expected = if qos == Qos::AtMostOnce { 0 } else { 3000 };
            assert_eq!(acks.len(), expected, "{qos:?}");
            assert!(acks.iter().all(|ack| ack.is_success()));
            assert!(bench.host.payloads().ends_with(&payloads));
        }
        client.disconnect().await.unwrap();
        settle().await;
        assert_eq!(bench.host.log(), ["connect c user=Some(\"u\")", "closed c: client disconnected"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_can_be_resent_as_a_copy() {
    let version = Version::V5;
    let bench = Bench::gated(|_| Verdict::Accepted);
    bench.host.gate.add_permits(1);
    let mut client = Client::connect(bench.dial().stream, &options(version)).await.unwrap();
    let payloads: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    let batch: Vec<Publish> = payloads
        .iter()
        .zip(PacketIds::default())
        .map(|(payload, id)| Publish::at_least_once("t/a", payload.as_bytes(), id))
        .collect();
    let mut acks = Vec::new();
    let shutdown = bench.shutdown.clone();
    let stop = async {
        settle().await;
        shutdown.cancel();
    };
    let (failed, ()) = tokio::join!(client.publish_batch(&batch, &mut acks), stop);
    assert!(matches!(failed, Err(ClientError::Disconnected { code: 0x8b })), "{failed:?}");
    assert!(!acks.is_empty() && acks.len() < 600);

    let bench = Bench::open();
    let mut client = Client::connect(bench.dial().stream, &options(version)).await.unwrap();
    let missing: Vec<Publish> = batch
        .iter()
        .filter(|publish| !acks.iter().any(|ack| ack.packet_id == publish.packet_id))
        .map(|publish| publish.resent())
        .collect();
    client.publish_batch(&missing, &mut acks).await.unwrap();
    assert_eq!(acks.len(), 600);
    assert!(bench.host.bursts().iter().flatten().all(|message| message.dup));
}

#[tokio::test(start_paused = true)]
async fn reads_refusals() {
    let reason = "r".repeat(300); // a frame whose length takes two bytes
    let judge = |_: &mqtt::Message| {
        let code = mqtt::RefusalCode::NotAuthorized;
        Verdict::Refused(mqtt::Refusal { code, reason: "r".repeat(300) })
    };
    assert_eq!(reason.len(), 300);
    let bench = Bench::gated(judge);
    bench.host.gate.add_permits(10);
    for (version, code) in [(Version::V311, 0), (Version::V5, 0x87)] {
        let mut client = Client::connect(bench.dial().stream, &options(version)).await.unwrap();
        let mut acks = Vec::new();
        client.publish_batch(&[Publish::at_least_once("t", b"x", 5)], &mut acks).await.unwrap();
        assert_eq!(acks, [Ack { packet_id: 5, reason: code }]);
    }
    bench.host.refuse_connects(ConnectRefusal::NotAuthorized);
    for (version, expected) in [(Version::V311, 5), (Version::V5, 0x87)] {
        let refused = Client::connect(bench.dial().stream, &options(version)).await;
        assert!(matches!(refused, Err(ClientError::Refused { code }) if code == expected));
    }
}

#[tokio::test(start_paused = true)]
async fn takes_the_id_it_is_given() {
    let bench = Bench::open();
    let options = Options { version: Version::V5, ..Options::new("") };
    let client = Client::connect(bench.dial().stream, &options).await.unwrap();
    assert!(client.assigned_client_id().unwrap().starts_with("auto-"));
}
