//! The admin socket: the same pages over HTTP on a Unix socket, by which the command line reaches the gateway, and
//! the reload.
//!
//! The file system says who may use it: mode 0600, the gateway's own user and root. A socket that a killed
//! gateway left behind is replaced; one that still answers, or another kind of file, is not touched.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use httpd::{Admission, Dropped, Head, Host, Method, Problem, Request, Response, Settings};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::Admin;
use super::reload::{self, Reload};

/// Connections at once: a few people and their scripts.
const CONNECTIONS_MAX: usize = 16;

/// Rest after a failed accept, which mostly means too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const MODE: u32 = 0o600;

/// A bound admin socket; its file goes with it.
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Binds `path`. Runs within a tokio runtime.
    ///
    /// # Errors
    /// Where something else is there, or the folder cannot be written.
    pub fn bind(path: &Path) -> io::Result<Self> {
        check_free(path)?;
        // Bound under another name until nobody else may use it; the rename replaces what was left behind.
        let mut name = path.as_os_str().to_owned();
        name.push("~");
        let unready = PathBuf::from(name);
        if unready.exists() {
            fs::remove_file(&unready)?;
        }
        let listener = UnixListener::bind(&unready)?;
        fs::set_permissions(&unready, Permissions::from_mode(MODE))?;
        fs::rename(&unready, path)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves `desk` until `shutdown`; open requests are answered first.
    pub async fn run(self, desk: Desk, shutdown: CancellationToken) {
        info!(path = %self.path.display(), "admin socket open");
        let (host, permits) = (Arc::new(desk), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
        let tasks = TaskTracker::new();
        loop {
            let permit = permits.clone().acquire_owned();
            let Some(Ok(permit)) = shutdown.run_until_cancelled(permit).await else { break };
            let Some(accepted) = shutdown.run_until_cancelled(self.listener.accept()).await else { break };
            match accepted {
                Ok((stream, _)) => {
                    let serve = serve(stream, host.clone(), shutdown.clone());
                    tasks.spawn(async move {
                        serve.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    warn!(%error, "admin socket cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            debug!(%error, path = %self.path.display(), "admin socket is not there any more");
        }
    }
}

fn check_free(path: &Path) -> io::Result<()> {
    let taken =
        |what: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{} {what}", path.display())));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => taken("is there and no socket"),
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            taken("is the admin socket of a running gateway")
        }
        Ok(_) => Ok(()),
    }
}

async fn serve(stream: UnixStream, host: Arc<Desk>, shutdown: CancellationToken) {
    httpd::serve(stream, None, host, &Settings::default(), shutdown).await;
}

/// What the socket offers: every page, and the reload.
pub struct Desk {
    /// The pages.
    pub pages: Arc<Admin>,
    /// Who reloads.
    pub reload: Arc<dyn Reload>,
}

impl Desk {
    fn answer(&self, head: &Head) -> Response {
        self.pages.page(head).unwrap_or_else(|| {
            let problem = Problem::new(httpd::Status::NOT_FOUND, "/problems/not_found", "Not Found");
            problem.detail(format!("there is no page {}", head.raw_path())).into()
        })
    }
}

impl Host for Desk {
    /// Nothing here has a use for a body.
    fn admit(&self, head: &Head) -> Admission {
        match (head.raw_path(), head.method()) {
            (reload::PATH, Method::Post) => Admission::Read { body_bytes_max: 0 },
            (reload::PATH, _) => Admission::Answer(Response::method_not_allowed(&[Method::Post])),
            _ => Admission::Answer(self.answer(head)),
        }
    }

    async fn handle(&self, request: Request) -> Response {
        match reload::mode(&request.head) {
            Some(mode) => self.reload.reload(mode).await.into_response(),
            None => {
                let problem = Problem::new(httpd::Status::BAD_REQUEST, "/problems/malformed", "Bad Request");
                problem.detail("dry_run is neither true nor false").into()
            }
        }
    }

    fn dropped(&self, reason: Dropped) {
        debug!(reason = reason.label(), "request on the admin socket given up");
    }
}
