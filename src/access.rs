//! Who may come in (pure): from where a sender needs no credentials.
//!
//! Stands between a listener and intake: every message has a [`Principal`] before it is looked at. There are
//! no credentials yet, so a user name or password cannot be checked: whoever brings them is taken for
//! anonymous where anonymous is allowed, and refused elsewhere. What was brought is not kept.
//!
//! Absent: credentials, roles, rights by topic.

use std::net::SocketAddr;
use std::sync::Arc;

/// The name of a sender without credentials.
pub const ANONYMOUS: &str = "anonymous";

/// Who a message is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal(Arc<str>);

impl Principal {
    /// The name: a user, or [`ANONYMOUS`].
    pub fn name(&self) -> &Arc<str> {
        &self.0
    }
}

/// From where a sender needs no credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nowhere.
    Nowhere,
    /// From this machine.
    Loopback,
    /// From everywhere.
    Everywhere,
}

/// Where a sender is, as far as the socket tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// At this address.
    Peer(SocketAddr),
    /// Somewhere behind a proxy that says so (`Forwarded`, `X-Forwarded-For`).
    Forwarded,
    /// Unknown.
    Unknown,
}

impl Origin {
    /// Whether the sender runs on this machine.
    fn is_loopback(self) -> bool {
        match self {
            Self::Peer(peer) => peer.ip().to_canonical().is_loopback(),
            Self::Forwarded | Self::Unknown => false,
        }
    }
}

/// No credentials that count, and anonymous is not allowed from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("credentials are needed from here")]
pub struct Unauthenticated;

/// The rules of `[access]`.
#[derive(Clone, Debug)]
pub struct Access {
    anonymous: Principal,
    reach: Reach,
}

impl Access {
    /// Rules that let anonymous senders in from within `reach`.
    pub fn new(reach: Reach) -> Self {
        Self { anonymous: Principal(ANONYMOUS.into()), reach }
    }

    /// Who a sender at `origin` is.
    ///
    /// # Errors
    /// If it has to say who it is.
    pub fn principal(&self, origin: Origin) -> Result<Principal, Unauthenticated> {
        let is_within = match self.reach {
            Reach::Nowhere => false,
            Reach::Loopback => origin.is_loopback(),
            Reach::Everywhere => true,
        };
        if is_within { Ok(self.anonymous.clone()) } else { Err(Unauthenticated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_by_origin() {
        let peer = |text: &str| Origin::Peer(text.parse().expect("an address"));
        let table = [
            (peer("127.0.0.1:1"), [false, true, true]),
            (peer("127.9.9.9:1"), [false, true, true]),
            (peer("[::1]:1"), [false, true, true]),
            // What a dual-stack socket shows of an IPv4 peer.
            (peer("[::ffff:127.0.0.1]:1"), [false, true, true]),
            (peer("[::ffff:10.0.0.1]:1"), [false, false, true]),
            (peer("10.0.0.1:1"), [false, false, true]),
            (peer("[fe80::1]:1"), [false, false, true]),
            (Origin::Forwarded, [false, false, true]),
            (Origin::Unknown, [false, false, true]),
        ];
        for (origin, want) in table {
            let is_in = [Reach::Nowhere, Reach::Loopback, Reach::Everywhere]
                .map(|reach| Access::new(reach).principal(origin).is_ok());
            assert_eq!(is_in, want, "{origin:?}");
        }
    }
}
