//! What the gateway says of itself over HTTP: metrics, health, status. Beside the data's path.
//!
//! [`Admin::page`] is a plain function from a request's head to an answer: HTTP listeners call it for what is not
//! ingest, and the admin socket ([`socket`]) for everything. What it tells of the house it gets through two
//! ports, [`StatusSource`] and [`Readiness`], which the application implements.
//!
//! Beside the pages, the socket has [`reload`], which waits for the application's answer.
//!
//! Invariant: a page never waits; it reads counters and snapshots. Who may see it is the listener's to decide.

use std::sync::Arc;

use httpd::{Head, Method, Problem, Response};

use crate::telemetry::Metrics;

pub mod accept;
pub mod reload;
pub mod socket;
pub mod status;

pub use socket::{AdminSocket, Desk};
pub use status::Status;

/// Port: how the gateway is doing.
pub trait StatusSource: Send + Sync + 'static {
    /// A snapshot. Must not block.
    fn status(&self) -> Status;
}

/// Port: whether the gateway takes readings.
pub trait Readiness: Send + Sync + 'static {
    /// Whether every journal is open and taking. Dead sinks do not matter. Must not block.
    ///
    /// # Errors
    /// What does not take anything, for people: `the journal is being recovered`.
    fn ready(&self) -> Result<(), String>;

    /// What lanes wait for while readings are taken; `None`: they run. Must not block.
    fn lanes_wait(&self) -> Option<String>;
}

/// Answers requests for pages.
pub struct Admin {
    metrics: Arc<Metrics>,
    status: Arc<dyn StatusSource>,
    readiness: Arc<dyn Readiness>,
}

/// A page.
#[derive(Clone, Copy)]
enum Page {
    Metrics,
    Healthz,
    Readyz,
    Status,
}

impl Page {
    fn of(head: &Head) -> Option<Self> {
        Some(match head.raw_path() {
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            status::PATH => Self::Status,
            _ => return None,
        })
    }
}

impl Admin {
    /// Pages over `metrics` and the two ports.
    pub fn new(metrics: Arc<Metrics>, status: Arc<dyn StatusSource>, readiness: Arc<dyn Readiness>) -> Self {
        Self { metrics, status, readiness }
    }

    /// The answer to a request; `None` where there is no such page.
    pub fn page(&self, head: &Head) -> Option<Response> {
        let page = Page::of(head)?;
        if !matches!(head.method(), Method::Get | Method::Head) {
            return Some(Response::method_not_allowed(&[Method::Get, Method::Head]));
        }
        Some(
            match page {
                Page::Metrics => self.metrics(head),
                Page::Healthz => Response::text(httpd::Status::OK, "ok\n"),
                Page::Readyz => self.readyz(),
                Page::Status => Response::json(httpd::Status::OK, &self.status.status()),
            }
            // A proxy's memory of how we were doing helps nobody.
            .with_header("cache-control", "no-store"),
        )
    }

    fn metrics(&self, head: &Head) -> Response {
        let (content_type, text) = if accept::prefers_openmetrics(head.accept().unwrap_or_default()) {
            (accept::OPENMETRICS, self.metrics.encode_openmetrics())
        } else {
            (accept::TEXT, self.metrics.encode_text())
        };
        Response::bytes(httpd::Status::OK, content_type, text)
    }

    fn readyz(&self) -> Response {
        match self.readiness.ready() {
            // Devices are served: nobody must be sent away from us.
            Ok(()) => Response::text(httpd::Status::OK, self.remark()),
            Err(why) => {
                let status = httpd::Status::SERVICE_UNAVAILABLE;
                Response::problem(Problem::new(status, "/problems/not_ready", "Not Ready").detail(why))
            }
        }
    }

    fn remark(&self) -> String {
        let wait = self.readiness.lanes_wait();
        wait.map_or_else(|| "ready\n".to_owned(), |what| format!("ready, but lanes wait: {what}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct House(Result<(), String>, Option<String>);

    impl StatusSource for House {
        fn status(&self) -> Status {
            Status { gateway: "site-7".into(), ..Status::default() }
        }
    }

    impl Readiness for House {
        fn ready(&self) -> Result<(), String> {
            self.0.clone()
        }

        fn lanes_wait(&self) -> Option<String> {
            self.1.clone()
        }
    }

    fn admin(ready: Result<(), String>) -> Admin {
        let house = Arc::new(House(ready, None));
        Admin::new(Arc::new(Metrics::new()), house.clone(), house)
    }

    fn get(path: &str) -> Head {
        Head::new(Method::Get, path).unwrap()
    }

    #[test]
    fn each_page_has_its_content_type() {
        let admin = admin(Ok(()));
        for (path, content_type, beginning) in [
            ("/healthz", "text/plain; charset=utf-8", "ok\n"),
            ("/readyz?verbose", "text/plain; charset=utf-8", "ready\n"),
            ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "# HELP "),
            ("/api/v1/status", "application/json", r#"{"gateway":"site-7""#),
        ] {
            let answer = admin.page(&get(path)).expect(path);
            assert_eq!(answer.status(), httpd::Status::OK, "{path}");
            assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
            assert!(answer.body().starts_with(beginning.as_bytes()), "{path}: {:?}", answer.body());
        }
    }

    #[test]
    fn prometheus_gets_openmetrics_if_it_asks() {
        let head =
            get("/metrics").with_header("accept", "application/openmetrics-text;version=1.0.0,*/*;q=0.1");
        let answer = admin(Ok(())).page(&head).unwrap();
        assert_eq!(answer.header("content-type"), Some(accept::OPENMETRICS));
        assert!(answer.body().ends_with(b"# EOF\n"));
    }

    #[test]
    fn not_ready_says_why_and_is_alive() {
        let admin = admin(Err("readings failed: no space left".into()));
        let answer = admin.page(&get("/readyz")).unwrap();
        assert_eq!(answer.status(), httpd::Status::SERVICE_UNAVAILABLE);
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(
            (&body["type"], &body["detail"]),
            (&"/problems/not_ready".into(), &"readings failed: no space left".into())
        );
        assert_eq!(admin.page(&get("/healthz")).unwrap().status(), httpd::Status::OK);
    }

    #[test]
    fn lanes_that_wait_are_no_reason_to_send_devices_away() {
        let house = Arc::new(House(Ok(()), Some("the state store is being restored".into())));
        let answer =
            Admin::new(Arc::new(Metrics::new()), house.clone(), house).page(&get("/readyz")).unwrap();
        assert_eq!(answer.status(), httpd::Status::OK);
        assert_eq!(answer.body(), b"ready, but lanes wait: the state store is being restored\n".as_slice());
    }

    #[test]
    fn pages_are_only_read_and_others_are_not_ours() {
        let admin = admin(Ok(()));
        let answer = admin.page(&Head::new(Method::Post, "/metrics").unwrap()).unwrap();
        assert_eq!(answer.status(), httpd::Status::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        for path in ["/", "/metrics/", "/api/v1/sensors", "/ingest/x"] {
            assert!(admin.page(&get(path)).is_none(), "{path}");
        }
    }
}
