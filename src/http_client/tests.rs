//! The client against a real server on loopback.

use super::test_server::{Reply, TestServer, status};
use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn post(url: &str) -> Request<Bytes> {
    Request::post(url).body(Bytes::from_static(b"hello")).unwrap()
}

#[tokio::test]
async fn keeps_the_connection_and_does_not_follow_redirects() {
    let server = TestServer::start(|_| Reply::Send(302, "location: /elsewhere\r\n", "moved".into())).await;
    let client = HttpClient::default();
    for _ in 0..2 {
        let answer = client.send(post(&server.url("/a?b=c")), LIMIT).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (302, &b"moved"[..]));
    }
    let lines: Vec<_> = server.seen().into_iter().map(|seen| (seen.line, seen.body)).collect();
    assert_eq!(lines, vec![("POST /a?b=c HTTP/1.1".to_owned(), "hello".to_owned()); 2]);
}

#[tokio::test]
async fn a_huge_answer_is_cut() {
    let server = TestServer::start(|_| Reply::Send(200, "", "x".repeat(BODY_BYTES_MAX * 3))).await;
    let answer = HttpClient::default().send(post(&server.url("/")), LIMIT).await.unwrap();
    assert_eq!(answer.body.len(), BODY_BYTES_MAX);
}

#[tokio::test]
async fn says_why_there_is_no_answer() {
    let silent = TestServer::start(|_| Reply::Hang).await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for (url, expected) in [
        (silent.url("/"), "no answer within 50 ms"),
        (closed, "Connection refused"),
        ("ftp://host/".to_owned(), "url ftp://host/ is not http:// or https:// with a host"),
        ("/path".to_owned(), "url /path is not http:// or https:// with a host"),
    ] {
        let error = HttpClient::default().send(post(&url), Duration::from_millis(50)).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{url}: {error}");
    }
    let alive = TestServer::start(|_| status(204)).await;
    assert!(parse_url(&alive.url("/")).is_ok());
    assert!(parse_url("no url").is_err());
}
