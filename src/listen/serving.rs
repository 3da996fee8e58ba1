//! Which listeners serve: bound, served, and exchanged for others while the gateway runs.
//!
//! [`bind`] opens sockets, [`Bound::serve`] serves them. For an exchange, [`Serving::prepare`] binds what is new, so
//! that an address in use changes nothing, and [`Serving::exchange`] drains the listeners that go before it serves
//! the new ones. A listener that keeps an address and changes otherwise keeps its socket, through a second
//! descriptor of it: clients wait in the kernel's queues meanwhile and are not refused.
//!
//! Invariants: a listener that does not differ is not touched; MQTT listeners with the same limit share a server
//! for as long as the gateway runs, so that a client id is connected once.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{BindError, Listening, Parts, accept, mqtt, serve_coap, serve_http, serve_mqtt};
use crate::config::{Listener, ListenerKind};

/// How long connections of a listener that goes may take to end; then they end beside its successor.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Sockets that are bound and not served yet: clients wait in the kernel's queues.
pub struct Bound(Vec<(Listener, Vec<Open>)>);

/// A bound socket.
struct Open {
    /// As configured: port 0 where any will do.
    wanted: SocketAddr,
    addr: SocketAddr,
    socket: Sock,
    /// A second descriptor of the socket.
    spare: Arc<OwnedFd>,
}

enum Sock {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Every listener that serves.
pub struct Serving {
    parts: Parts,
    servers: MqttServers,
    places: Vec<Place>,
}

/// One listener that serves.
struct Place {
    listener: Listener,
    sockets: Vec<Served>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What is kept of a socket that is served.
#[derive(Clone)]
struct Served {
    wanted: SocketAddr,
    addr: SocketAddr,
    spare: Arc<OwnedFd>,
}

/// An exchange of listeners: what is new is bound. Dropped, it changes nothing.
pub struct Exchange(Vec<Next>);

enum Next {
    /// The listener of this name goes on.
    Keep(Arc<str>),
    Serve(Listener, Vec<Open>),
}

/// One server for all listeners with the same limit, so that a client id is connected once.
type MqttServers = HashMap<usize, Arc<::mqtt::Server<mqtt::MqttHost>>>;

/// Binds all addresses of `listeners`. Needs a tokio runtime.
///
/// # Errors
/// The first address that cannot be bound.
pub fn bind(listeners: &[Listener]) -> Result<Bound, BindError> {
    let bind_all = |listener: &Listener| {
        let open = listener.bind.iter().map(|addr| Open::bind(listener, *addr));
        Ok((listener.clone(), open.collect::<Result<_, _>>()?))
    };
    listeners.iter().map(bind_all).collect::<Result<_, _>>().map(Bound)
}

impl Open {
    fn bind(listener: &Listener, wanted: SocketAddr) -> Result<Self, BindError> {
        let open = || {
            let socket = if is_tcp(listener.kind) {
                Sock::Tcp(accept::tcp(wanted)?)
            } else {
                Sock::Udp(accept::udp(wanted)?)
            };
            Self::new(wanted, socket)
        };
        open().map_err(|source| BindError { name: listener.name.clone(), addr: wanted, source })
    }

    /// The socket that is served already, under a descriptor of its own.
    fn again(listener: &Listener, served: &Served) -> Result<Self, BindError> {
        let open = || {
            let spare = served.spare.try_clone()?;
            let socket = if is_tcp(listener.kind) {
                Sock::Tcp(TcpListener::from_std(spare.into())?)
            } else {
                Sock::Udp(UdpSocket::from_std(spare.into())?)
            };
            Self::new(served.wanted, socket)
        };
        open().map_err(|source| BindError { name: listener.name.clone(), addr: served.wanted, source })
    }

    fn new(wanted: SocketAddr, socket: Sock) -> io::Result<Self> {
        let (addr, spare) = match &socket {
            Sock::Tcp(socket) => (socket.local_addr()?, socket.as_fd().try_clone_to_owned()?),
            Sock::Udp(socket) => (socket.local_addr()?, socket.as_fd().try_clone_to_owned()?),
        };
        Ok(Self { wanted, addr, socket, spare: Arc::new(spare) })
    }
}

fn is_tcp(kind: ListenerKind) -> bool {
    matches!(kind, ListenerKind::Mqtt | ListenerKind::Http)
}

/// The addresses of a listener as they are shown.
fn listening(listener: &Listener, addrs: impl Iterator<Item = SocketAddr>) -> Vec<Listening> {
    let (name, kind) = (&listener.name, listener.kind);
    addrs.map(|addr| Listening { name: name.clone(), kind, addr }).collect()
}

impl Bound {
    /// What is bound, in the order of the configuration.
    pub fn listening(&self) -> Vec<Listening> {
        let each =
            |(listener, open): &(Listener, Vec<Open>)| listening(listener, open.iter().map(|open| open.addr));
        self.0.iter().flat_map(each).collect()
    }

    /// Serves every socket in tasks of the tracker, until shutdown.
    pub fn serve(self, parts: Parts) -> Serving {
        let mut serving = Serving { parts, servers: MqttServers::new(), places: Vec::new() };
        for (listener, open) in self.0 {
            let place = serving.serve(listener, open);
            serving.places.push(place);
        }
        serving
    }
}

impl Serving {
    /// What serves, in the order of the configuration.
    pub fn listening(&self) -> Vec<Listening> {
        let each = |place: &Place| listening(&place.listener, place.sockets.iter().map(|socket| socket.addr));
        self.places.iter().flat_map(each).collect()
    }

    /// Binds what `wanted` needs beyond what serves.
    ///
    /// # Errors
    /// The first address that cannot be bound, such as one that overlaps with an address in use.
    pub fn prepare(&self, wanted: &[Listener]) -> Result<Exchange, BindError> {
        let is_kept = |place: &Place| wanted.contains(&place.listener);
        let mut left: Vec<(ListenerKind, Served)> = Vec::new();
        for place in self.places.iter().filter(|place| !is_kept(place)) {
            left.extend(place.sockets.iter().map(|socket| (place.listener.kind, socket.clone())));
        }
        let mut open = |listener: &Listener, addr: SocketAddr| {
            let fits = |(kind, served): &(ListenerKind, Served)| {
                is_tcp(*kind) == is_tcp(listener.kind) && served.wanted == addr
            };
            match left.iter().position(fits) {
                Some(at) => Open::again(listener, &left.swap_remove(at).1),
                None => Open::bind(listener, addr),
            }
        };
        let next = |listener: &Listener| {
            if self.places.iter().any(|place| place.listener == *listener) {
                return Ok(Next::Keep(listener.name.clone()));
            }
            let sockets = listener.bind.iter().map(|addr| open(listener, *addr));
            Ok(Next::Serve(listener.clone(), sockets.collect::<Result<_, _>>()?))
        };
        wanted.iter().map(next).collect::<Result<_, _>>().map(Exchange)
    }

    /// Drains the listeners that go, then serves the new ones; what stays is not touched.
    pub async fn exchange(&mut self, exchange: Exchange) {
        let mut before = std::mem::take(&mut self.places);
        let mut slots = Vec::with_capacity(exchange.0.len());
        for next in exchange.0 {
            slots.push(match next {
                Next::Keep(name) => {
                    let at = before.iter().position(|place| place.listener.name == name);
                    Slot::Kept(before.swap_remove(at.expect("a kept listener serves")))
                }
                Next::Serve(listener, open) => Slot::New(listener, open),
            });
        }
        before.iter().for_each(|place| place.stop.cancel());
        let drained = futures_util::future::join_all(before.iter().map(|place| place.tasks.wait()));
        if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
            tracing::warn!("connections of a listener that is gone take long to end");
        }
        for slot in slots {
            let place = match slot {
                Slot::Kept(place) => place,
                Slot::New(listener, open) => self.serve(listener, open),
            };
            self.places.push(place);
        }
    }

    fn serve(&mut self, listener: Listener, open: Vec<Open>) -> Place {
        let tasks = TaskTracker::new();
        let stop = self.parts.shutdown.child_token();
        let permits = Arc::new(Semaphore::new(listener.max_connections.min(Semaphore::MAX_PERMITS)));
        let mut sockets = Vec::with_capacity(open.len());
        for Open { wanted, addr, socket, spare } in open {
            sockets.push(Served { wanted, addr, spare });
            let parts = Parts { tracker: tasks.clone(), shutdown: stop.clone(), ..self.parts.clone() };
            match socket {
                Sock::Udp(socket) => serve_coap(socket, &listener, parts),
                Sock::Tcp(socket) if listener.kind == ListenerKind::Mqtt => {
                    serve_mqtt(socket, self.mqtt_server(&listener), permits.clone(), parts);
                }
                Sock::Tcp(socket) => serve_http(socket, &listener, permits.clone(), parts),
            }
        }
        // Closed, a tracker still takes tasks, and is awaited until it has none.
        tasks.close();
        let ended = tasks.clone();
        self.parts.tracker.spawn(async move { ended.wait().await });
        Place { listener, sockets, tasks, stop }
    }

    fn mqtt_server(&mut self, listener: &Listener) -> Arc<::mqtt::Server<mqtt::MqttHost>> {
        let max_message_bytes = listener.max_message_bytes;
        let door = &self.parts.door;
        let new = || {
            let settings = ::mqtt::Settings { max_message_bytes, ..::mqtt::Settings::default() };
            Arc::new(::mqtt::Server::new(Arc::new(mqtt::MqttHost::new(door.clone())), settings))
        };
        self.servers.entry(max_message_bytes).or_insert_with(new).clone()
    }
}

/// A listener on its way into [`Serving`].
enum Slot {
    Kept(Place),
    New(Listener, Vec<Open>),
}
