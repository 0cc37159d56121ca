//! Events of a hub for a webhook, through a bounded queue.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rejoin_core::{EventHandler, Hub, HubEvent, Shutdown, now_ms};
use rejoin_http_client::ConnectionTasks;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::warn;

use crate::{
    delivery::{Delivery, QueuedEvent},
    metrics::WebhookMetrics,
    target::{Webhook, WebhookError, new_id},
};

/// The maximum number of events in the queue of a target, about 500 bytes each.
const MAX_QUEUED: usize = 4096;

/// The kind of an event, by its name in requests and in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A connection was opened.
    Connected,
    /// A connection has ended.
    Disconnected,
    /// The first connection of a user was opened.
    UserOnline,
    /// The last connection of a user has ended.
    UserOffline,
    /// A session was started.
    SessionStarted,
    /// The last connection has left a session.
    SessionLeft,
    /// The program of a session has ended.
    SessionEnded,
    /// A session was removed.
    SessionRemoved,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Connected,
        Self::Disconnected,
        Self::UserOnline,
        Self::UserOffline,
        Self::SessionStarted,
        Self::SessionLeft,
        Self::SessionEnded,
        Self::SessionRemoved,
    ];
}

/// A handler that sends events to a webhook.
///
/// Sends each event at least once and in order, unless the queue overflows or the target fails
/// for an hour.
pub struct WebhookEvents {
    kinds: BTreeSet<EventKind>,
    /// Never waited for: an event without room is dropped and counted.
    queue: mpsc::Sender<QueuedEvent>,
    /// The number of open connections, counted from events.
    open: watch::Sender<u64>,
    /// The events dropped since the queue last had room.
    dropped: AtomicU64,
    metrics: Arc<WebhookMetrics>,
}

impl WebhookEvents {
    /// Starts the task that delivers events of these kinds. It belongs to the hub's shutdown.
    ///
    /// # Errors
    /// [`WebhookError::Roots`] if the machine trusts no certificate authority.
    pub fn start(
        webhook: Webhook,
        kinds: impl IntoIterator<Item = EventKind>,
        hub: &Hub,
    ) -> Result<Self, WebhookError> {
        let (queue, queue_rx) = mpsc::channel(MAX_QUEUED);
        let (open, open_rx) = watch::channel(0);
        let tasks = ConnectionTasks { shutdown: hub.shutdown().clone(), end: Shutdown::new() };
        let metrics: Arc<WebhookMetrics> = hub.metrics().group();
        let delivery = Delivery {
            client: webhook.client(tasks.clone(), 1)?,
            webhook,
            queue: queue_rx,
            current: None,
            open: open_rx,
            failing: false,
            metrics: Arc::clone(&metrics),
        };

        hub.shutdown().spawn(delivery.run(tasks));
        let (kinds, dropped) = (kinds.into_iter().collect(), AtomicU64::new(0));
        Ok(Self { kinds, queue, open, dropped, metrics })
    }

    fn enqueue(&self, kind: EventKind, data: &Value) {
        let id = new_id();
        let body = json!({ "id": id, "type": kind, "time": now_ms(), "data": data });
        let event = QueuedEvent { id, body: body.to_string().into(), created: Instant::now() };
        // Never waits: the hub calls handlers one after the other.
        match self.queue.try_send(event) {
            Ok(()) => {
                let dropped = self.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    warn!(dropped, "the webhook's queue has room again");
                }
            }
            Err(error) => {
                self.metrics.count("dropped");
                let is_full = matches!(error, mpsc::error::TrySendError::Full(_));
                // Logged once until there is room: an overflow comes with many events.
                if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 && is_full {
                    warn!(MAX_QUEUED, "the webhook's queue is full: events are dropped");
                }
            }
        }
    }
}

impl EventHandler for WebhookEvents {
    fn handle(&self, event: &HubEvent) {
        let Some(kind) = kind(event) else { return };
        // Filtered before serialization, which costs more than the rest.
        if self.kinds.contains(&kind) {
            self.enqueue(kind, &data(event));
        }

        // After the event is queued: during a stop, the delivery ends when no connection is open.
        match kind {
            EventKind::Connected => self.open.send_modify(|open| *open += 1),
            EventKind::Disconnected => {
                // A connection may have opened before this handler was set.
                self.open.send_modify(|open| *open = open.saturating_sub(1));
            }
            _ => {}
        }
    }
}

/// Returns the kind of an event, or `None` for an event that webhooks do not have.
fn kind(event: &HubEvent) -> Option<EventKind> {
    Some(match event {
        HubEvent::Connected { .. } => EventKind::Connected,
        HubEvent::Disconnected { .. } => EventKind::Disconnected,
        HubEvent::UserOnline { .. } => EventKind::UserOnline,
        HubEvent::UserOffline { .. } => EventKind::UserOffline,
        HubEvent::SessionStarted { .. } => EventKind::SessionStarted,
        HubEvent::SessionLeft { .. } => EventKind::SessionLeft,
        HubEvent::SessionEnded { .. } => EventKind::SessionEnded,
        HubEvent::SessionRemoved { .. } => EventKind::SessionRemoved,
        _ => return None,
    })
}

/// Returns the data of an event: the current state of its connection, user or session.
fn data(event: &HubEvent) -> Value {
    match event {
        HubEvent::Connected { connection } | HubEvent::Disconnected { connection } => {
            json!(connection.info())
        }
        HubEvent::UserOnline { user } | HubEvent::UserOffline { user } => json!({ "user": user }),
        HubEvent::SessionStarted { session }
        | HubEvent::SessionLeft { session }
        | HubEvent::SessionEnded { session }
        | HubEvent::SessionRemoved { session } => json!(session.info()),
        _ => Value::Null,
    }
}

impl fmt::Debug for WebhookEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookEvents").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}
