//! One connection from its first byte to its last: the server's shell around the pure parts.
//!
//! `serve` = handshake → [`Connection::run`] → [`Connection::close`]. The loop of `run` waits in one
//! place (for the host, the peer, the clock or a stop) and changes state in others:
//! `burst` turns bytes into bursts and verdicts into answers, `close` winds down.
//!
//! Invariants: one write for all that became ready in a turn of the loop; the socket is read only
//! while another publish could be taken; nothing here is detached, so the embedder's task is the
//! connection.

mod burst;
mod close;
mod handshake;
mod input;

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::codec::Rumqtt;
use crate::error::CloseReason;
use crate::host::{Host, Will};
use crate::inflight::Inflight;
use crate::registry::Registry;
use crate::settings::Settings;

use burst::Answered;
use handshake::{Accepted, AssignedIds};
use input::Input;

/// A grown read buffer is given back after so long without a byte.
const SHRINK_AFTER: Duration = Duration::from_secs(2);
/// The clock of a connection that waits for nothing.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// Serves connections of one host. Share one server between all listeners, so that a client id is
/// connected once whatever port it came through.
#[derive(Debug)]
pub struct Server<H> {
    host: Arc<H>,
    settings: Settings,
    registry: Registry,
    assigned_ids: AssignedIds,
}

impl<H: Host> Server<H> {
    /// Makes a server; it holds no task and no socket.
    pub fn new(host: Arc<H>, settings: Settings) -> Server<H> {
        Server { host, settings, registry: Registry::default(), assigned_ids: AssignedIds::new() }
    }

    /// Serves one connection to its end and says why it ended.
    ///
    /// When `shutdown` is cancelled it stops reading, answers the waiting bursts, sends DISCONNECT 0x8B
    /// to an MQTT 5 client, and returns. Dropping the future instead abandons bursts that wait.
    pub async fn serve<S>(
        &self,
        mut stream: S,
        peer: Option<SocketAddr>,
        shutdown: &CancellationToken,
    ) -> CloseReason
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let stop = shutdown.child_token();
        let mut input = Input::default();
        let accepted = match self.handshake(&mut stream, &mut input, peer, &stop).await {
            Ok(accepted) => accepted,
            Err(rejection) => return self.reject(stream, input, peer, rejection).await,
        };
        let Accepted { session, codec, keep_alive, will, reason_strings, registration, welcome } = accepted;
        let mut connection = Connection {
            stream,
            input,
            out: welcome,
            codec,
            host: &*self.host,
            session,
            settings: &self.settings,
            peer,
            inflight: Inflight::new(codec.version, self.settings.receive_maximum),
            bursts: FuturesOrdered::new(),
            settled: Vec::new(),
            keep_alive,
            will,
            reason_strings,
            heard: Instant::now(),
            partial: Partial::None,
            reading: Reading::Open,
        };
        let reason = connection.run(&stop, shutdown).await;
        let reason = connection.close(reason).await;
        drop(registration);
        reason
    }
}

/// Whether the socket is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    /// As many bursts wait as may, and a PUBLISH is next: the backpressure.
    Full,
    /// The host said `Later`: the connection is held until then and closed.
    HeldUntil(Instant),
}

/// What is left in the read buffer once all complete frames are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partial {
    None,
    /// The start of a frame of so many bytes; 0 while its header is not complete.
    Frame(usize),
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Answered> + Send + 'a>>;

struct Connection<'a, S, H: Host> {
    stream: S,
    input: Input,
    /// Answers encoded and not yet written.
    out: BytesMut,
    codec: Rumqtt,
    host: &'a H,
    session: Arc<H::Session>,
    settings: &'a Settings,
    peer: Option<SocketAddr>,
    inflight: Inflight,
    bursts: FuturesOrdered<Waiting<'a>>,
    /// Bursts whose verdicts are in and whose answers are not encoded yet; in order.
    settled: Vec<Answered>,
    /// One and a half times the client's keep alive.
    keep_alive: Option<Duration>,
    will: Option<Will>,
    /// Whether the client takes reason strings.
    reason_strings: bool,
    /// When the peer was last heard, or reading resumed.
    heard: Instant,
    partial: Partial,
    reading: Reading,
}

impl<S, H> Connection<'_, S, H>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    H: Host,
{
    /// Runs until there is a reason to close. All bursts may still wait then.
    async fn run(&mut self, stop: &CancellationToken, shutdown: &CancellationToken) -> CloseReason {
        let stopped = || if shutdown.is_cancelled() { CloseReason::Shutdown } else { CloseReason::TakenOver };
        let mut stop = pin!(stop.cancelled());
        let mut alarm = pin!(sleep_until(self.next_deadline()));
        loop {
            let taken = self.acknowledge_settled().and_then(|()| self.take_frames());
            let written = tokio::select! {
                biased;
                written = self.write() => written,
                () = &mut stop => return stopped(),
            };
            if let Err(reason) = taken.and(written) {
                return reason;
            }
            if !self.settled.is_empty() {
                continue;
            }
            let deadline = self.next_deadline();
            if deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
            let may_read = self.reading == Reading::Open;
            let Connection { stream, input, bursts, partial, .. } = self;
            tokio::select! {
                biased;
                () = &mut stop => return stopped(),
                Some(answered) = bursts.next(), if !bursts.is_empty() => {
                    self.settle(answered);
                }
                read = input.read(stream, partial.frame_bytes()), if may_read => match read {
                    Ok(0) => return CloseReason::PeerClosed,
                    Ok(_) => self.heard = Instant::now(),
                    Err(error) => return error.into(),
                },
                () = &mut alarm => {
                    if let Err(reason) = self.on_alarm() {
                        return reason;
                    }
                    alarm.as_mut().reset(self.next_deadline());
                }
            }
        }
    }

    /// Takes a settled burst, and those behind it that are settled too, for one write.
    fn settle(&mut self, answered: Answered) {
        self.settled.push(answered);
        while let Some(Some(answered)) = self.bursts.next().now_or_never() {
            self.settled.push(answered);
        }
    }

    /// Writes what is encoded. Bursts go on meanwhile: a peer that does not read its answers must not
    /// keep what the host holds for them.
    async fn write(&mut self) -> Result<(), CloseReason> {
        if self.out.is_empty() {
            return Ok(());
        }
        let Connection { stream, out, bursts, settled, settings, .. } = self;
        let mut write = pin!(timeout(settings.write_timeout, async {
            stream.write_all_buf(out).await?; // leaves in `out` what a stop keeps it from writing
            stream.flush().await
        }));
        let written = loop {
            tokio::select! {
                biased;
                written = &mut write => break written,
                Some(answered) = bursts.next(), if !bursts.is_empty() => settled.push(answered),
            }
        };
        written.map_err(|_elapsed| CloseReason::WriteTimeout)??;
        self.out.clear();
        Ok(())
    }

    /// The earliest time at which [`Self::on_alarm`] has something to do.
    fn next_deadline(&self) -> Instant {
        if let Reading::HeldUntil(until) = self.reading {
            return until;
        }
        let shrink = self.input.is_grown().then_some(SHRINK_AFTER);
        let open = self.reading == Reading::Open;
        let keep_alive = self.keep_alive.filter(|_| open);
        let stall = (open && self.partial != Partial::None).then_some(self.settings.stall_timeout);
        match [shrink, keep_alive, stall].into_iter().flatten().min() {
            Some(wait) => self.heard + wait,
            None => Instant::now() + FAR,
        }
    }

    /// Judges the clock; the alarm may have rung for a deadline that has moved since.
    fn on_alarm(&mut self) -> Result<(), CloseReason> {
        let now = Instant::now();
        let silent = now.saturating_duration_since(self.heard);
        match self.reading {
            Reading::HeldUntil(until) if now >= until => return Err(CloseReason::Overload),
            Reading::HeldUntil(_) => return Ok(()),
            Reading::Full => {}
            Reading::Open => {
                if self.keep_alive.is_some_and(|keep_alive| silent >= keep_alive) {
                    return Err(CloseReason::KeepAlive);
                }
                if self.partial != Partial::None && silent >= self.settings.stall_timeout {
                    return Err(CloseReason::Stalled);
                }
            }
        }
        if silent >= SHRINK_AFTER && self.input.is_grown() {
            self.input.shrink();
            self.out = BytesMut::new();
        }
        Ok(())
    }
}

impl Partial {
    fn frame_bytes(self) -> usize {
        match self {
            Partial::None => 0,
            Partial::Frame(bytes) => bytes,
        }
    }
}
