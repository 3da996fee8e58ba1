//! What the contract promises and this version does not have yet: named as such, never silently ignored.

/// Kinds of tables.
const TABLES: [&str; 3] = ["pattern", "role", "table"];

/// Keys: the table's kind, then the path of the key in it.
const KEYS: [(&str, &str); 26] = [
    ("access", "credentials"),
    ("listen", "tls"),
    ("listen", "dtls"),
    ("listen", "url"),
    ("listen", "subscribe"),
    ("source", "enrich"),
    ("source", "keep_raw"),
    ("pipeline", "window.slide"),
    ("pipeline", "window.gap"),
    ("pipeline", "window.step"),
    ("pipeline", "window.range"),
    ("pipeline", "window.timezone"),
    ("sink", "routing_key"),
    ("sink", "bucket"),
    ("sink", "brokers"),
    ("sink", "servers"),
    ("sink", "dsn"),
    ("sink", "token"),
    ("sink", "org"),
    ("sink", "smtp"),
    ("sink", "from"),
    ("sink", "to"),
    ("sink", "topic"),
    ("sink", "subject"),
    ("sink", "channel"),
    ("sink", "command"),
];

/// Words: the table's kind, the path of the key, what the key is called, the words.
const WORDS: [(&str, &str, &str, &[&str]); 4] = [
    ("listen", "kind", "listener kind", &["mqtt-client"]),
    ("source", "format", "format", &["csv", "influx", "sparkplug", "cayenne"]),
    ("pipeline", "window.kind", "window kind", &["sliding", "session", "cumulative", "count", "over"]),
    (
        "sink",
        "kind",
        "sink kind",
        &[
            "alertmanager",
            "command",
            "email",
            "kafka",
            "mqtt",
            "nats",
            "pagerduty",
            "parquet",
            "postgres",
            "prometheus-remote-write",
            "slack",
            "websocket",
        ],
    ),
];

/// Whether tables of `kind` are for a later version.
pub(super) fn table(kind: &str) -> bool {
    TABLES.contains(&kind)
}

/// Whether the key at `path` of a table of `kind` is for a later version.
pub(super) fn key(kind: &str, path: &str) -> bool {
    KEYS.contains(&(kind, path))
}

/// What the key at `path` is called, if its value `word` is for a later version.
pub(super) fn word(kind: &str, path: &str, word: &str) -> Option<&'static str> {
    let same = |entry: &&(&str, &str, &'static str, &[&str])| (entry.0, entry.1) == (kind, path);
    WORDS.iter().find(same).filter(|entry| entry.3.contains(&word)).map(|entry| entry.2)
}
