//! `[gateway]`, `[journal]`, `[listen]` and `[access]`: the site itself, and who may speak to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

/// Who this gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// `id`: part of every result id.
    pub id: Arc<str>,
    /// Where journal and state live.
    pub data_dir: PathBuf,
    /// The socket by which the command line reaches the daemon.
    pub admin: PathBuf,
}

/// Limits of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// `[journal]`: the readings stream.
    pub readings: StreamLimits,
    /// `[journal.results]`.
    pub results: StreamLimits,
    /// `[journal.dead_letters]`.
    pub dead_letters: StreamLimits,
    /// `[journal.messages]`.
    pub messages: StreamLimits,
    /// The shortest time from one sync to the next.
    pub commit_linger: Duration,
    /// Free space of the file system below which intake refuses.
    pub min_free_bytes: u64,
}

/// How much of a stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Bytes on disk.
    pub max_bytes: u64,
    /// Age by arrival.
    pub max_age: Duration,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The table's name.
    pub name: Arc<str>,
    /// The protocol.
    pub kind: ListenerKind,
    /// Addresses; port 0 takes any free one.
    pub bind: Vec<SocketAddr>,
    /// Largest payload in bytes.
    pub max_message_bytes: usize,
    /// Most connections at once (MQTT, HTTP).
    pub max_connections: usize,
    /// HTTP: what is served.
    pub serve: Vec<Serve>,
}

/// A listener's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// MQTT 3.1.1 and 5 on one port.
    Mqtt,
    /// CoAP over UDP.
    Coap,
    /// HTTP/1.1.
    Http,
}

/// A part of the HTTP surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serve {
    /// `POST /ingest/…`.
    Ingest,
    /// `/api/v1/…`.
    Api,
    /// `/metrics`.
    Metrics,
    /// `/`.
    Console,
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who needs no credentials.
    pub anonymous: Anonymous,
    /// What MQTT 3.1.1 does with a forbidden publish.
    pub on_denied: OnDenied,
}

/// From where anonymous access is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anonymous {
    /// Nowhere.
    Never,
    /// From this machine (and not through a proxy).
    Loopback,
    /// From everywhere.
    Everywhere,
}

/// What MQTT 3.1.1, which has no refusal, does with a forbidden publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDenied {
    /// Acknowledges and drops it, audited.
    Ack,
    /// Closes the connection.
    Close,
}
