//! Reads a request's body under a limit, without copying when it comes in one frame.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::{Head, Oversize};

/// Memory is set aside for a declared length only up to here; beyond, it follows what has arrived.
const RESERVE_BYTES_MAX: u64 = 64 * 1024;

/// How long the start of a body is waited for that is refused anyway.
const START_WAIT_MAX: Duration = Duration::from_secs(1);

/// Frames already received that are thrown away to keep a connection alive after a refusal.
const DISCARD_FRAMES_MAX: usize = 16;

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// More bytes than allowed; this is how it began.
    TooLarge(Bytes),
    /// It broke off, or its chunks are malformed.
    Broken,
}

/// Reads the whole body, at most `bytes_max`.
pub(crate) async fn read(body: &mut Incoming, bytes_max: u64) -> Result<Bytes, BodyError> {
    let Some(first) = next(body).await? else { return Ok(Bytes::new()) };
    if first.len() as u64 > bytes_max {
        return Err(too_large(&first));
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = next(body).await? else { return Ok(first) };
    read_rest(body, bytes_max, first, second).await
}

/// Reads how a body begins that is refused anyway, at most [`Oversize::START_BYTES_MAX`], for at most
/// [`START_WAIT_MAX`]: what is kept of it. Never asks a sender to go on that waits for `100 Continue`.
pub(crate) async fn start(head: &Head, body: &mut Incoming) -> Bytes {
    let mut start = BytesMut::new();
    if head.header("expect").is_some() {
        return Bytes::new();
    }
    let reading = async {
        while start.len() < Oversize::START_BYTES_MAX
            && let Ok(Some(frame)) = next(body).await
        {
            start.extend_from_slice(&frame[..frame.len().min(Oversize::START_BYTES_MAX - start.len())]);
        }
    };
    // What came until then is the start.
    let _ = tokio::time::timeout(START_WAIT_MAX, reading).await;
    start.freeze()
}

async fn read_rest(
    body: &mut Incoming,
    bytes_max: u64,
    first: Bytes,
    second: Bytes,
) -> Result<Bytes, BodyError> {
    let announced = body.size_hint().lower().min(RESERVE_BYTES_MAX) as usize;
    let mut whole = BytesMut::with_capacity(first.len() + second.len() + announced);
    whole.extend_from_slice(&first);
    let mut frame = second;
    loop {
        if (whole.len() + frame.len()) as u64 > bytes_max {
            whole.extend_from_slice(&frame[..frame.len().min(Oversize::START_BYTES_MAX)]);
            return Err(too_large(&whole));
        }
        whole.extend_from_slice(&frame);
        match next(body).await? {
            Some(data) => frame = data,
            None => return Ok(whole.freeze()),
        }
    }
}

/// Returns the next data of the body; trailers are passed over.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| BodyError::Broken)?.into_data() {
            Ok(data) => return Ok(Some(data)),
            Err(_trailers) => continue,
        }
    }
    Ok(None)
}

fn too_large(read: &[u8]) -> BodyError {
    BodyError::TooLarge(Bytes::copy_from_slice(&read[..read.len().min(Oversize::START_BYTES_MAX)]))
}

/// Throws away what has arrived already, waiting for nothing. Returns whether that was the whole body.
pub(crate) fn discard_arrived(body: &mut Incoming) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..DISCARD_FRAMES_MAX {
        if body.is_end_stream() {
            return true;
        }
        match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(_))) => continue,
            Poll::Ready(None) => return true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => return false,
        }
    }
    false
}
