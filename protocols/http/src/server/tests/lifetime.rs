//! Shutdown and connections that break.

use super::*;

#[tokio::test]
async fn shutdown_closes_an_idle_connection_at_once() {
    for requests in [0, 1] {
        let mut peer = connect();
        for _ in 0..requests {
            peer.send("GET /echo HTTP/1.1\r\nhost: h\r\n\r\n").await;
            peer.answer().await;
        }
        peer.shutdown.cancel();
        assert_eq!(peer.rest().await, (String::new(), CloseReason::Shutdown, vec![]), "{requests} requests");
    }
}

#[tokio::test]
async fn shutdown_finishes_the_request_in_flight() {
    let mut peer = connect();
    peer.send("GET /gate HTTP/1.1\r\nhost: h\r\n\r\nGET /echo HTTP/1.1\r\nhost: h\r\n\r\n").await;
    peer.handled(1).await;
    peer.shutdown.cancel();
    tokio::task::yield_now().await;
    peer.host.gate.add_permits(1);
    let host = peer.host.clone();
    let (answers, reason, _) = peer.rest().await;
    assert!(answers.contains("connection: close") && answers.ends_with("through"), "{answers}");
    assert_eq!(reason, CloseReason::Shutdown);
    assert_eq!(*host.handled.lock().unwrap(), ["gate"]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_a_head_only_as_long_as_heads_may_take() {
    let mut peer = connect();
    peer.send("GET /echo HT").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    peer.shutdown.cancel();
    let start = tokio::time::Instant::now();
    let (_, reason, _) = peer.rest().await;
    assert_eq!((reason, start.elapsed().as_secs()), (CloseReason::Dropped(Dropped::HeaderTimeout), 9));
}

#[tokio::test]
async fn a_head_broken_off_is_counted() {
    let mut peer = connect();
    peer.send("GET /echo HT").await;
    peer.stream.shutdown().await.unwrap();
    let (_, reason, dropped) = peer.rest().await;
    assert_eq!((reason, dropped), (CloseReason::Dropped(Dropped::Truncated), vec![Dropped::Truncated]));
}

#[tokio::test]
async fn a_peer_that_left_does_not_cancel_its_request() {
    let mut peer = connect();
    peer.send("GET /gate HTTP/1.1\r\nhost: h\r\n\r\n").await;
    peer.handled(1).await;
    let Peer { stream, host, mut server, .. } = peer;
    drop(stream);
    tokio::task::yield_now().await;
    host.gate.add_permits(1);
    server.join_next().await.unwrap().unwrap();
    assert_eq!(host.gate.available_permits(), 0, "the host went on to its end");
}
