//! `kind = "influxdb"`: points over HTTP in line protocol, InfluxDB 1.x `/write`. Effectively once: a point that
//! is written again overwrites itself.
//!
//! Answers: 204 is written. 400 means that at least one point is refused (unparseable, type conflict, beyond
//! retention) and that InfluxDB may have kept the others; it does not say reliably which, so the batch is halved
//! until the culprits stand alone, and they are rejected. 413 halves too. Everything else is tried again, a
//! missing database and wrong credentials included: those are for the operator to mend, and no row is lost meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode, Uri};

use super::{
    CursorKeeper, Guarantee, OpenError, Profile, Rejected, Retry, RetryRows, Sink, SinkError, WaitedAlerts,
};
use crate::config;
use crate::http_client::{Answer, HttpClient, HttpError, parse_url};
use crate::outbox::{Delivery, LeaseLimits, Positions};

mod line;

/// Points of one request; InfluxDB's own advice is 5,000 to 10,000.
const POINTS_MAX: usize = 5_000;
/// Bytes of one request, roughly, below InfluxDB's `max-body-size` of 25 MB.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Time limit of one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Writes points.
pub struct InfluxdbSink {
    http: HttpClient,
    write: Uri,
    authorization: Option<HeaderValue>,
    time: config::PointTime,
}

impl InfluxdbSink {
    /// A sink that writes to `settings.database`.
    ///
    /// # Errors
    /// Where the URL is none.
    pub fn open(
        name: Arc<str>,
        settings: &config::InfluxdbSink,
        http: HttpClient,
    ) -> Result<Self, OpenError> {
        let base = settings.url.trim_end_matches('/');
        let database = percent_encoded(&settings.database);
        let write = parse_url(&format!("{base}/write?db={database}&precision=ns"))
            .map_err(|error| OpenError::Url(name, error))?;
        let authorization = settings.credentials.as_ref().map(|(user, password)| {
            let value = format!("Basic {}", BASE64.encode(format!("{user}:{}", password.0).as_bytes()));
            let mut value = HeaderValue::try_from(value).expect("base64 is visible ASCII");
            value.set_sensitive(true);
            value
        });
        Ok(Self { http, write, authorization, time: settings.time })
    }

    async fn write(&self, points: &[Point]) -> Result<Answer, HttpError> {
        let length = points.iter().map(|point| point.line.len() + 1).sum();
        let mut body = String::with_capacity(length);
        for point in points {
            body.push_str(&point.line);
            body.push('\n');
        }
        let mut request = Request::post(&self.write).header(CONTENT_TYPE, "text/plain; charset=utf-8");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Bytes::from(body)).expect("the URL and headers are checked");
        self.http.send(request, TIMEOUT).await
    }

    /// Writes everything that can be written; halves what is refused.
    async fn write_all(&self, points: &[Point]) -> Result<(), SinkError> {
        let mut error = SinkError::default();
        // Ranges still to write, the next one last: at most one for each halving, as rows stay in order.
        let mut left = vec![points];
        while let Some(points) = left.pop() {
            let refusal = match verdict(self.write(points).await) {
                Verdict::Written => continue,
                Verdict::Refused(reason) => reason,
                Verdict::Later { reason, after } => {
                    let unwritten = std::iter::once(points).chain(left.into_iter().rev()).flatten();
                    let rows = RetryRows::Only(unwritten.map(|point| point.row).collect());
                    error.retry = Some(Retry { rows, reason, after });
                    break;
                }
            };
            if let [point] = points {
                error.rejected.push(Rejected { row: point.row, reason: refusal });
            } else {
                let (first, second) = points.split_at(points.len() / 2);
                left.extend([second, first]);
            }
        }
        if error == SinkError::default() { Ok(()) } else { Err(error) }
    }
}

impl Sink for InfluxdbSink {
    fn profile(&self) -> Profile {
        Profile {
            guarantee: Guarantee::EffectivelyOnce,
            cursor: CursorKeeper::Outbox,
            waited_alerts: WaitedAlerts::All,
            limits: LeaseLimits { rows_max: POINTS_MAX, bytes_max: BODY_BYTES_MAX },
        }
    }

    fn deliver<'a>(
        &'a mut self,
        rows: &'a [Delivery],
        _after: &'a Positions,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        async {
            let line = |(row, delivery): (usize, &Delivery)| {
                line::encode(delivery.row.view(), self.time).map(|line| Point { row, line })
            };
            // A row without any value is no point, and none is missing then.
            let points: Vec<_> = rows.iter().enumerate().filter_map(line).collect();
            if points.is_empty() { Ok(()) } else { self.write_all(&points).await }
        }
        .boxed()
    }
}

/// A point and the row it came from.
struct Point {
    row: usize,
    line: String,
}

enum Verdict {
    Written,
    Refused(String),
    Later { reason: String, after: Option<Duration> },
}

fn verdict(answer: Result<Answer, HttpError>) -> Verdict {
    let answer = match answer {
        Ok(answer) if answer.status.is_success() => return Verdict::Written,
        Ok(answer) => answer,
        Err(error) => return Verdict::Later { reason: error.to_string(), after: None },
    };
    let reason = format!("{}: {}", answer.status.as_u16(), answer.text());
    match answer.status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
            Verdict::Refused(reason)
        }
        _ => Verdict::Later { reason, after: answer.retry_after() },
    }
}

/// RFC 3986 §2.1, everything but the unreserved characters.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests;
