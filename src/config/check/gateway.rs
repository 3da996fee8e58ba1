//! `[gateway]`, `[journal]`, `[access]`, and what is missing altogether.

use std::cell::RefCell;
use std::time::Duration;

use super::super::document::{At, File, Found};
use super::super::problem::Problem;
use super::{World, raw};
use crate::config::{Access, Anonymous, Gateway, Journal, OnDenied, StreamLimits};

const DEFAULT_ID: &str = "forebay";
const DEFAULT_DATA_DIR: &str = "/var/lib/forebay";

const GIB: u64 = 1 << 30;
const DAY: Duration = Duration::from_secs(86_400);

/// Segments are 64 MiB; a stream needs one that is written and one that goes.
const STREAM_BYTES_MIN: u64 = 128 << 20;

/// A sync that waits longer than this only slows devices down.
const COMMIT_LINGER_MAX: Duration = Duration::from_secs(1);

/// `[gateway]`.
pub(super) fn gateway(world: &World<'_>, at: Option<&At<'_, '_>>) -> Option<Gateway> {
    let raw: raw::Gateway = at.map(At::read).unwrap_or_default();
    if let (Some(at), Some(id)) = (at, &raw.id) {
        super::check_name(&at.key("id"), id);
    }
    let data_dir = world.dir.join(raw.data_dir.as_deref().unwrap_or(DEFAULT_DATA_DIR));
    let admin = raw.admin.map_or_else(|| data_dir.join("admin.sock"), |path| world.dir.join(path));
    Some(Gateway { id: raw.id.as_deref().unwrap_or(DEFAULT_ID).into(), data_dir, admin })
}

/// `[journal]`.
pub(super) fn journal(at: Option<&At<'_, '_>>) -> Journal {
    let raw: raw::Journal = at.map(At::read).unwrap_or_default();
    let stream = |key: &str, raw: Option<raw::Stream>, default: StreamLimits| {
        let raw = raw.unwrap_or_default();
        let at = at.map(|at| if key.is_empty() { at.clone() } else { at.key(key) });
        limits(at.as_ref(), &raw, default)
    };
    let readings = raw::Stream { max_bytes: raw.max_bytes, max_age: raw.max_age };
    let linger = raw.commit_linger.map_or(Duration::from_millis(2), |length| length.0);
    if let Some(at) = at
        && linger > COMMIT_LINGER_MAX
    {
        at.key("commit_linger").error("expected at most \"1s\"");
    }
    Journal {
        readings: stream("", Some(readings), StreamLimits { max_bytes: 20 * GIB, max_age: 7 * DAY }),
        results: stream("results", raw.results, StreamLimits { max_bytes: 4 * GIB, max_age: 30 * DAY }),
        dead_letters: stream(
            "dead_letters",
            raw.dead_letters,
            StreamLimits { max_bytes: GIB, max_age: 30 * DAY },
        ),
        messages: stream("messages", raw.messages, StreamLimits { max_bytes: GIB, max_age: 7 * DAY }),
        commit_linger: linger,
        min_free_bytes: raw.min_free.map_or(GIB / 2, |size| size.0),
    }
}

fn limits(at: Option<&At<'_, '_>>, raw: &raw::Stream, default: StreamLimits) -> StreamLimits {
    let limits = StreamLimits {
        max_bytes: raw.max_bytes.map_or(default.max_bytes, |size| size.0),
        max_age: raw.max_age.map_or(default.max_age, |length| length.0),
    };
    if let Some(at) = at {
        if limits.max_bytes < STREAM_BYTES_MIN {
            at.key("max_bytes").error("expected at least \"128MiB\": two segments");
        }
        if limits.max_age.is_zero() {
            at.key("max_age").error("expected more than \"0s\"");
        }
    }
    limits
}

/// `[access]`.
pub(super) fn access(at: Option<&At<'_, '_>>) -> Access {
    let raw: raw::Access = at.map(At::read).unwrap_or_default();
    Access {
        anonymous: raw.anonymous.unwrap_or(Anonymous::Loopback),
        on_denied: raw.on_denied.unwrap_or(OnDenied::Ack),
    }
}

/// Warns of a gateway that takes or keeps nothing.
pub(super) fn warn_missing(listeners: usize, world: &World<'_>, found: &RefCell<Found>, files: &[File]) {
    let warn = |message: &str| {
        let file = files.first().map_or_else(String::new, |file| file.name.clone());
        let problem = Problem { file, line: 0, column: 0, path: String::new(), message: message.to_owned() };
        found.borrow_mut().warnings.push((0, 0, problem));
    };
    if listeners == 0 {
        warn("no [listen.*]: nothing can reach this gateway");
    }
    if world.sources.is_empty() {
        warn("no [source.*]: every message is refused as unmatched");
    }
}
