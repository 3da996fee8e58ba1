//! `[listen.*]`.

use std::net::SocketAddr;

use super::super::document::At;
use super::raw;
use crate::config::{Listener, ListenerKind, Serve};

const MESSAGE_BYTES: u64 = 1 << 20;
/// A message is held in memory as a whole.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;
const CONNECTIONS: u32 = 10_000;
const CONNECTIONS_MAX: u32 = 1_000_000;

/// All listeners.
pub(super) fn listeners(places: &[At<'_, '_>]) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for at in places {
        let raw: raw::Listener = at.read();
        let Some(listener) = listener(at, &raw) else { continue };
        for (index, address) in listener.bind.iter().enumerate() {
            if let Some(other) = listeners.iter().find(|other| takes(other, &listener, *address)) {
                let place =
                    raw.bind.as_ref().map_or(at.key("bind"), |bind| at.key("bind").element(bind, index));
                place.error(format!("listener \"{}\" is bound to {address} already", other.name));
            }
        }
        listeners.push(listener);
    }
    listeners
}

/// Whether `other` has the address that `listener` wants.
fn takes(other: &Listener, listener: &Listener, address: SocketAddr) -> bool {
    let is_udp = |listener: &Listener| listener.kind == ListenerKind::Coap;
    address.port() != 0 && is_udp(other) == is_udp(listener) && other.bind.contains(&address)
}

fn listener(at: &At<'_, '_>, raw: &raw::Listener) -> Option<Listener> {
    let kind = kind(at, raw.kind)?;
    if kind != ListenerKind::Http && raw.serve.is_some() {
        at.key("serve").error("only for kind \"http\"");
    }
    if kind == ListenerKind::Coap && raw.max_connections.is_some() {
        at.key("max_connections").error("not for kind \"coap\": it has no connections");
    }
    let max_message = raw.max_message.map_or(MESSAGE_BYTES, |size| size.0);
    if !(1..=MESSAGE_BYTES_MAX).contains(&max_message) {
        at.key("max_message").error("expected \"1B\" to \"64MiB\"");
    }
    let max_connections = raw.max_connections.unwrap_or(CONNECTIONS);
    if !(1..=CONNECTIONS_MAX).contains(&max_connections) {
        at.key("max_connections").error(format!("expected 1 to {CONNECTIONS_MAX}"));
    }
    Some(Listener {
        name: at.name().into(),
        kind,
        bind: addresses(at, kind, raw),
        max_message_bytes: usize::try_from(max_message).unwrap_or(usize::MAX),
        max_connections: max_connections as usize,
        serve: raw
            .serve
            .clone()
            .unwrap_or_else(|| vec![Serve::Ingest, Serve::Api, Serve::Metrics, Serve::Console]),
    })
}

fn kind(at: &At<'_, '_>, raw: Option<raw::ListenerKind>) -> Option<ListenerKind> {
    match (raw, at.name()) {
        (Some(raw::ListenerKind::Mqtt), _) => Some(ListenerKind::Mqtt),
        (Some(raw::ListenerKind::Coap), _) => Some(ListenerKind::Coap),
        (Some(raw::ListenerKind::Http), _) => Some(ListenerKind::Http),
        (None, _) if at.has("kind") => None,
        (None, "mqtt") => Some(ListenerKind::Mqtt),
        (None, "coap") => Some(ListenerKind::Coap),
        (None, "http") => Some(ListenerKind::Http),
        (None, _) => {
            at.missing("kind");
            None
        }
    }
}

fn addresses(at: &At<'_, '_>, kind: ListenerKind, raw: &raw::Listener) -> Vec<SocketAddr> {
    let Some(bind) = &raw.bind else {
        let port = match kind {
            ListenerKind::Mqtt => 1883,
            ListenerKind::Coap => 5683,
            ListenerKind::Http => 8080,
        };
        return vec![SocketAddr::from(([127, 0, 0, 1], port))];
    };
    if bind.values.is_empty() {
        at.key("bind").error("expected at least one address");
    }
    let parse = |(index, text): (usize, &String)| {
        let parsed = text.parse::<SocketAddr>().ok();
        if parsed.is_none() {
            let message = format!("expected an address with port such as \"127.0.0.1:1883\", got \"{text}\"");
            at.key("bind").element(bind, index).error(message);
        }
        parsed
    };
    bind.values.iter().enumerate().filter_map(parse).collect()
}
