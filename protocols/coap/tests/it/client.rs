//! The client against the server, and against peers that lose or reject.

use std::sync::Arc;
use std::time::Duration;

use coap::client::{Call, CallError, ClientSettings};
use coap::{Client, Code, Reliability, Settings};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::harness::{Gate, Server, empty, id_of, quick};

fn impatient() -> ClientSettings {
    ClientSettings {
        ack_timeout: Duration::from_millis(50),
        answer_wait: Duration::from_secs(5),
        ..ClientSettings::default()
    }
}

#[tokio::test]
async fn calls_of_all_kinds() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let client = Client::connect(server.address, ClientSettings::default()).await.unwrap();
    let answer = client.call(&Call::post("fleet/v17").body(110, "[]").query("x=1")).await.unwrap();
    assert_eq!(answer.code, Code::CHANGED);
    let answer = client.call(&Call::post("bad").untyped_body("x").non_confirmable()).await.unwrap();
    assert_eq!((answer.code, &answer.payload[..]), (Code::UNPROCESSABLE_ENTITY, &b"schema"[..]));
    let answer = client.call(&Call::get("a").accept(0)).await.unwrap();
    assert_eq!((answer.code, answer.content_format), (Code::CONTENT, Some(0)));
    client.send(&Call::post("quiet").body(112, "x")).await.unwrap();
    server.until_requests(4).await;

    let requests = server.host.requests();
    assert_eq!((requests[0].path.as_str(), requests[0].content_format), ("fleet/v17", Some(110)));
    assert_eq!(requests[0].query, ["x=1"]);
    assert_eq!((requests[1].reliability, requests[1].content_format), (Reliability::NonConfirmable, None));
    assert_eq!(requests[2].accept, Some(0));
    assert_eq!(requests[3].path, "quiet");
}

#[tokio::test]
async fn large_bodies_go_up_in_blocks_side_by_side() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let client = Arc::new(Client::connect(server.address, ClientSettings::default()).await.unwrap());
    let mut calls = JoinSet::new();
    for fill in 1..4_u8 {
        let (client, call) = (Arc::clone(&client), Call::post("up").body(42, vec![fill; 10_240]));
        calls.spawn(async move { client.call(&call).await.unwrap().code });
    }
    assert_eq!(calls.join_all().await, [Code::CHANGED; 3]);
    let mut bodies: Vec<_> = server.host.requests().into_iter().map(|request| request.payload).collect();
    bodies.sort();
    assert_eq!(bodies, [vec![1; 10_240], vec![2; 10_240], vec![3; 10_240]]);

    let answer = client.call(&Call::post("up").body(42, vec![0; 65_537])).await.unwrap();
    assert_eq!((answer.code, answer.size1_bytes), (Code::REQUEST_ENTITY_TOO_LARGE, Some(65_536)));
}

#[tokio::test]
async fn many_calls_share_a_window() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let client = Arc::new(Client::connect(server.address, ClientSettings::default()).await.unwrap());
    let mut calls = JoinSet::new();
    for number in 0..1_000 {
        let (client, call) = (Arc::clone(&client), Call::post("a").body(0, number.to_string()));
        calls.spawn(async move { client.call(&call).await.unwrap().code });
    }
    assert!(calls.join_all().await.into_iter().all(Code::is_success));
    let mut bodies: Vec<_> = server.host.requests().into_iter().map(|request| request.payload).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 1_000);
}

#[tokio::test]
async fn separate_answers_are_matched_and_acknowledged() {
    let server = Server::start(quick(), Gate::Closed).await;
    let client = Client::connect(server.address, ClientSettings::default()).await.unwrap();
    let call = Call::post("slow").body(0, "x");
    let opening = async {
        server.until_requests(1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.host.gate.send_replace(Gate::Open);
    };
    let (answer, ()) = tokio::join!(client.call(&call), opening);
    assert_eq!(answer.unwrap().code, Code::CHANGED);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(server.host.dropped(), [], "acknowledged, so never given up");
    assert_eq!(client.retransmissions(), 0);
}

#[tokio::test]
async fn what_is_lost_is_sent_again() {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = Client::connect(peer.local_addr().unwrap(), impatient()).await.unwrap();
    let lossy = async {
        let mut seen = Vec::new();
        for _ in 0..3 {
            let mut buffer = [0; 100];
            let (length, from) = peer.recv_from(&mut buffer).await.unwrap();
            seen.push((buffer[..length].to_vec(), from));
        }
        let (request, from) = seen.pop().unwrap();
        assert!(seen.iter().all(|(earlier, _)| *earlier == request), "the same bytes each time");
        // The ACK repeats id and token (six bytes), with 2.04.
        let answer = [&[0x66, 0x44][..], &request[2..10]].concat();
        peer.send_to(&answer, from).await.unwrap();
    };
    let call = Call::post("a").body(0, "x");
    let (answer, ()) = tokio::join!(client.call(&call), lossy);
    assert_eq!(answer.unwrap().code, Code::CHANGED);
    assert_eq!(client.retransmissions(), 2);
}

#[tokio::test]
async fn silence_and_resets_end_a_call() {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let settings = ClientSettings { ack_timeout: Duration::from_millis(5), ..impatient() };
    let client = Client::connect(peer.local_addr().unwrap(), settings).await.unwrap();
    let call = Call::post("a").body(0, "x");
    assert!(matches!(client.call(&call).await, Err(CallError::NoAnswer(_))));
    assert_eq!(client.retransmissions(), 4);

    let rejecting = async {
        let mut buffer = [0; 100];
        for _ in 0..6 {
            let (_, from) = peer.recv_from(&mut buffer).await.unwrap();
            peer.send_to(&empty(3, id_of(&buffer)), from).await.unwrap();
        }
    };
    let (answer, ()) = tokio::join!(client.call(&call), rejecting);
    assert!(matches!(answer, Err(CallError::Reset(_))), "{answer:?}");
}

#[tokio::test]
async fn an_answer_with_a_foreign_token_is_rejected() {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = Client::connect(peer.local_addr().unwrap(), impatient()).await.unwrap();
    let spoofing = async {
        let mut buffer = [0; 100];
        let (length, from) = peer.recv_from(&mut buffer).await.unwrap();
        let request = buffer[..length].to_vec();
        let mut answer = [&[0x46, 0x44, 0x77, 0x77][..], &request[4..10]].concat();
        answer[9] ^= 1;
        // First a token that differs in its last bit: reset. Then the right one: acknowledged.
        for reply in [empty(3, 0x7777), empty(2, 0x7777)] {
            peer.send_to(&answer, from).await.unwrap();
            while buffer[..4] != reply {
                let (length, _) = peer.recv_from(&mut buffer).await.unwrap();
                let heard = &buffer[..length];
                assert!(heard == request || heard == reply, "unexpected {heard:02x?}");
            }
            answer[9] ^= 1;
        }
    };
    let call = Call::post("a").body(0, "x");
    let (answer, ()) = tokio::join!(client.call(&call), spoofing);
    assert_eq!(answer.unwrap().code, Code::CHANGED);
}
