//! The message layer, seen by devices.

use std::time::Duration;

use coap::{Code, Dropped, Fault, Reliability, Response, Settings};

use crate::harness::{CON, GET, Gate, NON, POST, Server, describe, empty, id_of, message, quick};

#[tokio::test]
async fn an_answer_leaves_only_after_the_host_gave_it() {
    let server = Server::start(Settings::default(), Gate::Closed).await;
    let device = server.device().await;
    device.send(&message(CON, POST, 7, "a", &[], b"body")).await;
    server.until_requests(1).await;
    device.hears_nothing().await;
    server.host.gate.send_replace(Gate::Open);
    assert_eq!(describe(&device.receive().await), "ACK 2.04 #7 aa");

    let request = server.host.requests().remove(0);
    assert_eq!((request.path.as_str(), &request.payload[..]), ("a", &b"body"[..]));
    assert_eq!((request.message_id, request.token.as_slice()), (7, &[0xaa][..]));
    assert_eq!((request.reliability, request.content_format), (Reliability::Confirmable, None));
}

#[tokio::test]
async fn path_query_and_formats_reach_the_host() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let device = server.device().await;
    // Uri-Path b (delta 0), Content-Format 65280 (delta 1), Uri-Query x=1 (delta 3), Accept 112 (delta 2).
    let options = [&[0x01, b'b', 0x12, 0xff, 0x00, 0x33][..], b"x=1", &[0x21, 112]].concat();
    assert_eq!(device.ask(&message(CON, POST, 7, "a", &options, b"body")).await, "ACK 2.04 #7 aa");
    let request = server.host.requests().remove(0);
    assert_eq!(request.path, "a/b");
    assert_eq!(request.query, ["x=1"]);
    assert_eq!((request.content_format, request.accept), (Some(65_280), Some(112)));
}

#[tokio::test]
async fn bad_paths_are_refused() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let device = server.device().await;
    let not_utf8 = message(CON, POST, 1, "a", &[0x02, 0xff, 0xfe], b"body");
    for _ in 0..2 {
        assert_eq!(device.ask(&not_utf8).await, "ACK 4.00 #1 aa a path segment is not utf-8");
    }
    for (id, path) in [(2, "a/b"), (3, "."), (4, "..")] {
        let refused = device.ask(&message(CON, POST, id, path, &[], b"body")).await;
        assert_eq!(refused, format!("ACK 4.00 #{id} aa a path segment is `.`, `..` or holds a slash"));
    }
    let not_utf8_query = message(CON, POST, 5, "a", &[0x41, 0xff], b"");
    assert_eq!(device.ask(&not_utf8_query).await, "ACK 4.00 #5 aa a query is not utf-8");
    let requests = server.host.requests();
    assert!(requests.iter().all(|request| &request.payload[..] == b"body"), "{requests:?}");
    let seen = requests.iter().map(|request| (request.path.as_str(), request.fault));
    let segment = Some(Fault::PathSegment);
    let want = [(r"a/\xff\xfe", Some(Fault::PathNotUtf8)), ("a/b", segment), (".", segment), ("..", segment)];
    assert_eq!(seen.collect::<Vec<_>>(), want);
    assert_eq!(server.host.dropped(), [Dropped::Duplicate, Dropped::Refused]);
}

#[tokio::test]
async fn duplicates_get_the_same_bytes_and_reach_the_host_once() {
    for kind in [CON, NON] {
        let server = Server::start(Settings::default(), Gate::Open).await;
        let device = server.device().await;
        let datagram = message(kind, POST, 7, "a", &[], b"body");
        device.send(&datagram).await;
        let answer = device.receive().await;
        for _ in 0..4 {
            device.send(&datagram).await;
            assert_eq!(device.receive().await, answer);
        }
        assert_eq!(server.host.requests().len(), 1);
        assert_eq!(server.host.dropped(), [Dropped::Duplicate; 4]);

        let other = server.device().await;
        other.send(&datagram).await;
        other.receive().await;
        assert_eq!(server.host.requests().len(), 2, "another port is another device");
    }
}

#[tokio::test]
async fn a_duplicate_of_a_request_in_progress_is_not_a_second_one() {
    let server = Server::start(Settings::default(), Gate::Closed).await;
    let device = server.device().await;
    let datagram = message(CON, POST, 7, "a", &[], b"body");
    for _ in 0..5 {
        device.send(&datagram).await;
    }
    device.hears_nothing().await;
    server.host.gate.send_replace(Gate::Open);
    assert_eq!(describe(&device.receive().await), "ACK 2.04 #7 aa");
    device.hears_nothing().await;
    assert_eq!(server.host.requests().len(), 1);
}

/// 2 acknowledges, 3 resets: both end the retransmission.
#[tokio::test]
async fn a_slow_host_answers_separately() {
    for ending in [2, 3] {
        let server = Server::start(quick(), Gate::Closed).await;
        let device = server.device().await;
        let datagram = message(CON, POST, 7, "a", &[], b"body");
        assert_eq!(device.ask(&datagram).await, "ACK 0.00 #7");
        assert_eq!(device.ask(&datagram).await, "ACK 0.00 #7", "still in progress");
        server.host.gate.send_replace(Gate::Open);
        let answer = device.receive().await;
        let id = id_of(&answer);
        assert_eq!(describe(&answer), format!("CON 2.04 #{id} aa"));
        assert_eq!(device.receive().await, answer, "retransmitted");
        device.send(&empty(ending, id)).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        device.hears_nothing().await;
        let unanswered = server.host.dropped().contains(&Dropped::Unanswered);
        assert_eq!(unanswered, ending == 3);
        assert_eq!(server.host.requests().len(), 1);
    }
}

#[tokio::test]
async fn non_confirmable_requests_and_no_response() {
    let server = Server::start(quick(), Gate::Open).await;
    let device = server.device().await;
    let answer = device.ask(&message(NON, POST, 7, "a", &[], b"body")).await;
    assert!(answer.starts_with("NON 2.04 #") && answer.ends_with(" aa"), "{answer}");
    // Option 258 (delta 247 = 13 + 234) with value 2: no 2.xx, please.
    let quiet = [0xd1, 234, 2];
    device.send(&message(NON, POST, 8, "a", &quiet, b"body")).await;
    device.hears_nothing().await;
    let answer = device.ask(&message(NON, POST, 9, "bad", &quiet, b"body")).await;
    assert!(answer.starts_with("NON 4.22"), "{answer}");
    assert_eq!(device.ask(&message(CON, POST, 10, "a", &quiet, b"body")).await, "ACK 0.00 #10");
    assert_eq!(server.host.requests().len(), 4);
}

#[tokio::test]
async fn what_is_not_a_request() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let device = server.device().await;
    assert_eq!(device.ask(&empty(0, 5)).await, "RST 0.00 #5", "ping");
    assert_eq!(device.ask(&message(CON, 0x45, 6, "", &[], b"")).await, "RST 0.00 #6", "stray response");
    assert_eq!(device.ask(&[0x4f, POST, 0, 7]).await, "RST 0.00 #7", "malformed");
    assert_eq!(device.ask(&message(CON, 8, 8, "a", &[], b"")).await, "ACK 4.05 #8 aa unknown method");
    let critical = message(CON, POST, 9, "a", &[0x81, 0], b"");
    assert_eq!(device.ask(&critical).await, "ACK 4.02 #9 aa unknown critical option");
    device.send(&message(NON, POST, 9, "a", &[0x81, 0], b"")).await;
    device.send(&[0x80, POST, 0, 7]).await;
    device.hears_nothing().await;
    let (malformed, refused) = (Dropped::Malformed, Dropped::Refused);
    assert_eq!(server.host.dropped(), [Dropped::Stray, malformed, refused, refused, refused, malformed]);
    assert_eq!(server.host.requests(), []);
}

#[tokio::test]
async fn a_closed_door_is_asked_again_for_the_same_message() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let device = server.device().await;
    let accepted = message(CON, POST, 1, "a", &[], b"body");
    assert_eq!(device.ask(&accepted).await, "ACK 2.04 #1 aa");
    *server.host.door.lock().unwrap() = Some(Response::new(Code::SERVICE_UNAVAILABLE).with_max_age_s(10));
    let refused = message(CON, POST, 2, "a", &[], b"body");
    assert_eq!(device.ask(&refused).await, "ACK 5.03 #2 aa 14=0a");
    assert_eq!(device.ask(&accepted).await, "ACK 2.04 #1 aa", "its answer is known");
    *server.host.door.lock().unwrap() = None;
    assert_eq!(device.ask(&refused).await, "ACK 2.04 #2 aa");
    assert_eq!(server.host.dropped(), [Dropped::Overload, Dropped::Duplicate]);
}

#[tokio::test]
async fn a_full_table_refuses_and_stays_within_its_limit() {
    let settings = Settings { exchanges_max: 2, ..Settings::default() };
    let server = Server::start(settings, Gate::Closed).await;
    let device = server.device().await;
    for id in 1..3 {
        device.send(&message(CON, POST, id, "a", &[], b"body")).await;
    }
    server.until_requests(2).await;
    assert_eq!(device.ask(&message(CON, POST, 3, "a", &[], b"body")).await, "ACK 5.03 #3 aa 14=08");
    server.host.gate.send_replace(Gate::Open);
    device.receive().await;
    device.receive().await;
    assert_eq!(device.ask(&message(CON, POST, 3, "a", &[], b"body")).await, "ACK 2.04 #3 aa");
    assert_eq!(server.host.dropped(), [Dropped::Overload, Dropped::ForgottenEarly]);
}

#[tokio::test]
async fn a_host_that_fails_is_answered_for() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let device = server.device().await;
    for (id, path) in [(1, "panic"), (2, "missing")] {
        let answer = device.ask(&message(CON, POST, id, path, &[], b"body")).await;
        assert_eq!(answer, format!("ACK 5.00 #{id} aa"));
    }
    assert_eq!(device.ask(&message(CON, GET, 3, "a", &[], b"")).await, "ACK 2.05 #3 aa 12= text");
}

#[tokio::test]
async fn at_the_limit_of_bursts_the_socket_is_the_queue() {
    let settings = Settings { bursts_in_flight_max: 1, ..Settings::default() };
    let server = Server::start(settings, Gate::Closed).await;
    let device = server.device().await;
    device.send(&message(CON, POST, 0, "a", &[], b"body")).await;
    server.until_requests(1).await;
    for id in 1..101 {
        device.send(&message(CON, POST, id, "a", &[], b"body")).await;
    }
    device.hears_nothing().await;
    assert_eq!(server.host.requests().len(), 1);
    server.host.gate.send_replace(Gate::Open);
    for _ in 0..101 {
        device.receive().await;
    }
    let sizes: Vec<_> = server.host.bursts.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 100], "what waited comes in one burst");
}

#[tokio::test]
async fn shutdown_answers_what_is_in_flight_and_takes_nothing_new() {
    let mut server = Server::start(quick(), Gate::Closed).await;
    let device = server.device().await;
    assert_eq!(device.ask(&message(CON, POST, 1, "a", &[], b"body")).await, "ACK 0.00 #1");
    server.shutdown.cancel();
    device.send(&message(CON, POST, 2, "a", &[], b"body")).await;
    device.hears_nothing().await;
    assert!(server.task.try_join_next().is_none(), "it waits for the host");
    server.host.gate.send_replace(Gate::Open);
    assert!(describe(&device.receive().await).starts_with("CON 2.04"));
    server.task.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(server.host.requests().len(), 1);
}

#[tokio::test]
async fn garbage_does_not_stop_it() {
    let server = Server::start(Settings::default(), Gate::Open).await;
    let device = server.device().await;
    let valid = message(CON, POST, 1, "a", &[0xd1, 1, 8], b"body");
    for (round, at) in (0_u8..=255).zip((0..valid.len()).cycle()) {
        let mut datagram = valid.clone();
        datagram[at] ^= round;
        device.send(&datagram).await;
        device.send(&datagram[..at]).await;
    }
    let sane = server.device().await;
    assert_eq!(sane.ask(&message(CON, POST, 1, "a", &[], b"body")).await, "ACK 2.04 #1 aa");
    server.until_dropped(Dropped::Malformed).await;
}
