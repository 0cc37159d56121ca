//! Groups of tasks: each task belongs to a [`Shutdown`], which stops it and waits for it.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::lock::{Mutex, level::LEAF};

/// A group of tasks that stop together, after the layers around it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
///
/// use rejoin_core::Shutdown;
///
/// let core = Shutdown::new();
/// let sockets = core.layer("sockets");
///
/// let (stop, inner) = (sockets.clone(), core.clone());
/// sockets.spawn(async move {
///     stop.begun().await;
///     assert!(!inner.has_begun(), "the layer stops first");
/// });
///
/// let still_running = core.finish(Duration::from_secs(5)).await;
/// assert_eq!(still_running, 0);
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    name: &'static str,
    token: CancellationToken,
    tracker: TaskTracker,
    /// The layers that use this group, the outermost last.
    layers: Mutex<Vec<Shutdown>, LEAF>,
}

impl Shutdown {
    /// Creates a group without tasks.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared { name: "core", ..Shared::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Creates a group around this one. It finishes before this one begins to stop.
    #[must_use]
    pub fn layer(&self, name: &'static str) -> Self {
        // A child: a stop of the inner group stops the layer, not the other way round.
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

    /// Signals all tasks of the group and of its layers to stop.
    pub fn begin(&self) {
        self.shared.token.cancel();
    }

    /// Returns `true` once the tasks were signalled to stop.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.shared.token.is_cancelled()
    }

    /// Waits until the tasks are signalled to stop. Cancel safe.
    pub async fn begun(&self) {
        self.shared.token.cancelled().await;
    }

    /// Stops the layers, the outermost first, then this group. Waits for each until `deadline`.
    ///
    /// Returns the number of tasks that were still running.
    pub async fn finish(&self, deadline: Duration) -> usize {
        // In reverse: sockets close before the state that they show.
        let layers = self.shared.layers.lock().clone();
        let mut running = 0;
        for layer in layers.iter().rev() {
            running += Box::pin(layer.finish(deadline)).await;
        }

        self.begin();
        self.shared.tracker.close();
        let _ = tokio::time::timeout(deadline, self.shared.tracker.wait()).await;

        let own = self.shared.tracker.len();
        if own > 0 {
            warn!(
                layer = self.shared.name,
                tasks = own,
                "tasks were still running at the deadline"
            );
        }

        running + own
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
