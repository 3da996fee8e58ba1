//! `kind = "webhook"`: one row a POST, its JSON the body. At least once: `Idempotency-Key` is the row's id, the
//! same for every repetition.
//!
//! Rows with the same key go one after the other, each answered before the next is sent; different keys go side
//! by side over kept-alive connections. After the first failure of an attempt nothing more is sent: a dead
//! counterpart costs one time limit, not one for each row. With a `secret`, `X-Forebay-Signature` is
//! `sha256=` and the hexadecimal HMAC-SHA256 (RFC 2104) of the body.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, Uri};
use ring::hmac;

use super::{
    CursorKeeper, Guarantee, OpenError, Profile, Rejected, Retry, RetryRows, Sink, SinkError, WaitedAlerts,
};
use crate::config;
use crate::http_client::{Answer, HttpClient, HttpError, parse_url};
use crate::outbox::{Delivery, LeaseLimits, Positions};

/// Requests at the same time.
const CONCURRENT_MAX: usize = 8;
/// Rows of one attempt.
const ROWS_MAX: usize = 256;
/// Bytes of one attempt, roughly.
const BYTES_MAX: usize = 1024 * 1024;

/// Posts rows.
pub struct WebhookSink {
    http: HttpClient,
    url: Uri,
    headers: HeaderMap,
    key: Option<hmac::Key>,
    timeout: Duration,
}

impl WebhookSink {
    /// A sink that posts to `settings.url`.
    ///
    /// # Errors
    /// Where the URL or a header is none.
    pub fn open(name: Arc<str>, settings: &config::WebhookSink, http: HttpClient) -> Result<Self, OpenError> {
        let url = parse_url(&settings.url).map_err(|error| OpenError::Url(Arc::clone(&name), error))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("forebay/", env!("CARGO_PKG_VERSION"))));
        for (header, secret) in &settings.headers {
            let bad = || OpenError::Header { sink: Arc::clone(&name), header: header.clone() };
            let mut value = HeaderValue::try_from(&secret.0).map_err(|_| bad())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(header).map_err(|_| bad())?, value);
        }
        let key = settings.secret.as_ref().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.0.as_bytes()));
        Ok(Self { http, url, headers, key, timeout: settings.timeout })
    }

    fn request(&self, row: &Delivery) -> Request<Bytes> {
        let body = serde_json::to_vec(&row.json()).expect("rows have text keys and serialise to memory");
        let mut request = Request::post(&self.url).header("idempotency-key", row.id.to_string());
        if let Some(key) = &self.key {
            let signature = HEXLOWER.encode(hmac::sign(key, &body).as_ref());
            request = request.header("x-forebay-signature", format!("sha256={signature}"));
        }
        let mut request = request.body(Bytes::from(body)).expect("the URL and headers are checked");
        request.headers_mut().extend(self.headers.clone());
        request
    }

    /// Posts the rows of one key in order, until one has to wait or `is_down` is set.
    async fn post(&self, rows: &[Delivery], of_key: Vec<usize>, is_down: &AtomicBool) -> SinkError {
        let mut error = SinkError::default();
        for (at, row) in of_key.iter().enumerate() {
            let retry = if is_down.load(Ordering::Relaxed) {
                Retry { rows: RetryRows::All, reason: String::new(), after: None }
            } else {
                match verdict(self.http.send(self.request(&rows[*row]), self.timeout).await) {
                    Verdict::Taken => continue,
                    Verdict::Refused(reason) => {
                        error.rejected.push(Rejected { row: *row, reason });
                        continue;
                    }
                    Verdict::Later(retry) => retry,
                }
            };
            is_down.store(true, Ordering::Relaxed);
            error.retry = Some(Retry { rows: RetryRows::Only(of_key[at..].to_vec()), ..retry });
            break;
        }
        error
    }
}

impl Sink for WebhookSink {
    fn profile(&self) -> Profile {
        Profile {
            guarantee: Guarantee::AtLeastOnce,
            cursor: CursorKeeper::Outbox,
            waited_alerts: WaitedAlerts::Current,
            limits: LeaseLimits { rows_max: ROWS_MAX, bytes_max: BYTES_MAX },
        }
    }

    fn deliver<'a>(
        &'a mut self,
        rows: &'a [Delivery],
        _after: &'a Positions,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        async {
            let is_down = AtomicBool::new(false);
            let (sink, is_down) = (&*self, &is_down);
            let posts: Vec<_> =
                by_key(rows).into_iter().map(|rows_at| sink.post(rows, rows_at, is_down)).collect();
            let errors: Vec<_> = stream::iter(posts).buffer_unordered(CONCURRENT_MAX).collect().await;
            joined(errors)
        }
        .boxed()
    }
}

/// Indices of the rows, those of one key together and in order; keys in the order of their first row.
fn by_key(rows: &[Delivery]) -> Vec<Vec<usize>> {
    let mut group_of: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let group = *group_of.entry(row.row.view().key()).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(at);
    }
    groups
}

/// One error of those of all keys.
fn joined(errors: Vec<SinkError>) -> Result<(), SinkError> {
    let mut all = SinkError::default();
    let mut left = Vec::new();
    for error in errors {
        all.rejected.extend(error.rejected);
        let Some(retry) = error.retry else { continue };
        if let RetryRows::Only(rows) = &retry.rows {
            left.extend_from_slice(rows);
        }
        // Rows that were not even sent have nothing to say.
        if !retry.reason.is_empty() || all.retry.is_none() {
            all.retry = Some(retry);
        }
    }
    left.sort_unstable();
    if let Some(retry) = &mut all.retry {
        retry.rows = RetryRows::Only(left);
    }
    if all == SinkError::default() { Ok(()) } else { Err(all) }
}

enum Verdict {
    Taken,
    Refused(String),
    Later(Retry),
}

/// 2xx is taken; 4xx is refused for good, but for those that say "not now" (408, 425, 429).
fn verdict(answer: Result<Answer, HttpError>) -> Verdict {
    let later = |reason, after| Verdict::Later(Retry { rows: RetryRows::All, reason, after });
    let answer = match answer {
        Ok(answer) if answer.status.is_success() => return Verdict::Taken,
        Ok(answer) => answer,
        Err(error) => return later(error.to_string(), None),
    };
    let reason = format!("{}: {}", answer.status.as_u16(), answer.text());
    match answer.status.as_u16() {
        408 | 425 | 429 => later(reason, answer.retry_after()),
        400..=499 => Verdict::Refused(reason),
        _ => later(reason, answer.retry_after()),
    }
}

#[cfg(test)]
mod tests;
