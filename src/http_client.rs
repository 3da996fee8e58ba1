//! The one outgoing HTTP client: every sink that speaks HTTP goes through it.
//!
//! HTTP/1.1 with keep-alive over `http://` and `https://` (rustls, the system's roots). A request has one time
//! limit for everything, an answer's body is kept up to [`BODY_BYTES_MAX`], redirects are not followed: a row
//! must not end up with somebody the configuration does not name.

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

#[cfg(test)]
pub mod test_server;

/// What is kept of an answer's body; more is not read, and the connection is closed.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long a TCP connection may take to open; a request's own limit may be shorter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection stays open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Unused connections kept for one host.
const IDLE_PER_HOST_MAX: usize = 16;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is none that can be asked.
    #[error("url {0} is not http:// or https:// with a host")]
    Url(String),
    /// The system's certificate roots cannot be read, so no `https://` server can be trusted.
    #[error("no certificate roots for https: {0}")]
    Roots(String),
    /// No answer within the time limit.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The connection failed, or the answer is not HTTP.
    #[error("{0}")]
    Transport(String),
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The first [`BODY_BYTES_MAX`] of the body, or what came of it in time.
    pub body: Bytes,
}

/// What of an answer's body a message shows.
const SHOWN_CHARS_MAX: usize = 300;

impl Answer {
    /// The start of the body, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(SHOWN_CHARS_MAX).collect()
    }

    /// `Retry-After` in seconds (RFC 9110 §10.2.3); a date is not read, as our clock may be off.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
        value.trim().parse().ok().map(Duration::from_secs)
    }
}

type SecureClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The client; clones share their connections.
#[derive(Clone)]
pub struct HttpClient {
    plain: Client<HttpConnector, Full<Bytes>>,
    secure: Arc<OnceLock<Result<SecureClient, String>>>,
}

impl Default for HttpClient {
    fn default() -> Self {
        Self { plain: client(tcp()), secure: Arc::default() }
    }
}

impl HttpClient {
    /// Sends `request` and waits at most `limit` for the whole answer.
    ///
    /// Once the status is here the request has been heard, so a body that fails or stalls is cut, not an error.
    ///
    /// # Errors
    /// [`HttpError`] where there is no status: whether the request was heard is then unknown.
    pub async fn send(&self, request: Request<Bytes>, limit: Duration) -> Result<Answer, HttpError> {
        let until = Instant::now() + limit;
        let is_secure = is_secure(request.uri())?;
        let request = request.map(Full::new);
        let answer = if is_secure { self.secure()?.request(request) } else { self.plain.request(request) };
        let answer = timeout_at(until, answer).await.map_err(|_| HttpError::Timeout(limit))?;
        let (head, body) = answer.map_err(|error| HttpError::Transport(causes(&error)))?.into_parts();
        let body = read_body(body, until).await;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// The client for `https://`, made when first needed: a machine without roots can still speak `http://`.
    fn secure(&self) -> Result<&SecureClient, HttpError> {
        let make = || {
            let roots =
                HttpsConnectorBuilder::new().with_native_roots().map_err(|error| error.to_string())?;
            Ok(client(roots.https_only().enable_http1().wrap_connector(tcp())))
        };
        self.secure.get_or_init(make).as_ref().map_err(|error| HttpError::Roots(error.clone()))
    }
}

/// Checks that `url` can be asked.
///
/// # Errors
/// [`HttpError::Url`] where it is not an absolute `http://` or `https://` URL.
pub fn parse_url(url: &str) -> Result<Uri, HttpError> {
    let uri: Uri = url.parse().map_err(|_| HttpError::Url(url.to_owned()))?;
    is_secure(&uri).map(|_| uri)
}

fn is_secure(uri: &Uri) -> Result<bool, HttpError> {
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(false),
        (Some("https"), Some(_)) => Ok(true),
        _ => Err(HttpError::Url(uri.to_string())),
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.enforce_http(false);
    tcp
}

fn client<C: Connect + Clone>(connector: C) -> Client<C, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .build(connector)
}

async fn read_body(mut source: impl BodyExt<Data = Bytes> + Unpin, until: Instant) -> Bytes {
    let mut body = BytesMut::new();
    while let Ok(Some(Ok(frame))) = timeout_at(until, source.frame()).await {
        let Ok(data) = frame.into_data() else { continue };
        let room = BODY_BYTES_MAX - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() >= room {
            break;
        }
    }
    body.freeze()
}

/// An error with its causes: the outermost one alone says only "client error (Connect)".
fn causes(error: &hyper_util::client::legacy::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
