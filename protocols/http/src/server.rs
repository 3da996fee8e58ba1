//! A connection's whole life: hyper drives it, the watchdog bounds it, the token ends it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::exchange::Exchange;
use crate::stream::Watched;
use crate::watch::{Expired, Watch, Watchdog};
use crate::{CloseReason, Dropped, Host, Settings};

#[cfg(test)]
mod tests;

/// Most bytes read or written ahead per connection; heads have their own, usually smaller limit.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// The number of header fields hyper parses without allocating.
const HEADER_COUNT_ON_STACK: usize = 100;

/// Serves one connection until either side ends it.
///
/// Requests are answered in order; pipelined ones wait in the stream. When `shutdown` is cancelled, an
/// idle connection closes at once, a busy one after its answer, which then says `Connection: close`.
/// Must run within a tokio runtime with its timer enabled; the future may be dropped at any time.
pub async fn serve<S, H>(
    stream: S,
    peer: Option<SocketAddr>,
    host: Arc<H>,
    settings: &Settings,
    shutdown: CancellationToken,
) -> CloseReason
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    H: Host,
{
    let watch = Watch::default();
    let exchange = Exchange { host: &*host, peer, settings, watch: &watch };
    let service = service_fn(|request| exchange.answer(request));
    let io = TokioIo::new(Watched::new(stream, &watch));
    let mut connection = pin!(builder(settings).serve_connection(io, service));
    let mut shutdown = pin!(shutdown.cancelled_owned());
    let mut watchdog = Watchdog::new(settings, &watch);
    let mut timer = pin!(watchdog.timer());
    let mut verdict = Verdict::default();

    let reason = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(verdict.of(result));
            }
            if verdict.must_hear(shutdown.as_mut(), cx) {
                connection.as_mut().graceful_shutdown();
                continue;
            }
            match std::task::ready!(watchdog.poll(timer.as_mut(), cx)) {
                Expired::Head => return Poll::Ready(CloseReason::Dropped(Dropped::HeaderTimeout)),
                Expired::Write => return Poll::Ready(CloseReason::Dropped(Dropped::WriteTimeout)),
                Expired::Idle => {
                    verdict.reason.get_or_insert(CloseReason::Idle);
                    connection.as_mut().graceful_shutdown();
                    watch.closes();
                }
                Expired::Closing if watch.lingers() => watch.stop_lingering(),
                Expired::Closing => return Poll::Ready(verdict.reason.unwrap_or(CloseReason::Done)),
            }
        }
    })
    .await;

    if let CloseReason::Dropped(dropped) = reason {
        host.dropped(dropped);
    }
    debug!(?peer, ?reason, "connection closed");
    reason
}

fn builder(settings: &Settings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // A client may close its sending side and still wait for the answer; and what is being made
        // durable is not abandoned half-way because its sender left.
        .half_close(true)
        .max_header_size(settings.header_bytes_max)
        .max_buf_size(BUFFER_BYTES_MAX.max(settings.header_bytes_max))
        // The watchdog tells an idle connection from a slow head, hyper does not.
        .header_read_timeout(None);
    if settings.header_count_max != HEADER_COUNT_ON_STACK {
        builder.max_headers(settings.header_count_max);
    }
    builder
}

/// What is known about the connection's end before it ends.
#[derive(Debug, Default)]
struct Verdict {
    reason: Option<CloseReason>,
    heard_shutdown: bool,
}

impl Verdict {
    /// Returns whether the shutdown has come just now.
    fn must_hear(&mut self, shutdown: Pin<&mut impl Future>, cx: &mut Context<'_>) -> bool {
        if self.heard_shutdown || shutdown.poll(cx).is_pending() {
            return false;
        }
        self.heard_shutdown = true;
        self.reason.get_or_insert(CloseReason::Shutdown);
        true
    }

    fn of(&self, result: hyper::Result<()>) -> CloseReason {
        match result {
            Ok(()) => self.reason.unwrap_or(CloseReason::Done),
            Err(error) if error.is_parse_too_large() => CloseReason::Dropped(Dropped::HeadTooLarge),
            Err(error) if error.is_parse() => CloseReason::Dropped(Dropped::BadRequest),
            Err(error) if error.is_incomplete_message() => CloseReason::Dropped(Dropped::Truncated),
            Err(error) => {
                debug!(%error, "connection failed");
                CloseReason::Io
            }
        }
    }
}
