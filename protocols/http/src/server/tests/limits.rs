//! Sizes and deadlines.

use expect_test::expect;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_before_the_body() {
    let mut peer = connect();
    peer.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 101\r\n\r\n").await;
    expect![[r#"
        HTTP/1.1 413 Payload Too Large
        content-type: application/problem+json
        connection: close
        content-length: 124

        {"type":"/problems/too_large","title":"Content Too Large","status":413,"detail":"body of 101 bytes exceeds 100","limit":100}"#]]
    .assert_eq(&peer.answer().await);
    peer.stream.shutdown().await.unwrap();
    assert_eq!(peer.rest().await, (String::new(), CloseReason::Done, vec![Dropped::BodyTooLarge]));
}

#[tokio::test]
async fn a_chunked_body_is_cut_at_the_limit() {
    for chunks in [&[101][..], &[60, 40, 1], &[100, 1]] {
        let mut peer = connect();
        peer.send("POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").await;
        for size in chunks {
            peer.send(format!("{size:x}\r\n{}\r\n", "x".repeat(*size))).await;
        }
        let answer = peer.answer().await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{chunks:?}: {answer}");
        assert_eq!(*peer.host.dropped.lock().unwrap(), [Dropped::BodyTooLarge], "{chunks:?}");
        assert_eq!(*peer.host.handled.lock().unwrap(), Vec::<String>::new(), "{chunks:?}");
    }
}

#[tokio::test]
async fn a_body_of_just_the_limit_passes_however_it_is_cut() {
    for pieces in [&[100][..], &[1, 99], &[33, 33, 33, 1]] {
        let mut peer = connect();
        peer.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n").await;
        for size in pieces {
            peer.send("x".repeat(*size)).await;
            tokio::task::yield_now().await;
        }
        assert!(peer.answer().await.ends_with(&"x".repeat(100)), "{pieces:?}");
    }
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let mut peer = connect();
    let size = 1024 * 1024;
    peer.send(format!("POST /large HTTP/1.1\r\nhost: h\r\ncontent-length: {size}\r\n\r\n")).await;
    peer.send(vec![b'x'; size]).await;
    assert!(peer.answer().await.ends_with("1048576 bytes"));
}

#[tokio::test]
async fn a_bad_chunk_is_answered_and_counted() {
    check(
        "POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        expect![[r#"
            HTTP/1.1 400 Bad Request
            content-type: application/problem+json
            connection: close
            content-length: 114

            {"type":"/problems/malformed","title":"Bad Request","status":400,"detail":"body broke off or is not well chunked"}
            -- Done, dropped [BodyBroken]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_body_broken_off_is_counted() {
    let mut peer = connect();
    peer.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\na").await;
    peer.stream.shutdown().await.unwrap();
    assert_eq!(peer.rest().await.2, [Dropped::BodyBroken]);
}

#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let many = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let long = format!("x: {}\r\n", "y".repeat(16 * 1024));
    let endless = "x: y\r\n".repeat(30_000);
    for (name, fields) in [("many", many + "\r\n"), ("long", long), ("endless", endless)] {
        let mut peer = connect();
        peer.send(format!("GET /echo HTTP/1.1\r\nhost: h\r\n{fields}")).await;
        peer.stream.shutdown().await.unwrap();
        let (answer, reason, dropped) = peer.rest().await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{name}: {answer}");
        assert_eq!(
            (reason, dropped),
            (CloseReason::Dropped(Dropped::HeadTooLarge), vec![Dropped::HeadTooLarge])
        );
    }
}

#[tokio::test]
async fn the_number_of_headers_is_settable() {
    let mut peer = connect_with(Settings { header_count_max: 2, ..Settings::default() });
    peer.send("GET /echo HTTP/1.1\r\nhost: h\r\na: 1\r\n\r\n").await;
    assert!(peer.answer().await.starts_with("HTTP/1.1 200 "));
    peer.send("GET /echo HTTP/1.1\r\nhost: h\r\na: 1\r\nb: 2\r\n\r\n").await;
    assert!(peer.answer().await.starts_with("HTTP/1.1 431 "));
}

/// How long the server bore a client that sends `pieces`, one every 4 s, and then nothing.
async fn borne_seconds(pieces: &[&str]) -> (u64, String, CloseReason, Vec<Dropped>) {
    let mut peer = connect();
    let start = Instant::now();
    for piece in pieces {
        if peer.stream.write_all(piece.as_bytes()).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    let (answer, reason, dropped) = peer.rest().await;
    (start.elapsed().as_secs(), answer, reason, dropped)
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_given_up() {
    let drops = ["GET /", "e", "c", "h", "o"];
    let (seconds, answer, reason, dropped) = borne_seconds(&drops).await;
    assert_eq!((answer.as_str(), reason), ("", CloseReason::Dropped(Dropped::HeaderTimeout)));
    assert_eq!(dropped, [Dropped::HeaderTimeout]);
    assert!((10..=16).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_after_a_request_has_its_own_deadline() {
    let (seconds, answer, reason, _) =
        borne_seconds(&["GET /echo HTTP/1.1\r\nhost: h\r\n\r\n", "GET /echo HT"]).await;
    assert!(answer.starts_with("HTTP/1.1 200 "));
    assert_eq!((reason, seconds), (CloseReason::Dropped(Dropped::HeaderTimeout), 14));
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_answered_and_given_up() {
    let head = "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 50\r\n\r\n";
    let (seconds, answer, reason, dropped) = borne_seconds(&[head, "a", "b", "c", "d", "e", "f", "g"]).await;
    expect![[r#"
        HTTP/1.1 408 Request Timeout
        content-type: application/problem+json
        connection: close
        content-length: 110

        {"type":"/problems/timeout","title":"Request Timeout","status":408,"detail":"body did not arrive within 30 s"}"#]]
    .assert_eq(&answer);
    assert_eq!((reason, dropped), (CloseReason::Done, vec![Dropped::BodyTimeout]));
    assert!((30..=36).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_not_counted() {
    let request = "GET /echo HTTP/1.1\r\nhost: h\r\n\r\n";
    for (pieces, expected) in [(&[][..], 75), (&[request], 75), (&[request, request, request], 83)] {
        let (seconds, _, reason, dropped) = borne_seconds(pieces).await;
        assert_eq!((reason, dropped, seconds), (CloseReason::Idle, vec![], expected));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_nobody_takes_is_given_up() {
    let mut peer = connect();
    let start = Instant::now();
    peer.send("GET /pages HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let reason = peer.server.join_next().await.unwrap().unwrap();
    assert_eq!(reason, CloseReason::Dropped(Dropped::WriteTimeout));
    assert_eq!(*peer.host.dropped.lock().unwrap(), [Dropped::WriteTimeout]);
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_never_leaves_is_left() {
    let mut peer = connect();
    let start = Instant::now();
    peer.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 101\r\n\r\n").await;
    let reason = peer.server.join_next().await.unwrap().unwrap();
    // One for the body's start, five for the client to leave.
    assert_eq!((reason, start.elapsed().as_secs()), (CloseReason::Done, 6));
}

/// Without lingering the kernel resets the connection, and the answer is lost with it.
#[tokio::test]
async fn ten_megabytes_refused_over_tcp_do_not_lose_the_answer() {
    let body = vec![b'x'; 10 * 1024 * 1024];
    for head in ["content-length: 10485760", "x: y\r\n".repeat(5000).as_str()] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server_end, _) = listener.accept().await.unwrap();
        let mut peer = Peer::new(stream, server_end, Settings::default());
        peer.send(format!("POST /echo HTTP/1.1\r\nhost: h\r\n{head}\r\n\r\n")).await;
        peer.send(&body).await;
        peer.stream.shutdown().await.unwrap();
        let (answer, _, dropped) = peer.rest().await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert_eq!(dropped.len(), 1);
    }
}
