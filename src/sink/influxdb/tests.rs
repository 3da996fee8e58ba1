//! What InfluxDB answers and what becomes of the rows.

use super::*;
use crate::config::{PointTime, Secret};
use crate::http_client::test_server::{Reply, Seen, TestServer, status};
use crate::model::{Offset, Output, ResultId, Row, StreamName, Timestamp};
use crate::outbox::test_stream::result;

fn open(server: &TestServer) -> InfluxdbSink {
    let settings = config::InfluxdbSink {
        url: server.url("/"),
        database: "my site".into(),
        credentials: Some(("user".into(), Secret("pass".into()))),
        time: PointTime::Start,
    };
    InfluxdbSink::open("tsdb".into(), &settings, HttpClient::default()).unwrap()
}

async fn deliver(server: &TestServer, count: u32) -> Result<(), SinkError> {
    let outputs: Arc<[Output]> = (0..count).map(|n| result(&format!("k{n}"), n)).collect();
    let delivery = |at| Delivery {
        id: ResultId::EMPTY,
        stream: StreamName::Results,
        offset: Offset(at as u64),
        written: Timestamp::default(),
        row: Row::Output(Arc::clone(&outputs), at),
    };
    let rows: Vec<_> = (0..outputs.len()).map(delivery).collect();
    open(server).deliver(&rows, &Positions::default()).await
}

/// The values of `n` of a request's points.
fn points(seen: &Seen) -> Vec<u32> {
    let n = |line: &str| line.split_once(" n=").unwrap().1.split_once(".0,").unwrap().0.parse().unwrap();
    seen.body.lines().map(n).collect()
}

#[tokio::test]
async fn writes_all_points_in_one_request() {
    let server = TestServer::start(|_| status(204)).await;
    deliver(&server, 3).await.unwrap();
    let [seen] = server.seen().try_into().unwrap();
    assert_eq!(seen.line, "POST /write?db=my%20site&precision=ns HTTP/1.1");
    assert_eq!(seen.header("authorization"), Some("Basic dXNlcjpwYXNz"));
    assert_eq!(seen.body.lines().next(), Some("p,key=k0 n=0.0,revision=0.0 1000000000"));
    assert_eq!(points(&seen), [0, 1, 2]);
    assert!(seen.body.ends_with('\n'));
}

#[tokio::test]
async fn finds_the_points_that_are_refused_and_writes_the_others() {
    let server = TestServer::start(|seen| {
        if points(seen).iter().any(|n| [3, 64, 65].contains(n)) {
            return Reply::Send(400, "", r#"{"error":"partial write: field type conflict"}"#.into());
        }
        status(204)
    })
    .await;
    let error = deliver(&server, 100).await.unwrap_err();
    assert_eq!(error.rejected.iter().map(|rejected| rejected.row).collect::<Vec<_>>(), [3, 64, 65]);
    assert_eq!(error.rejected[0].reason, r#"400: {"error":"partial write: field type conflict"}"#);
    assert_eq!(error.retry, None);
    let mut alone = server.seen();
    alone.retain(|seen| !points(seen).iter().any(|n| [3, 64, 65].contains(n)));
    let mut written: Vec<_> = alone.iter().flat_map(points).collect();
    written.sort_unstable();
    assert_eq!(written, (0..100).filter(|n| ![3, 64, 65].contains(n)).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_not_written_yet_is_tried_again() {
    for (reply, body) in
        [(404, r#"{"error":"database not found: \"my site\""}"#), (401, ""), (429, ""), (503, "")]
    {
        let server = TestServer::start(move |_| Reply::Send(reply, "retry-after: 3\r\n", body.into())).await;
        let error = deliver(&server, 2).await.unwrap_err();
        let rows = RetryRows::Only(vec![0, 1]);
        let (reason, after) = (format!("{reply}: {body}"), Some(Duration::from_secs(3)));
        assert_eq!(error, SinkError { rejected: vec![], retry: Some(Retry { rows, reason, after }) });
    }
}

#[tokio::test]
async fn a_failure_in_the_middle_of_halving_keeps_what_is_known() {
    let server = TestServer::start(|seen| match points(seen)[..] {
        [0] | [0, ..] => status(400),
        [1, ..] => status(204),
        _ => status(500),
    })
    .await;
    let error = deliver(&server, 4).await.unwrap_err();
    assert_eq!(error.rejected, [Rejected { row: 0, reason: "400: ".into() }]);
    assert_eq!(error.retry.unwrap().rows, RetryRows::Only(vec![2, 3]));
}
