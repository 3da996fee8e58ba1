//! The store on its way, beside everything else: opened at the start, mended after damage.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{STORE, View};
use crate::journal::Ballast;
use crate::store::{Store, StoreError};
use crate::telemetry::clock;

/// How often it is tried again while the disk is full.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How long an error of the disk is waited out: the old store may still be closing.
const CLOSING_MAX: Duration = Duration::from_secs(10);
/// How often it is tried again meanwhile.
const CLOSING_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A store that is being opened or mended.
pub(super) struct Opening {
    task: JoinHandle<Option<Result<Arc<Store>, StoreError>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Opening {
    /// Starts `attempt`, which may block, and repeats it for as long as the disk is full.
    pub(super) fn start(
        attempt: impl Fn() -> Result<Arc<Store>, StoreError> + Send + Sync + 'static,
        view: watch::Sender<View>,
        ballast: Arc<Ballast>,
    ) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let told = stop.clone();
        let opening = async move { patiently(Arc::new(attempt), &view, &ballast).await };
        let task = tasks.spawn(async move { told.run_until_cancelled(opening).await });
        Self { task, tasks, stop }
    }

    /// What came of it; never, once it was given up. Cancel safe.
    pub(super) async fn opened(&mut self) -> Result<Arc<Store>, StoreError> {
        match (&mut self.task).await {
            Ok(Some(opened)) => opened,
            Ok(None) => std::future::pending().await,
            Err(panic) => Err(StoreError::Damaged(panic.to_string())),
        }
    }

    /// Ends it.
    pub(super) async fn give_up(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn patiently(
    attempt: Arc<impl Fn() -> Result<Arc<Store>, StoreError> + Send + Sync + 'static>,
    view: &watch::Sender<View>,
    ballast: &Ballast,
) -> Result<Arc<Store>, StoreError> {
    let began = clock::monotonic();
    loop {
        let now = attempt.clone();
        let opened = tokio::task::spawn_blocking(move || now()).await;
        match opened.unwrap_or_else(|panic| Err(StoreError::Damaged(panic.to_string()))) {
            // What it gave back may be enough.
            Err(StoreError::Full(error)) if ballast.release(STORE, &error) => {}
            Err(error @ StoreError::Full(_)) => {
                if !matches!(*view.borrow(), View::Waits(_)) {
                    tracing::error!(%error, "processing waits for room on the disk");
                }
                view.send_replace(View::Waits(error.to_string()));
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            Err(StoreError::Io(error)) if began.elapsed() < CLOSING_MAX => {
                tracing::debug!(%error, "the state store cannot be opened yet");
                tokio::time::sleep(CLOSING_AGAIN_AFTER).await;
            }
            opened => return opened,
        }
    }
}
