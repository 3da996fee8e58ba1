//! What the embedder supplies.

use std::future::Future;

use crate::{Request, Response};

/// The application behind the server.
pub trait Host: Send + Sync + 'static {
    /// Decides on overload for each new request before its options and payload are decoded.
    ///
    /// `None` lets it in; an answer, such as 5.03 with Max-Age, is sent instead and not remembered, so the
    /// client's next attempt is asked about anew. Must return at once.
    fn door(&self) -> Option<Response>;

    /// Handles the requests of one socket read and returns one answer for each, in the same order.
    ///
    /// A success code tells the device that it may forget its message, so the future resolves only when
    /// that is true. Missing answers, and a panic, become 5.00. Several calls may run at the same time.
    ///
    /// Requests with a [`fault`](Request::fault) are among them, to be kept or counted; their answer is stored
    /// for retransmissions like any other, and a success code becomes [`Fault::response`](crate::Fault).
    fn handle(&self, burst: Vec<Request>) -> impl Future<Output = Vec<Response>> + Send;

    /// Hears of everything that did not reach [`handle`](Self::handle) or whose answer got lost.
    fn dropped(&self, reason: Dropped);
}

/// Why a message went no further, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dropped {
    /// Not a CoAP message: ignored, or reset if confirmable.
    Malformed,
    /// A response to nothing this server asked: reset.
    Stray,
    /// A well-formed request refused before the host saw it: unknown critical option, bad query, proxying.
    Refused,
    /// The door was closed, or every remembered message id is still in progress.
    Overload,
    /// The id was seen before: answered from memory, or still in progress.
    Duplicate,
    /// Blocks out of order or of an unknown upload: 4.08.
    Incomplete,
    /// No room for another upload: 5.03.
    UploadsFull,
    /// An upload without a block for too long.
    UploadExpired,
    /// A separate response that nobody acknowledged, or that its receiver reset.
    Unanswered,
    /// A separate response sent once only, because too many wait for their acknowledgement.
    NotRetransmitted,
    /// A remembered message id forgotten before its time, to make room.
    ForgottenEarly,
    /// An answer the operating system would not send.
    NotSent,
}

impl Dropped {
    /// A metric label: lowercase words joined by `_`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Stray => "stray",
            Self::Refused => "refused",
            Self::Overload => "overload",
            Self::Duplicate => "duplicate",
            Self::Incomplete => "incomplete",
            Self::UploadsFull => "uploads_full",
            Self::UploadExpired => "upload_expired",
            Self::Unanswered => "unanswered",
            Self::NotRetransmitted => "not_retransmitted",
            Self::ForgottenEarly => "forgotten_early",
            Self::NotSent => "not_sent",
        }
    }
}
