//! What a webhook answers and what becomes of the rows.

use super::*;
use crate::config::Secret;
use crate::http_client::test_server::{Reply, Seen, TestServer, status};
use crate::model::{AlertState, Offset, Output, Row, StreamName, Timestamp};
use crate::outbox::test_stream::{alert, result};

fn settings(url: String) -> config::WebhookSink {
    let headers = vec![("X-Team".to_owned(), Secret("night shift".to_owned()))];
    let secret = Some(Secret("key".to_owned()));
    config::WebhookSink { url, headers, secret, timeout: Duration::from_millis(500) }
}

fn deliveries(outputs: Vec<Output>) -> Vec<Delivery> {
    let outputs: Arc<[Output]> = outputs.into();
    let delivery = |at| {
        let (row, offset) = (Row::Output(Arc::clone(&outputs), at), Offset(at as u64));
        let id = row.view().id(crate::model::ResultId::EMPTY, offset);
        Delivery { id, stream: StreamName::Results, offset, written: Timestamp::default(), row }
    };
    (0..outputs.len()).map(delivery).collect()
}

async fn deliver(server: &TestServer, outputs: Vec<Output>) -> Result<(), SinkError> {
    let mut sink =
        WebhookSink::open("hook".into(), &settings(server.url("/hook")), HttpClient::default()).unwrap();
    sink.deliver(&deliveries(outputs), &Positions::default()).await
}

#[tokio::test]
async fn posts_the_rows_json_signed_and_with_its_id() {
    let server = TestServer::start(|_| status(200)).await;
    deliver(&server, vec![alert("e", AlertState::Firing)]).await.unwrap();
    let [seen] = server.seen().try_into().unwrap();
    let json: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(
        (&seen.line[..], &json["type"], &json["summary"]),
        ("POST /hook HTTP/1.1", &"alert".into(), &"e is firing".into())
    );
    assert_eq!(seen.header("idempotency-key"), json["id"].as_str());
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("x-team"), Some("night shift"));
    let signature = seen.header("x-forebay-signature").unwrap().strip_prefix("sha256=").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
    hmac::verify(&key, seen.body.as_bytes(), &HEXLOWER.decode(signature.as_bytes()).unwrap()).unwrap();
}

#[test]
fn the_signature_is_that_of_rfc_4231() {
    // Test case 2.
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"Jefe"), b"what do ya want for nothing?");
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(HEXLOWER.encode(tag.as_ref()), expected);
}

fn key_and_n(seen: &Seen) -> (String, u64) {
    let json: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    (json["key"].as_str().unwrap().to_owned(), json["values"]["n"].as_u64().unwrap())
}

#[tokio::test]
async fn rows_of_a_key_arrive_in_order() {
    let server = TestServer::start(|_| status(204)).await;
    deliver(&server, (0..60).map(|n| result(&format!("k{}", n % 7), n)).collect()).await.unwrap();
    let seen: Vec<_> = server.seen().iter().map(key_and_n).collect();
    assert_eq!(seen.len(), 60);
    for key in (0..7).map(|key| format!("k{key}")) {
        let of_key: Vec<_> = seen.iter().filter(|(k, _)| *k == key).map(|(_, n)| *n).collect();
        assert!(of_key.is_sorted(), "{key}: {of_key:?}");
    }
}

#[tokio::test]
async fn answers_decide_what_becomes_of_a_row() {
    for (reply, expected) in [
        (200, "taken"),
        (204, "taken"),
        (302, "retry"),
        (400, "rejected"),
        (404, "rejected"),
        (408, "retry"),
        (410, "rejected"),
        (425, "retry"),
        (429, "retry"),
        (500, "retry"),
        (503, "retry"),
    ] {
        let answer = move |_: &Seen| Reply::Send(reply, "retry-after: 7\r\n", "why".to_owned());
        let server = TestServer::start(answer).await;
        let outcome = deliver(&server, vec![result("k", 0)]).await;
        let got = match outcome {
            Ok(()) => "taken",
            Err(SinkError { rejected, retry: None }) => {
                assert_eq!(rejected, [Rejected { row: 0, reason: format!("{reply}: why") }]);
                "rejected"
            }
            Err(SinkError { retry: Some(retry), .. }) => {
                assert_eq!(retry.after, Some(Duration::from_secs(7)));
                assert_eq!(retry.rows, RetryRows::Only(vec![0]));
                "retry"
            }
        };
        assert_eq!(got, expected, "{reply}");
    }
}

#[tokio::test]
async fn a_refused_row_does_not_stop_its_key_and_a_failed_one_does() {
    let server = TestServer::start(|seen| match key_and_n(seen).1 {
        1 => status(422),
        3 => status(500),
        _ => status(200),
    })
    .await;
    let error = deliver(&server, (0..6).map(|n| result("k", n)).collect()).await.unwrap_err();
    assert_eq!(error.rejected, [Rejected { row: 1, reason: "422: ".into() }]);
    let retry = error.retry.clone().unwrap();
    assert_eq!((retry.rows, &retry.reason[..]), (RetryRows::Only(vec![3, 4, 5]), "500: "));
    assert_eq!(error.rows_left(6), 4);
    let sent: Vec<_> = server.seen().iter().map(|seen| key_and_n(seen).1).collect();
    assert_eq!(sent, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_silent_counterpart_costs_one_time_limit() {
    let server = TestServer::start(|_| Reply::Hang).await;
    let error = deliver(&server, (0..100).map(|n| result(&format!("k{n}"), n)).collect()).await.unwrap_err();
    let retry = error.retry.unwrap();
    assert_eq!(retry.rows, RetryRows::Only((0..100).collect()));
    assert_eq!(retry.reason, "no answer within 500 ms");
    assert!(server.seen().len() <= CONCURRENT_MAX, "{} requests", server.seen().len());
}

#[test]
fn a_url_or_header_that_is_none_is_said_at_once() {
    let open = |settings: &config::WebhookSink| {
        WebhookSink::open("hook".into(), settings, HttpClient::default()).err().unwrap().to_string()
    };
    let bad = settings("localhost/hook".into());
    assert_eq!(open(&bad), "sink hook: url localhost/hook is not http:// or https:// with a host");
    let mut bad = settings("http://localhost/hook".into());
    bad.headers = vec![("X Team".into(), Secret("a".into()))];
    assert_eq!(open(&bad), "sink hook: header X Team is not a header");
}
