//! `[sink.*]`.

use std::path::Path;
use std::time::Duration;

use super::super::document::At;
use super::super::scalar::{self, Hidden};
use super::{World, raw, sink_paths};
use crate::config::{
    FileSink, InfluxdbSink, MaxLag, OnMaxLag, PointTime, Secret, Sink, SinkKind, Start, WebhookSink,
};

/// Keys that every sink has.
const COMMON: [&str; 5] = ["kind", "max_lag", "on_max_lag", "max_age", "start"];
const FILE: [&str; 3] = ["path", "rotate", "keep"];
const INFLUXDB: [&str; 5] = ["url", "database", "user", "password", "time"];
const WEBHOOK: [&str; 4] = ["url", "headers", "secret", "timeout"];

const ROTATE_BYTES: u64 = 64 << 20;
/// A row must fit a file.
const ROTATE_BYTES_MIN: u64 = 4 << 10;
const KEEP: u32 = 10;
const KEEP_MAX: u32 = 10_000;
const MAX_AGE: Duration = Duration::from_secs(3600);
const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// All sinks.
pub(super) fn sinks(world: &World<'_>, places: &[At<'_, '_>]) -> Vec<Option<Sink>> {
    let sinks: Vec<_> = places.iter().map(|at| sink(world, at)).collect();
    sink_paths::check(places, &sinks);
    sinks
}

fn sink(world: &World<'_>, at: &At<'_, '_>) -> Option<Sink> {
    let raw: raw::Sink = at.read();
    if raw.kind.is_none() && !at.has("kind") {
        at.missing("kind");
    }
    let max_lag =
        raw.max_lag.as_deref().map_or(Some(MaxLag::HalfOfStream), |text| max_lag(&at.key("max_lag"), text));
    let kind = match raw.kind? {
        raw::SinkKind::File => {
            only(at, "file", &FILE, &["path"]);
            SinkKind::File(file(world, at, &raw)?)
        }
        raw::SinkKind::Influxdb => {
            only(at, "influxdb", &INFLUXDB, &["url", "database"]);
            SinkKind::Influxdb(influxdb(world, at, &raw)?)
        }
        raw::SinkKind::Webhook => {
            only(at, "webhook", &WEBHOOK, &["url"]);
            SinkKind::Webhook(webhook(world, at, raw.clone())?)
        }
    };
    Some(Sink {
        name: at.name().into(),
        kind,
        max_lag: max_lag?,
        on_max_lag: raw.on_max_lag.unwrap_or(OnMaxLag::Gap),
        max_age: raw.max_age.map_or(MAX_AGE, |length| length.0),
        start: raw.start.unwrap_or(Start::Now),
    })
}

/// Refuses keys of other kinds; says which are missing.
fn only(at: &At<'_, '_>, kind: &str, keys: &[&str], required: &[&str]) {
    for key in at.keys() {
        let elsewhere = FILE.iter().chain(&INFLUXDB).chain(&WEBHOOK).any(|known| *known == key);
        if elsewhere && !keys.contains(&key.as_str()) && !COMMON.contains(&key.as_str()) {
            at.key(&key).error(format!("not for kind \"{kind}\""));
        }
    }
    for key in required.iter().filter(|key| !at.has(key)) {
        at.missing(key);
    }
}

fn max_lag(at: &At<'_, '_>, text: &str) -> Option<MaxLag> {
    let bytes = scalar::size(text).filter(|bytes| *bytes > 0).map(MaxLag::Bytes);
    let age = scalar::duration(text).filter(|age| !age.is_zero()).map(MaxLag::Age);
    let lag = bytes.or(age);
    if lag.is_none() {
        at.error(format!("expected a duration such as \"2d\" or a size such as \"1GiB\", got \"{text}\""));
    }
    lag
}

fn file(world: &World<'_>, at: &At<'_, '_>, raw: &raw::Sink) -> Option<FileSink> {
    let rotate_bytes = raw.rotate.map_or(ROTATE_BYTES, |size| size.0);
    if rotate_bytes < ROTATE_BYTES_MIN {
        at.key("rotate").error("expected at least \"4KiB\"");
    }
    let keep = raw.keep.unwrap_or(KEEP);
    if keep > KEEP_MAX {
        at.key("keep").error(format!("expected 0 to {KEEP_MAX}"));
    }
    let path = raw.path.as_ref()?;
    if path.is_empty() {
        at.key("path").error("the path is empty");
    }
    Some(FileSink { path: world.dir.join(path), rotate_bytes, keep: keep as usize })
}

fn influxdb(world: &World<'_>, at: &At<'_, '_>, raw: &raw::Sink) -> Option<InfluxdbSink> {
    let url = raw.url.as_ref().and_then(|text| url(&at.key("url"), text));
    let password = raw.password.as_ref().map(|hidden| secret(world, &at.key("password"), hidden));
    let credentials = match (&raw.user, password) {
        (Some(user), Some(password)) => Some((user.clone(), password?)),
        (None, None) => None,
        (Some(_), None) => {
            at.missing("password");
            None
        }
        (None, Some(_)) => {
            at.missing("user");
            None
        }
    };
    let time = raw.time.unwrap_or(PointTime::Start);
    Some(InfluxdbSink { url: url?, database: raw.database.clone()?, credentials, time })
}

fn webhook(world: &World<'_>, at: &At<'_, '_>, raw: raw::Sink) -> Option<WebhookSink> {
    let url = raw.url.as_ref().and_then(|text| url(&at.key("url"), text));
    let timeout = raw.timeout.map_or(TIMEOUT, |length| length.0);
    if timeout.is_zero() || timeout > TIMEOUT_MAX {
        at.key("timeout").error("expected more than \"0s\" and at most \"5m\"");
    }
    let mut headers = Some(Vec::new());
    for (name, hidden) in raw.headers.unwrap_or_default() {
        let place = at.key("headers").key(&name);
        if http::HeaderName::try_from(&name).is_err() {
            place.error(format!("\"{name}\" is no header name"));
        }
        let value = secret(world, &place, &hidden);
        headers = headers.zip(value).map(|(mut headers, value)| {
            headers.push((name, value));
            headers
        });
    }
    let secret = raw.secret.as_ref().map(|hidden| secret(world, &at.key("secret"), hidden));
    let secret = secret.map_or(Some(None), |checked| checked.map(Some));
    Some(WebhookSink { url: url?, headers: headers?, secret: secret?, timeout })
}

fn url(at: &At<'_, '_>, text: &str) -> Option<String> {
    let parsed = text.parse::<http::Uri>().ok();
    let scheme = parsed.as_ref().and_then(http::Uri::scheme_str);
    let is_web = matches!(scheme, Some("http" | "https"));
    if !is_web || text.contains('@') {
        at.error(format!(
            "expected a URL such as \"http://127.0.0.1:8086\" without credentials, got \"{text}\""
        ));
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

fn secret(world: &World<'_>, at: &At<'_, '_>, hidden: &Hidden) -> Option<Secret> {
    let content = match hidden {
        Hidden::Text(text) => {
            at.hide();
            return Some(Secret(text.clone()));
        }
        Hidden::File(file) => world.outside.read(&world.dir.join(file)),
        Hidden::Credential(name) => match world.outside.variable("CREDENTIALS_DIRECTORY") {
            Some(dir) if !name.contains('/') => world.outside.read(&Path::new(&dir).join(name)),
            Some(_) => Err(format!("credential \"{name}\" is no file name")),
            None => {
                Err("CREDENTIALS_DIRECTORY is not set: not started by systemd with credentials".to_owned())
            }
        },
    };
    match content {
        Ok(content) => Some(Secret(content.trim_end_matches(['\r', '\n']).to_owned())),
        Err(error) => {
            at.error(format!("cannot read the secret: {error}"));
            None
        }
    }
}
