//! The end of tasks: each belongs to a [`Shutdown`], which tells it to stop and waits for it.

use std::{future::Future, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A group of tasks that stop together.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Shutdown {
    /// A group without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task of this group.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// Tells all tasks to stop.
    pub fn begin(&self) {
        self.token.cancel();
    }

    /// Whether the tasks were told to stop.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Completes when the tasks are told to stop. Cancel safe: yes.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Tells all tasks to stop and waits for them; returns how many were still there at the
    /// deadline.
    pub async fn finish(&self, deadline: Duration) -> usize {
        self.begin();
        self.tracker.close();
        let _ = tokio::time::timeout(deadline, self.tracker.wait()).await;
        self.tracker.len()
    }
}
