//! Requests and answers that go well, or are refused by their head.

use expect_test::expect;

use super::*;

#[tokio::test]
async fn several_requests_on_one_connection() {
    let mut peer = connect();
    for body in ["one", "two", "three"] {
        peer.send(format!("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
            .await;
        assert!(peer.answer().await.ends_with(&format!("\n\necho: {body}")));
    }
    drop(peer.stream.shutdown().await);
    let (rest, reason, dropped) = peer.rest().await;
    assert_eq!((rest.as_str(), reason, dropped), ("", CloseReason::Done, vec![]));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let posts = "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\n1".to_owned()
        + "POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\n2\r\n2\r\n34\r\n0\r\n\r\n"
        + "GET /echo/a%2Fb/%C3%A9 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    check(
        posts,
        expect![[r#"
            HTTP/1.1 200 OK
            content-type: text/plain; charset=utf-8
            content-length: 7

            echo: 1HTTP/1.1 200 OK
            content-type: text/plain; charset=utf-8
            content-length: 9

            echo: 234HTTP/1.1 200 OK
            content-type: text/plain; charset=utf-8
            connection: close
            content-length: 13

            echo|a/b|é: 
            -- Done, dropped []
        "#]],
    )
    .await;
}

#[tokio::test]
async fn head_is_answered_like_get_without_the_body() {
    let mut peer = connect();
    peer.send(
        "HEAD /echo HTTP/1.1\r\nhost: h\r\n\r\nGET /echo HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    )
    .await;
    let (answers, ..) = peer.rest().await;
    expect![[r#"
        HTTP/1.1 200 OK
        content-type: text/plain; charset=utf-8
        content-length: 6

        HTTP/1.1 200 OK
        content-type: text/plain; charset=utf-8
        connection: close
        content-length: 6

        echo: "#]]
    .assert_eq(&answers);
}

#[tokio::test]
async fn a_refusal_by_the_head_keeps_the_connection_if_the_body_is_there() {
    let mut peer = connect();
    peer.send("POST /busy HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc").await;
    expect![[r#"
        HTTP/1.1 503 Service Unavailable
        content-type: text/plain; charset=utf-8
        retry-after: 2
        content-length: 4

        busy"#]]
    .assert_eq(&peer.answer().await);
    peer.send("OPTIONS /echo HTTP/1.1\r\nhost: h\r\n\r\n").await;
    expect![[r#"
        HTTP/1.1 405 Method Not Allowed
        content-type: application/problem+json
        allow: GET, HEAD, POST
        content-length: 110

        {"type":"/problems/method","title":"Method Not Allowed","status":405,"detail":"allowed here: GET, HEAD, POST"}"#]]
    .assert_eq(&peer.answer().await);
    assert_eq!(*peer.host.handled.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refusal_by_the_head_closes_if_the_body_is_still_to_come() {
    let mut peer = connect();
    peer.send("POST /nowhere HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\na").await;
    expect![[r#"
        HTTP/1.1 404 Not Found
        connection: close
        content-length: 0

    "#]]
    .assert_eq(&peer.answer().await);
    peer.stream.shutdown().await.unwrap();
    assert_eq!(peer.rest().await, (String::new(), CloseReason::Done, vec![]));
}

#[tokio::test]
async fn continue_is_said_when_the_body_is_wanted() {
    let mut peer = connect();
    peer.send("POST /echo HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").await;
    assert_eq!(peer.answer().await, "HTTP/1.1 100 Continue\n\n");
    peer.send("abc").await;
    assert!(peer.answer().await.ends_with("\n\necho: abc"));
}

#[tokio::test]
async fn continue_is_not_said_when_the_head_is_refused() {
    for (path, size, status) in [("busy", 3, "503"), ("nowhere", 3, "404"), ("echo", 101, "413")] {
        let mut peer = connect();
        peer.send(format!(
            "POST /{path} HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: {size}\r\n\r\n"
        ))
        .await;
        let answer = peer.answer().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.contains("connection: close"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_sending_side_closed_early_still_gets_its_answer() {
    let mut peer = connect();
    peer.send("GET /gate HTTP/1.1\r\nhost: h\r\n\r\n").await;
    peer.stream.shutdown().await.unwrap();
    peer.handled(1).await;
    peer.host.gate.add_permits(1);
    let (answers, reason, _) = peer.rest().await;
    assert!(answers.ends_with("through"), "{answers}");
    assert_eq!(reason, CloseReason::Done);
}

#[tokio::test]
async fn malformed_requests_are_answered_and_counted() {
    let cases: [(&[u8], &str, Dropped); 9] = [
        (b"GET /echo HTTP/1.1 \x01\r\n\r\n", "400", Dropped::BadRequest),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "400", Dropped::BadRequest),
        (b"GET /echo HTTP/1.1\r\nhost: h\r\nno colon\r\n\r\n", "400", Dropped::BadRequest),
        (b"GET /ec\xffho HTTP/1.1\r\nhost: h\r\n\r\n", "400", Dropped::BadRequest),
        (
            b"POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "400",
            Dropped::BadRequest,
        ),
        (b"GET /100% HTTP/1.1\r\nhost: h\r\n\r\n", "400", Dropped::BadTarget),
        (b"GET /%C3%28 HTTP/1.1\r\nhost: h\r\n\r\n", "400", Dropped::BadTarget),
        (b"GET /echo HTTP/1.1\r\n\r\n", "400", Dropped::BadTarget),
        (b"GET /echo HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400", Dropped::BadTarget),
    ];
    for (request, status, reason) in cases {
        let mut peer = connect();
        peer.send(request).await;
        peer.stream.shutdown().await.unwrap();
        let (answer, _, dropped) = peer.rest().await;
        let request = String::from_utf8_lossy(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        assert_eq!(dropped, [reason], "{request:?}");
    }
}

#[tokio::test]
async fn a_malformed_path_is_named_in_the_problem() {
    check(
        "GET /a/50% HTTP/1.1\r\nhost: h\r\n\r\n",
        expect![[r#"
            HTTP/1.1 400 Bad Request
            content-type: application/problem+json
            content-length: 139

            {"type":"/problems/malformed","title":"Bad Request","status":400,"detail":"path segment \"50%\" has a percent sign without two hex digits"}
            -- Done, dropped [BadTarget]
        "#]],
    )
    .await;
}

/// The host gets what there is of the body, and a body read to its end leaves the connection usable.
#[tokio::test]
async fn a_malformed_path_comes_with_how_its_body_begins() {
    let mut peer = connect();
    let large = "x".repeat(10_000);
    let table = [
        ("content-length: 4\r\n", "body", "body", "keep-alive"),
        ("transfer-encoding: chunked\r\n", "2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", "body", "keep-alive"),
        ("expect: 100-continue\r\ncontent-length: 4\r\n", "", "", "close"),
        ("content-length: 1000000\r\n", &large, &large[..Oversize::START_BYTES_MAX], "close"),
    ];
    for (headers, body, start, connection) in table {
        peer.send(format!("POST /a/%ff HTTP/1.1\r\nhost: h\r\n{headers}\r\n{body}")).await;
        let answer = peer.answer().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{headers}: {answer}");
        assert_eq!(answer.contains("connection: close"), connection == "close", "{headers}: {answer}");
        let handled = std::mem::take(&mut *peer.host.handled.lock().unwrap());
        assert_eq!(handled, [format!("/a/%ff: {start}")], "{headers}");
        if connection == "close" {
            peer = connect();
        }
    }
}

#[tokio::test]
async fn connect_is_not_a_tunnel() {
    let mut peer = connect();
    peer.send("CONNECT h:80 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(peer.answer().await.starts_with("HTTP/1.1 501 "));
}
