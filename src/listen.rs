//! Listeners: sockets in, verdicts out. The first and the last hop of a message.
//!
//! A protocol crate turns bytes into messages and calls its host here ([`mqtt`], [`coap`], [`http`]); the host
//! asks [`crate::access`] who that is and hands the burst to the one [`Door`]: intake, journal, verdicts; the
//! host answers by the one table of refusals (CONTRACT §4), and the crate writes it.
//!
//! [`start`] binds every address first, so that one in use is an error before anything is served; [`Serving`]
//! exchanges listeners while the gateway runs.
//!
//! Absent: TLS and DTLS, an existing broker's client, WebSocket. Nothing here sees a sink or the
//! administration; pages other than `/ingest` come through the port [`Pages`].

mod accept;
mod door;
mod room;
mod serving;
mod verdict;
mod identity;
mod mqtt;
mod coap;
mod http;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Listener, ListenerKind};
use crate::model::{Media, Protocol};
use crate::telemetry::Metrics;
use crate::telemetry::facts::{ConnectionClosed, ConnectionOpened, Fact};

pub use door::{Door, Rules, Setup};
pub use http::Pages;
pub use room::{Level, Pressure, Room, used_by_pins, used_of_disk};
pub use serving::{Bound, Exchange, Serving, bind};
pub use verdict::Verdict;

/// What every listener is given.
#[derive(Clone)]
pub struct Parts {
    /// The door.
    pub door: Arc<Door>,
    /// Answers what is not `/ingest`.
    pub pages: Arc<dyn Pages>,
    /// Knows every loop and connection: closed and awaited, all of them have ended.
    pub tracker: TaskTracker,
    /// Ends them: what the door has is answered, nothing more is read.
    pub shutdown: CancellationToken,
}

/// A bound address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The listener's table: `mqtt`.
    pub name: Arc<str>,
    /// The protocol.
    pub kind: ListenerKind,
    /// The address, with the port that was given for port 0.
    pub addr: SocketAddr,
}

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("listen.{name}.bind: cannot bind {addr}")]
pub struct BindError {
    /// The listener's table.
    pub name: Arc<str>,
    /// The address.
    pub addr: SocketAddr,
    /// What the operating system said.
    pub source: io::Error,
}

/// Binds all addresses of `listeners` and serves them.
///
/// # Errors
/// The first address that cannot be bound; then nothing is served.
pub fn start(listeners: &[Listener], parts: &Parts) -> Result<Serving, BindError> {
    Ok(bind(listeners)?.serve(parts.clone()))
}

fn serve_mqtt(
    socket: TcpListener,
    server: Arc<::mqtt::Server<mqtt::MqttHost>>,
    permits: Arc<Semaphore>,
    parts: Parts,
) {
    let Parts { door, tracker, shutdown, .. } = parts;
    let accept = accept::Loop { permits, tracker: tracker.clone(), shutdown: shutdown.clone() };
    tracker.spawn(accept.run(socket, move |stream, peer| {
        let (server, shutdown, metrics) = (server.clone(), shutdown.clone(), door.metrics.clone());
        async move {
            let connection = Connection::opened(Protocol::Mqtt, peer, metrics);
            let why = server.serve(stream, Some(peer), &shutdown).await;
            connection.closed(&why.to_string());
        }
    }));
}

fn serve_http(socket: TcpListener, listener: &Listener, permits: Arc<Semaphore>, parts: Parts) {
    let Parts { door, pages, tracker, shutdown } = parts;
    let host = Arc::new(http::HttpHost::new(door.clone(), pages, listener));
    let accept = accept::Loop { permits, tracker: tracker.clone(), shutdown: shutdown.clone() };
    let settings = Arc::new(httpd::Settings::default());
    tracker.spawn(accept.run(socket, move |stream, peer| {
        let (host, shutdown, metrics) = (host.clone(), shutdown.clone(), door.metrics.clone());
        let settings = settings.clone();
        async move {
            let connection = Connection::opened(Protocol::Http, peer, metrics);
            let why = httpd::serve(stream, Some(peer), host, &settings, shutdown).await;
            connection.closed(&format!("{why:?}"));
        }
    }));
}

fn serve_coap(socket: UdpSocket, listener: &Listener, parts: Parts) {
    let Parts { door, tracker, shutdown, .. } = parts;
    let host = Arc::new(coap::CoapHost::new(door));
    let settings =
        ::coap::Settings { body_bytes_max: listener.max_message_bytes, ..::coap::Settings::default() };
    let name = listener.name.clone();
    tracker.spawn(async move {
        if let Err(error) = ::coap::serve(socket, host, settings, shutdown).await {
            tracing::error!(listener = &*name, %error, "listener stopped");
        }
    });
}

/// An open connection: closed in the metrics however its task ends.
struct Connection {
    protocol: Protocol,
    peer: SocketAddr,
    metrics: Arc<Metrics>,
    why: String,
}

impl Connection {
    fn opened(protocol: Protocol, peer: SocketAddr, metrics: Arc<Metrics>) -> Self {
        ConnectionOpened { protocol, peer }.record(&metrics);
        Self { protocol, peer, metrics, why: "its task was dropped".to_owned() }
    }

    fn closed(mut self, why: &str) {
        why.clone_into(&mut self.why);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        ConnectionClosed { protocol: self.protocol, peer: self.peer, why: &self.why }.record(&self.metrics);
    }
}

/// A content type as intake wants it: lower case, without parameters.
fn media_type(text: &str) -> Media {
    let name = text.split(';').next().unwrap_or_default().trim();
    if name.is_empty() { Media::Unsaid } else { Media::Type(name.to_ascii_lowercase().into()) }
}

#[cfg(test)]
mod tests;
