//! Sockets: bound at start so that an address in use is an error before anything runs, served later; the one
//! accept loop of every protocol over TCP.
//!
//! A permit comes before accept: at `max_connections` further clients wait in the kernel's queue, and a loop
//! that cannot accept (no file descriptors left) waits instead of spinning.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol as IpProtocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that wait in the kernel to be accepted; the kernel may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;
/// What the kernel holds of datagrams while a burst is with the journal; it may allow less
/// (`net.core.rmem_max`).
const DATAGRAMS_BYTES_MAX: usize = 4 << 20;
/// The first wait after accept has failed …
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// … doubled each time up to this.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Opens a listening TCP socket. Needs a tokio runtime.
///
/// # Errors
/// If the address cannot be bound.
pub(super) fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(IpProtocol::TCP))?;
    // A restart must not wait for the connections of the process before (TIME_WAIT).
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Opens a UDP socket with a large receive buffer. Needs a tokio runtime.
///
/// # Errors
/// If the address cannot be bound.
pub(super) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(IpProtocol::UDP))?;
    socket.set_recv_buffer_size(DATAGRAMS_BYTES_MAX)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// What an accept loop shares with others.
#[derive(Clone)]
pub(super) struct Loop {
    /// One permit a connection, for all addresses of a listener.
    pub permits: Arc<Semaphore>,
    /// Knows every connection.
    pub tracker: TaskTracker,
    /// Ends the loop.
    pub shutdown: CancellationToken,
}

impl Loop {
    /// Accepts until shutdown and runs `serve` on each connection, in a task of its own.
    pub async fn run<F>(self, listener: TcpListener, serve: impl Fn(TcpStream, SocketAddr) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { permits, tracker, shutdown } = self;
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = async {
                    let permit = permits.clone().acquire_owned().await.expect("the permits are never closed");
                    (permit, accept(&listener).await)
                } => accepted,
            };
            let (permit, (stream, peer)) = accepted;
            let connection = serve(stream, peer);
            tracker.spawn(async move {
                connection.await;
                drop(permit);
            });
        }
    }
}

/// Waits for a connection, whatever errors come in between.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut pause = PAUSE_MIN;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are written whole, so waiting for more would only delay them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, %peer, "cannot switch Nagle's algorithm off");
                }
                return (stream, peer);
            }
            Err(error) if concerns_one_client(&error) => {
                tracing::debug!(%error, "a client left before it was accepted");
            }
            Err(error) => {
                tracing::warn!(%error, wait = ?pause, "cannot accept, clients wait");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Whether an error of accept says nothing of the next client (accept(2), "Error handling").
fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
