//! What makes a whole, well-formed request one that cannot be taken.
//!
//! Such a request goes to the host all the same, which may keep what is there of it before it answers. A success
//! code for it would promise what did not happen: the server sends [`Fault::response`] instead of one.

use bytes::Bytes;

use crate::{Code, Response};

/// Why a request cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The body, in one datagram or in blocks, is larger than [`Settings::body_bytes_max`](crate::Settings).
    #[error("body of {body_bytes} bytes or more exceeds {body_bytes_max}")]
    TooLarge {
        /// As announced by Size1, else as far as it has come.
        body_bytes: usize,
        /// The limit.
        body_bytes_max: usize,
    },
    /// Uri-Path is not text.
    #[error("a path segment is not utf-8")]
    PathNotUtf8,
    /// RFC 7252 §5.10.1 forbids `.` and `..`; a slash inside a segment would make two paths of one string.
    #[error("a path segment is `.`, `..` or holds a slash")]
    PathSegment,
}

impl Fault {
    /// Most bytes of a body that is too large that the host gets.
    pub const START_BYTES_MAX: usize = 4096;

    /// The usual answer: 4.13 with the limit as Size1, or 4.00.
    pub fn response(self) -> Response {
        match self {
            Self::TooLarge { body_bytes_max, .. } => Response::new(Code::REQUEST_ENTITY_TOO_LARGE)
                .with_size1_bytes(u32::try_from(body_bytes_max).unwrap_or(u32::MAX)),
            Self::PathNotUtf8 | Self::PathSegment => {
                Response::diagnostic(Code::BAD_REQUEST, self.to_string())
            }
        }
    }

    /// What a host gets of a body that is too large.
    pub(crate) fn start(body: &Bytes) -> Bytes {
        body.slice(..body.len().min(Self::START_BYTES_MAX))
    }
}
