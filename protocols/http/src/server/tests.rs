//! Raw bytes in, raw bytes out, over an in-memory stream or loopback.

use std::sync::Mutex;
use std::time::Duration;

use expect_test::Expect;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;
use crate::{Admission, BadTarget, Head, Method, Oversize, Request, Response, Status};

mod exchanges;
mod lifetime;
mod limits;

/// Bytes the in-memory stream holds each way.
const STREAM_BYTES: usize = 256 * 1024;

/// `/echo` (100 B), `/large` (1 MiB), `/gate` waits, `/pages` answers 1 MiB, `/busy` is overloaded.
struct TestHost {
    dropped: Mutex<Vec<Dropped>>,
    handled: Mutex<Vec<String>>,
    gate: Semaphore,
}

impl Host for TestHost {
    fn admit(&self, head: &Head) -> Admission {
        let segments = head.segments().collect::<Vec<_>>();
        match (segments.as_slice(), head.method()) {
            (["busy"], _) => Admission::Answer(
                Response::text(Status::SERVICE_UNAVAILABLE, "busy").retry_after(Duration::from_secs(2)),
            ),
            (["echo" | "gate" | "pages", ..], Method::Get | Method::Head | Method::Post) => {
                Admission::Read { body_bytes_max: 100 }
            }
            (["large"], Method::Post) => Admission::Read { body_bytes_max: 1024 * 1024 },
            (["echo", ..], _) => {
                Admission::Answer(Response::method_not_allowed(&[Method::Get, Method::Head, Method::Post]))
            }
            _ => Admission::Answer(Response::new(Status::NOT_FOUND)),
        }
    }

    async fn handle(&self, request: Request) -> Response {
        let segments = request.head.segments().collect::<Vec<_>>().join("|");
        self.handled.lock().unwrap().push(segments.clone());
        match segments.as_str() {
            "gate" => {
                self.gate.acquire().await.unwrap().forget();
                Response::text(Status::OK, "through")
            }
            "pages" => Response::text(Status::OK, "p".repeat(1024 * 1024)),
            "large" => Response::text(Status::OK, format!("{} bytes", request.body.len())),
            _ => {
                Response::text(Status::OK, format!("{segments}: {}", String::from_utf8_lossy(&request.body)))
            }
        }
    }

    async fn bad_target(&self, request: BadTarget) -> Response {
        let evidence = format!("{}: {}", request.head.raw_path(), request.start.escape_ascii());
        self.handled.lock().unwrap().push(evidence);
        self.dropped(Dropped::BadTarget);
        request.into_response()
    }

    fn dropped(&self, reason: Dropped) {
        self.dropped.lock().unwrap().push(reason);
    }
}

/// A client and the server it talks to.
struct Peer<S> {
    stream: S,
    host: Arc<TestHost>,
    server: JoinSet<CloseReason>,
    shutdown: CancellationToken,
}

fn host() -> Arc<TestHost> {
    Arc::new(TestHost { dropped: Mutex::default(), handled: Mutex::default(), gate: Semaphore::new(0) })
}

fn connect() -> Peer<DuplexStream> {
    connect_with(Settings::default())
}

fn connect_with(settings: Settings) -> Peer<DuplexStream> {
    let (stream, server_end) = tokio::io::duplex(STREAM_BYTES);
    Peer::new(stream, server_end, settings)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    fn new<T>(stream: S, server_end: T, settings: Settings) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (host, shutdown, mut server) = (host(), CancellationToken::new(), JoinSet::new());
        let (its_host, its_shutdown) = (host.clone(), shutdown.clone());
        server.spawn(async move { serve(server_end, None, its_host, &settings, its_shutdown).await });
        Self { stream, host, server, shutdown }
    }

    async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
    }

    /// Reads one head (without `date`) and the body it announces.
    async fn answer(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.expect("an answer before the end of the stream"));
        }
        let head = String::from_utf8(head).unwrap();
        let size = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; size.map_or(0, |size| size.parse().unwrap())];
        self.stream.read_exact(&mut body).await.unwrap();
        without_date(&(head + std::str::from_utf8(&body).unwrap()))
    }

    /// Reads to the end of the stream and learns why the server ended it.
    async fn rest(mut self) -> (String, CloseReason, Vec<Dropped>) {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).await.unwrap();
        let reason = self.server.join_next().await.unwrap().unwrap();
        let dropped = self.host.dropped.lock().unwrap().clone();
        (without_date(&rest), reason, dropped)
    }

    /// Waits until the host has begun `count` requests.
    async fn handled(&self, count: usize) {
        while self.host.handled.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
    }
}

fn without_date(answer: &str) -> String {
    let kept = answer.split_inclusive('\n').filter(|line| !line.starts_with("date: "));
    kept.collect::<String>().replace('\r', "")
}

/// Sends `request`, expects everything that comes until the server closes, and why.
async fn check(request: impl AsRef<[u8]>, expected: Expect) {
    let mut peer = connect();
    peer.send(request).await;
    peer.stream.shutdown().await.unwrap();
    let (answers, reason, dropped) = peer.rest().await;
    expected.assert_eq(&format!("{answers}\n-- {reason:?}, dropped {dropped:?}\n"));
}
