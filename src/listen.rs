//! Listeners: sockets in, verdicts out. The first and the last hop of a message.
//!
//! A protocol crate turns bytes into messages and calls its host here ([`mqtt`], [`coap`], [`http`]); the host
//! asks [`crate::access`] who that is and hands the burst to the one [`Door`]: intake, journal, verdicts; the
//! host answers by the one table of refusals (CONTRACT §4), and the crate writes it.
//!
//! [`start`] binds every address first, so that one in use is an error before anything is served.
//!
//! Absent: TLS and DTLS, an existing broker's client, WebSocket. Nothing here sees a sink or the
//! administration; pages other than `/ingest` come through the port [`Pages`].

mod accept;
mod door;
mod room;
mod verdict;
mod identity;
mod mqtt;
mod coap;
mod http;

use std::collections::HashMap;
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

pub use door::{Door, Setup};
pub use http::Pages;
pub use room::{Level, Pressure, Room, used_by_pins, used_of_disk};
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

/// Sockets that are bound and not served yet: clients wait in the kernel's queues.
pub struct Bound(Vec<(Listener, Vec<Open>)>);

/// A bound socket.
struct Open {
    addr: SocketAddr,
    socket: Sock,
}

enum Sock {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Binds all addresses of `listeners` and serves them.
///
/// # Errors
/// The first address that cannot be bound; then nothing is served.
pub fn start(listeners: &[Listener], parts: &Parts) -> Result<Vec<Listening>, BindError> {
    let bound = bind(listeners)?;
    let listening = bound.listening();
    bound.serve(parts);
    Ok(listening)
}

/// Binds all addresses of `listeners`. Needs a tokio runtime.
///
/// # Errors
/// The first address that cannot be bound.
pub fn bind(listeners: &[Listener]) -> Result<Bound, BindError> {
    let bind_all = |listener: &Listener| {
        let open = listener.bind.iter().map(|addr| {
            open(listener.kind, *addr).map_err(|source| {
                let name = listener.name.clone();
                BindError { name, addr: *addr, source }
            })
        });
        Ok((listener.clone(), open.collect::<Result<_, _>>()?))
    };
    listeners.iter().map(bind_all).collect::<Result<_, _>>().map(Bound)
}

fn open(kind: ListenerKind, addr: SocketAddr) -> io::Result<Open> {
    match kind {
        ListenerKind::Mqtt | ListenerKind::Http => {
            let listener = accept::tcp(addr)?;
            Ok(Open { addr: listener.local_addr()?, socket: Sock::Tcp(listener) })
        }
        ListenerKind::Coap => {
            let socket = accept::udp(addr)?;
            Ok(Open { addr: socket.local_addr()?, socket: Sock::Udp(socket) })
        }
    }
}

impl Bound {
    /// What is bound, in the order of the configuration.
    pub fn listening(&self) -> Vec<Listening> {
        let each = |(listener, open): &(Listener, Vec<Open>)| {
            let (name, kind) = (listener.name.clone(), listener.kind);
            let one = move |open: &Open| Listening { name: name.clone(), kind, addr: open.addr };
            open.iter().map(one).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(each).collect()
    }

    /// Serves every socket in tasks of the tracker, until shutdown.
    pub fn serve(self, parts: &Parts) {
        let mut servers = MqttServers::new();
        for (listener, open) in self.0 {
            let permits = Arc::new(Semaphore::new(listener.max_connections.min(Semaphore::MAX_PERMITS)));
            for Open { socket, .. } in open {
                let (permits, parts) = (permits.clone(), parts.clone());
                match socket {
                    Sock::Udp(socket) => serve_coap(socket, &listener, parts),
                    Sock::Tcp(socket) if listener.kind == ListenerKind::Mqtt => {
                        serve_mqtt(socket, mqtt_server(&mut servers, &listener, &parts), permits, parts);
                    }
                    Sock::Tcp(socket) => serve_http(socket, &listener, permits, parts),
                }
            }
        }
    }
}

/// One server for all listeners with the same limit, so that a client id is connected once.
type MqttServers = HashMap<usize, Arc<::mqtt::Server<mqtt::MqttHost>>>;

fn mqtt_server(
    servers: &mut MqttServers,
    listener: &Listener,
    parts: &Parts,
) -> Arc<::mqtt::Server<mqtt::MqttHost>> {
    let max_message_bytes = listener.max_message_bytes;
    let new = || {
        let settings = ::mqtt::Settings { max_message_bytes, ..::mqtt::Settings::default() };
        Arc::new(::mqtt::Server::new(Arc::new(mqtt::MqttHost::new(parts.door.clone())), settings))
    };
    servers.entry(max_message_bytes).or_insert_with(new).clone()
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
