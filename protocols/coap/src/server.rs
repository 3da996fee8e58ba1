//! The server's task: socket in, bursts to the host, answers out.
//!
//! One task owns all state, so nothing is locked. Per turn it drains the socket into one burst, gives it to
//! the host in a task of its own, and sends what is due. The host's tasks live in a `JoinSet`: none outlives
//! [`serve`]. While [`bursts_in_flight_max`](Settings::bursts_in_flight_max) bursts are with the host the
//! socket is not read, the kernel's receive buffer is the only queue, and it bounds what waits.

mod intake;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::block::Block;
use crate::exchange::{Key, Outgoing};
use crate::guard::NoResponse;
use crate::{Code, Dropped, Fault, Host, Method, Response, Settings};
use intake::Intake;

/// The largest UDP payload; whatever the kernel delivers fits.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Receive errors in a row before the server gives up.
const RECEIVE_ERRORS_MAX: u32 = 16;
/// How long the server waits after a receive error.
const RECEIVE_ERROR_PAUSE: Duration = Duration::from_millis(10);
/// How often ids and uploads are looked through for expiry.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What is needed to answer a request that is with the host.
#[derive(Debug, Clone)]
struct Ticket {
    key: Key,
    method: Method,
    fault: Option<Fault>,
    no_response: NoResponse,
    block1: Option<Block>,
    block2: Option<Block>,
}

/// Serves the host on the socket until shutdown; then answers what the host still has, and returns.
///
/// Needs a tokio runtime with IO and time. Does not wait on shutdown for acknowledgements of separate
/// responses.
///
/// # Errors
///
/// When receiving fails several times in a row.
pub async fn serve<H: Host>(
    socket: UdpSocket,
    host: Arc<H>,
    settings: Settings,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let server = Server {
        intake: Intake::new(settings.clone(), Arc::clone(&host)),
        socket,
        host,
        bursts_in_flight_max: settings.bursts_in_flight_max.max(1),
        bursts: JoinSet::new(),
        tickets: HashMap::new(),
        receive_errors: 0,
    };
    server.run(shutdown).await
}

struct Server<H> {
    socket: UdpSocket,
    host: Arc<H>,
    intake: Intake<H>,
    bursts_in_flight_max: usize,
    /// The bursts with the host, and who waits for their answers.
    bursts: JoinSet<Vec<Response>>,
    tickets: HashMap<Id, Vec<Ticket>>,
    receive_errors: u32,
}

impl<H: Host> Server<H> {
    async fn run(mut self, shutdown: CancellationToken) -> io::Result<()> {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut outcome = Ok(());
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let open = outcome.is_ok() && !shutdown.is_cancelled();
            if !open && self.bursts.is_empty() {
                return outcome;
            }
            let deadline = self.intake.exchanges.deadline();
            tokio::select! {
                () = shutdown.cancelled(), if open => {}
                Some(finished) = self.bursts.join_next_with_id() => self.finish(finished).await,
                () = sleep_until(deadline), if deadline.is_some() => self.send_due().await,
                _ = sweep.tick() => self.sweep().await,
                ready = self.socket.readable(), if open && self.bursts.len() < self.bursts_in_flight_max => {
                    outcome = match ready {
                        Ok(()) => self.receive(&mut buffer).await,
                        Err(error) => Err(error),
                    };
                }
            }
        }
    }

    /// Reads what is there, within one burst's limits, and sends it on its ways.
    async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let now = Instant::now();
        let mut outcome = Ok(());
        let (mut datagrams, mut bytes) = (0, 0);
        while datagrams < self.intake.settings.burst_datagrams_max
            && bytes < self.intake.settings.burst_bytes_max
        {
            match self.socket.try_recv_from(buffer) {
                Ok((length, peer)) => {
                    self.receive_errors = 0;
                    self.intake.take(now, peer, &buffer[..length]);
                    datagrams += 1;
                    bytes += length;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    outcome = self.tolerate(error).await;
                    break;
                }
            }
        }
        self.start_burst();
        self.flush().await;
        outcome
    }

    /// A receive error may be a passing one, such as a lack of buffers.
    async fn tolerate(&mut self, error: io::Error) -> io::Result<()> {
        self.receive_errors += 1;
        tracing::warn!(%error, "cannot receive");
        if self.receive_errors >= RECEIVE_ERRORS_MAX {
            return Err(error);
        }
        tokio::time::sleep(RECEIVE_ERROR_PAUSE).await;
        Ok(())
    }

    fn start_burst(&mut self) {
        let (requests, tickets) = self.intake.take_burst();
        if requests.is_empty() {
            return;
        }
        let host = Arc::clone(&self.host);
        let task = self.bursts.spawn(async move { host.handle(requests).await });
        self.tickets.insert(task.id(), tickets);
    }

    /// Answers a burst. A host that panicked, or forgot some, is answered for with 5.00.
    async fn finish(&mut self, finished: Result<(Id, Vec<Response>), JoinError>) {
        let (id, responses) = finished.unwrap_or_else(|error| {
            tracing::error!(%error, "the host failed on a burst");
            (error.id(), Vec::new())
        });
        let tickets = self.tickets.remove(&id).unwrap_or_default();
        if responses.len() != tickets.len() {
            tracing::error!(requests = tickets.len(), responses = responses.len(), "answers are missing");
        }
        let missing = std::iter::repeat_with(|| Response::new(Code::INTERNAL_SERVER_ERROR));
        let now = Instant::now();
        for (ticket, response) in tickets.iter().zip(responses.into_iter().chain(missing)) {
            self.intake.answer(now, ticket, &response);
        }
        self.flush().await;
    }

    async fn send_due(&mut self) {
        self.intake.poll(Instant::now());
        self.flush().await;
    }

    async fn sweep(&mut self) {
        self.intake.expire(Instant::now());
        self.send_due().await;
    }

    /// Writes all answers gathered in this turn.
    async fn flush(&mut self) {
        for Outgoing { peer, datagram } in self.intake.outbox.drain(..) {
            let sent = match self.socket.try_send_to(&datagram, peer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.send_to(&datagram, peer).await
                }
                sent => sent,
            };
            if let Err(error) = sent {
                tracing::debug!(%error, %peer, "cannot send");
                self.host.dropped(Dropped::NotSent);
            }
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
}
