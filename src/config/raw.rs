//! The shape of the file: one structure a table. The comments of the fields are the user manual, which
//! `config/forebay.toml` shows with defaults; a test checks that no key is missing there.
//!
//! Every key is optional here, so that one wrong value does not hide the problems of its neighbours:
//! `check` says what is missing and what does not go together.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::scalar::{Hidden, Length, Many, Size};
use super::{Anonymous, MissingTime, OnDenied, OnMaxLag, OutputKind, PointTime, Priority, Serve, Start};
use super::{LateRule, Scope, TimeUnit};
use crate::model::Severity;

/// Declares a raw table: every field optional, unknown keys refused, its keys listed for the tests.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident $(= $key:literal)?: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name {
            $($(#[$field_doc])* $(#[serde(rename = $key)])? pub(super) $field: Option<$type>,)*
        }

        #[cfg(test)]
        impl $name {
            /// The keys, as they are spelt in the file.
            pub(super) const KEYS: &'static [&'static str] = &[$(table!(@key $field $($key)?)),*];
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
}

table! {
    /// `[gateway]`
    Gateway {
        /// Name of this gateway: part of every result id, so unique among your gateways.
        id: String,
        /// Directory of journal and state.
        data_dir: String,
        /// Socket by which the command line reaches the daemon; default `<data_dir>/admin.sock`.
        admin: String,
    }
}

table! {
    /// `[journal]`
    Journal {
        /// Disk space for readings.
        max_bytes: Size,
        /// Readings older than this (by arrival) go, once they are processed and delivered.
        max_age: Length,
        /// Shortest time from one sync to the next: more is kinder to flash, less acknowledges sooner.
        commit_linger: Length,
        /// Free space of the file system below which intake refuses.
        min_free: Size,
        /// Limits of window results, alerts and late readings.
        results: Stream,
        /// Limits of refused messages.
        dead_letters: Stream,
        /// Limits of relayed MQTT messages.
        messages: Stream,
    }
}

table! {
    /// `[journal.results]` and the like
    Stream {
        /// Disk space.
        max_bytes: Size,
        /// Age by arrival.
        max_age: Length,
    }
}

table! {
    /// `[listen.NAME]`
    Listener {
        /// `mqtt`, `coap` or `http`; default: the table's name.
        kind: ListenerKind,
        /// One address with port, or a list; port 0 takes any free one.
        bind: Many,
        /// Largest payload.
        max_message: Size,
        /// Most connections at once (`mqtt`, `http`).
        max_connections: u32,
        /// What is served (`http`); default: all.
        serve: Vec<Serve>,
    }
}

/// Protocols of listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ListenerKind {
    Mqtt,
    Coap,
    Http,
}

table! {
    /// `[access]`
    Access {
        /// From where nobody needs credentials: `never`, `loopback`, `everywhere`.
        anonymous: Anonymous,
        /// What MQTT 3.1.1 does with a forbidden publish: `ack` (and drop it) or `close`.
        on_denied: OnDenied,
    }
}

table! {
    /// `[source.NAME]`
    Source {
        /// Topic paths it takes: `fleet/{vehicle}/telemetry`, with `+` for any level and a last `#` for the rest.
        topic: String,
        /// `auto` (by content type), `senml`, `json`, `cbor`, `ndjson`.
        format: Format,
        /// The sensor's name: text with captures (`{vehicle}`) and payload values (`{/json/pointer}`).
        sensor: String,
        /// Where the event time comes from.
        time: Time,
        /// `NAME` of `schemas/NAME.json` beside the file.
        schema: String,
        /// Who is refused last when room runs out: `bulk`, `normal`, `alarm`.
        priority: Priority,
        /// The fields to take; without this table every scalar member is one.
        fields: BTreeMap<String, Field>,
        /// How readings that were sent twice are told, and left out; off by default.
        dedup: Dedup,
    }
}

table! {
    /// `dedup` of a source
    Dedup {
        /// `"content"` (sensor, time, fields), or a list of JSON pointers to the device's own record id.
        by: Many,
        /// For how long a second one is a copy; `"10m"` by default.
        within: Length,
    }
}

/// Payload formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Format {
    Auto,
    Senml,
    Json,
    Cbor,
    Ndjson,
}

table! {
    /// `time` of a source
    Time {
        /// JSON pointer of the time in the payload.
        at: String,
        /// Its unit: `s`, `ms`, `us`, `ns`, `rfc3339`.
        unit: TimeUnit,
        /// Without a time: take the arrival time (`received`) or `refuse` the message.
        missing: MissingTime,
        /// Times before this (RFC 3339) count as missing.
        min: String,
    }
}

table! {
    /// `[source.NAME.fields]`
    Field {
        /// JSON pointer of the value; default: `/` and the field's name.
        at: String,
        /// The unit; SenML values are converted to it.
        unit: String,
    }
}

table! {
    /// `[pipeline.NAME]`
    Pipeline {
        /// The sources it reads.
        from: Many,
        /// Only readings for which this holds.
        filter = "where": String,
        /// What readings are grouped by: `sensor`, a field, a list of fields, `""` for all together.
        key: Many,
        /// Fields carried into the rows, with their last value.
        tags: Vec<String>,
        /// Pipelines of different lanes do not wait for each other.
        lane: String,
        /// The window.
        window: Window,
        /// How event time advances.
        watermark: Watermark,
        /// The columns: name = aggregate.
        select: BTreeMap<String, String>,
        /// Only rows for which this holds are emitted; alerts see all.
        having: String,
        /// Where a new pipeline starts: `now` or `earliest`.
        start: Start,
        /// The sinks its rows go to: short for a route.
        to: Many,
    }
}

table! {
    /// `window`
    Window {
        /// `tumbling`.
        kind: WindowKind,
        /// Its length.
        size: Length,
        /// Shift of the starts.
        offset: Length,
    }
}

/// Window kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WindowKind {
    Tumbling,
}

table! {
    /// `watermark`
    Watermark {
        /// `key`: each key has its own event time; `source`: one for all.
        scope: Scope,
        /// How far event time trails the latest reading: room for disorder.
        delay: Length,
        /// How long a fired window still takes late readings, with a new revision each.
        lateness: Length,
        /// Readings too late even so: `count` them, or `keep` them as `late` rows.
        late: LateRule,
        /// After this long without a reading, windows that are over fire (scope `key`).
        idle: Length,
        /// Readings further in the future than this do not advance event time.
        max_ahead: Length,
        /// A key is forgotten after this long without a reading.
        forget: Length,
    }
}

table! {
    /// `[alert.NAME]`
    Alert {
        /// The pipeline or source it watches.
        on: String,
        /// Fires when this holds.
        when: String,
        /// Resolves when this holds; default: when `when` does not.
        clear: String,
        /// How long `when` must hold, in event time.
        hold = "for": Length,
        /// Fires after this long without a reading, instead of `when`.
        absent: Length,
        /// Without a row for this long, a firing alert is resolved as stale.
        resolve_after: Length,
        /// A firing alert is sent again this often.
        repeat: Length,
        /// `info`, `warning`, `critical`, or an expression that yields one.
        severity: String,
        /// Text for people, with `{name}` and `{name:.1}`.
        summary: String,
        /// The lane, where it watches a source.
        lane: String,
        /// The sinks it goes to: short for a route.
        to: Many,
    }
}

table! {
    /// `[[route]]`
    Route {
        /// `reading`, `result`, `alert`, `late` or `dead-letter`; default: results and alerts.
        of: OutputKind,
        /// Only of these pipelines or sources.
        from: Many,
        /// Only these alerts.
        alert: Many,
        /// Only alerts of these severities.
        severity: Vec<Severity>,
        /// The sinks.
        to: Many,
        /// Whether the search ends here.
        is_final = "final": bool,
    }
}

table! {
    /// `[sink.NAME]`
    Sink {
        /// `file`, `influxdb` or `webhook`.
        kind: SinkKind,
        /// How far it may fall behind (bytes or time); default: half of the stream's bytes.
        max_lag: String,
        /// Then: move on (`gap`) or keep the stream for it (`hold`).
        on_max_lag: OnMaxLag,
        /// Alerts older than this are not sent after an outage.
        max_age: Length,
        /// Where a new sink starts: `now` or `earliest`.
        start: Start,
        /// `file`: the file.
        path: String,
        /// `file`: size at which it becomes `.1`.
        rotate: Size,
        /// `file`: how many rotated files are kept.
        keep: u32,
        /// `influxdb`, `webhook`: where to.
        url: String,
        /// `influxdb`: the database.
        database: String,
        /// `influxdb`: the user.
        user: String,
        /// `influxdb`: the password.
        password: Hidden,
        /// `influxdb`: a point has the time of the window's `start` or `end`.
        time: PointTime,
        /// `webhook`: extra headers.
        headers: BTreeMap<String, Hidden>,
        /// `webhook`: key of the HMAC-SHA256 signature.
        secret: Hidden,
        /// `webhook`: time limit of one request.
        timeout: Length,
    }
}

/// Kinds of sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SinkKind {
    File,
    Influxdb,
    Webhook,
}
