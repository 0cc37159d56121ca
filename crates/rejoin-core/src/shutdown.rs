//! The end of tasks: each belongs to a [`Shutdown`], which tells it to stop and waits for it.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

/// A group of tasks that stop together, and the layers around it that stop before it.
#[derive(Clone, Default)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    name: &'static str,
    token: CancellationToken,
    tracker: TaskTracker,
    /// What uses this group, the outermost last. Held for a push or a copy.
    layers: Mutex<Vec<Shutdown>>,
}

impl Shutdown {
    /// A group without tasks.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared { name: "core", ..Shared::default() };
        Self { shared: Arc::new(shared) }
    }

    /// A group around this one: it is finished before this one begins to stop.
    #[must_use]
    pub fn layer(&self, name: &'static str) -> Self {
        let token = self.shared.token.child_token();
        let layer = Self { shared: Arc::new(Shared { name, token, ..Shared::default() }) };
        self.shared.layers.lock().push(layer.clone());
        layer
    }

    /// Starts a task of this group.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.tracker.spawn(task)
    }

    /// Tells all tasks to stop, those of the layers as well.
    pub fn begin(&self) {
        self.shared.token.cancel();
    }

    /// Whether the tasks were told to stop.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.shared.token.is_cancelled()
    }

    /// Completes when the tasks are told to stop. Cancel safe: yes.
    pub async fn begun(&self) {
        self.shared.token.cancelled().await;
    }

    /// Stops layer after layer, the outermost first, and waits for each until its deadline;
    /// returns how many tasks were still there.
    pub async fn finish(&self, deadline: Duration) -> usize {
        let layers = self.shared.layers.lock().clone();
        let mut left = 0;
        for layer in layers.iter().rev() {
            left += Box::pin(layer.finish(deadline)).await;
        }
        self.begin();
        self.shared.tracker.close();
        let _ = tokio::time::timeout(deadline, self.shared.tracker.wait()).await;
        let own = self.shared.tracker.len();
        if own > 0 {
            warn!(layer = self.shared.name, tasks = own, "tasks are cut off at the deadline");
        }
        left + own
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("name", &self.shared.name)
            .field("tasks", &self.shared.tracker.len())
            .field("has_begun", &self.has_begun())
            .finish_non_exhaustive()
    }
}
