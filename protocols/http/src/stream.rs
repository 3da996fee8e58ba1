//! The embedder's stream as hyper sees it: reports progress to the watch, and closes without a reset.
//!
//! A socket closed with unread bytes is reset, and the reset may overtake the answer (RFC 9112 §9.6).
//! So after a refusal the write side is closed first, and what still comes is read and thrown away,
//! up to [`LINGER_BYTES_MAX`] and the linger timeout.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::watch::Watch;

/// Most refused bytes that are read and thrown away before the connection is reset after all.
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes thrown away at a time.
const LINGER_STEP_BYTES: usize = 4096;

/// A stream that is watched.
#[derive(Debug)]
pub(crate) struct Watched<'c, S> {
    stream: S,
    watch: &'c Watch,
    write_closed: bool,
    lingered_bytes: usize,
}

impl<'c, S: AsyncRead + AsyncWrite + Unpin> Watched<'c, S> {
    pub(crate) fn new(stream: S, watch: &'c Watch) -> Self {
        Self { stream, watch, write_closed: false, lingered_bytes: 0 }
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; LINGER_STEP_BYTES];
        while self.watch.lingers() {
            let mut buffer = ReadBuf::new(&mut space);
            let result = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            self.lingered_bytes += buffer.filled().len();
            if result.is_err() || buffer.filled().is_empty() || self.lingered_bytes > LINGER_BYTES_MAX {
                self.watch.stop_lingering();
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.watch.received();
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch.written(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.watch.written(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch.written(&result);
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.watch.closes();
        if !this.write_closed {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.write_closed = true;
        }
        this.poll_linger(cx).map(Ok)
    }
}
