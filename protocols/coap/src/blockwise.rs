//! Block1 uploads (RFC 7959 §2.5): blocks in, one whole body out, or nothing.
//!
//! Stands between the decoder and the host. An upload is known by endpoint, method, path, query and
//! Request-Tag (RFC 9175 §3), so that uploads of one device do not mix. Blocks come strictly in order:
//! anything else is 4.08 and the upload is forgotten, so an upload is found too large only once. A retransmitted
//! block never arrives here, the exchange answers it. Pure: time comes in as `now`. Memory is bounded by
//! [`UploadLimits`]; a body's buffer may hold up to twice its bytes while it grows.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::block::Block;
use crate::{Fault, Method, UploadLimits};

/// What makes two blocks belong to one body, besides their endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub method: Method,
    pub path: String,
    pub query: Vec<String>,
    pub tags: Vec<Vec<u8>>,
}

/// One block of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub identity: Identity,
    pub block: Block,
    /// Size1 as the client announced it.
    pub whole_bytes: Option<u32>,
    pub content_format: Option<u16>,
    pub payload: Bytes,
}

/// What a block leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// 2.31: the next block, please.
    Continue,
    /// The last block was in: the whole body.
    Complete(Bytes),
    /// 4.00: the payload does not fit the block size.
    BadLength,
    /// 4.08: not the next block of a known upload.
    Incomplete,
    /// 4.13: beyond the largest body.
    TooLarge {
        /// As announced, else where this block ends.
        body_bytes: usize,
        /// How the body begins, at most [`Fault::START_BYTES_MAX`].
        start: Bytes,
    },
    /// 5.03: no room for another upload.
    Full,
}

#[derive(Debug)]
struct Upload {
    identity: Identity,
    content_format: Option<u16>,
    body: BytesMut,
    touched: Instant,
}

/// All unfinished uploads.
#[derive(Debug)]
pub(crate) struct Uploads {
    limits: UploadLimits,
    body_bytes_max: usize,
    by_endpoint: HashMap<SocketAddr, Vec<Upload>>,
    uploads: usize,
    bytes: usize,
}

impl Uploads {
    pub(crate) fn new(limits: UploadLimits, body_bytes_max: usize) -> Self {
        Self { limits, body_bytes_max, by_endpoint: HashMap::new(), uploads: 0, bytes: 0 }
    }

    /// Takes one block. Whatever does not continue its upload ends it.
    pub(crate) fn push(&mut self, now: Instant, peer: SocketAddr, part: Part) -> Step {
        let known = self.take(peer, &part.identity);
        if !part.fits() {
            return Step::BadLength;
        }
        let upload = match part.block.number {
            0 => Some(Upload::begin(now, &part)),
            _ => known.filter(|upload| upload.continues_with(&part)),
        };
        let Some(upload) = upload else { return Step::Incomplete };
        let body_bytes = part.body_bytes();
        if body_bytes > self.body_bytes_max {
            return Step::TooLarge { body_bytes, start: upload.start_with(&part.payload) };
        }
        self.append(now, peer, upload, part)
    }

    fn append(&mut self, now: Instant, peer: SocketAddr, mut upload: Upload, part: Part) -> Step {
        if !part.block.more && upload.body.is_empty() {
            return Step::Complete(part.payload);
        }
        if self.bytes + upload.body.len() + part.payload.len() > self.limits.bytes_max {
            return Step::Full;
        }
        upload.body.extend_from_slice(&part.payload);
        upload.touched = now;
        if !part.block.more {
            return Step::Complete(upload.body.freeze());
        }
        self.keep(peer, upload)
    }

    fn keep(&mut self, peer: SocketAddr, upload: Upload) -> Step {
        let of_endpoint = self.by_endpoint.get(&peer).map_or(0, Vec::len);
        if of_endpoint >= self.limits.per_endpoint_max || self.uploads >= self.limits.uploads_max {
            return Step::Full;
        }
        self.uploads += 1;
        self.bytes += upload.body.len();
        self.by_endpoint.entry(peer).or_default().push(upload);
        Step::Continue
    }

    /// Takes an upload out of the table; every way on either puts it back or ends it.
    fn take(&mut self, peer: SocketAddr, identity: &Identity) -> Option<Upload> {
        let uploads = self.by_endpoint.get_mut(&peer)?;
        let at = uploads.iter().position(|upload| upload.identity == *identity)?;
        let upload = uploads.swap_remove(at);
        if uploads.is_empty() {
            self.by_endpoint.remove(&peer);
        }
        self.uploads -= 1;
        self.bytes -= upload.body.len();
        Some(upload)
    }

    /// Forgets uploads that had no block for too long; returns how many.
    pub(crate) fn expire(&mut self, now: Instant) -> usize {
        let before = self.uploads;
        let idle = self.limits.idle;
        self.by_endpoint.retain(|_, uploads| {
            uploads.retain(|upload| now.saturating_duration_since(upload.touched) < idle);
            !uploads.is_empty()
        });
        let left = || self.by_endpoint.values().flatten();
        self.uploads = left().count();
        self.bytes = left().map(|upload| upload.body.len()).sum();
        before - self.uploads
    }

    /// Whether there is nothing to expire.
    pub(crate) fn is_empty(&self) -> bool {
        self.uploads == 0
    }
}

impl Part {
    /// All blocks but the last are full (RFC 7959 §2.2).
    fn fits(&self) -> bool {
        let (bytes, size_bytes) = (self.payload.len(), self.block.size_bytes());
        if self.block.more { bytes == size_bytes } else { bytes <= size_bytes }
    }

    /// The least the body can have, known as early as possible: the announced size, or where this block ends.
    fn body_bytes(&self) -> usize {
        let end = self.block.offset_bytes() + self.payload.len();
        end.max(self.whole_bytes.map_or(0, |bytes| bytes as usize))
    }
}

impl Upload {
    fn begin(now: Instant, part: &Part) -> Self {
        Self {
            identity: part.identity.clone(),
            content_format: part.content_format,
            body: BytesMut::new(),
            touched: now,
        }
    }

    fn continues_with(&self, part: &Part) -> bool {
        part.block.offset_bytes() == self.body.len() && part.content_format == self.content_format
    }

    /// How the body begins that this payload continues.
    fn start_with(self, payload: &Bytes) -> Bytes {
        let body = &self.body[..self.body.len().min(Fault::START_BYTES_MAX)];
        let room = Fault::START_BYTES_MAX - body.len();
        // A copy: the start of a large body must not hold all of it.
        [body, &payload[..payload.len().min(room)]].concat().into()
    }
}
