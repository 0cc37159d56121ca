//! The hub's events on their way to a webhook: a bounded queue that nobody waits for.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rejoin_core::{EventHandler, Hub, HubEvent, Metrics, now_ms};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::warn;

use crate::{
    outgoing::Tasks,
    webhook::{
        Webhook, WebhookError,
        delivery::{Delivery, Waiting},
        new_id,
    },
};

/// Events that may wait for a target, about 500 bytes each.
const MAX_WAITING: usize = 4096;

/// What happened, by its name in requests and in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A connection was opened.
    Connected,
    /// A connection has ended.
    Disconnected,
    /// A user's first connection was opened.
    UserCame,
    /// A user's last connection is gone.
    UserGone,
    /// A session was started.
    SessionStarted,
    /// The last connection has left a session.
    SessionLeft,
    /// A session's program has ended.
    SessionEnded,
    /// A session was removed.
    SessionRemoved,
}

impl EventKind {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Connected,
        Self::Disconnected,
        Self::UserCame,
        Self::UserGone,
        Self::SessionStarted,
        Self::SessionLeft,
        Self::SessionEnded,
        Self::SessionRemoved,
    ];
}

/// Sends events to a webhook: each at least once, in their order, unless the queue overflows.
pub struct WebhookEvents {
    kinds: BTreeSet<EventKind>,
    /// Bounded; never waited for.
    queue: mpsc::Sender<Waiting>,
    /// Connections that are there, as far as events say.
    open: watch::Sender<u64>,
    /// Events without room, since there was room.
    dropped: AtomicU64,
    metrics: Arc<Metrics>,
}

impl WebhookEvents {
    /// Starts the task that delivers; it belongs to the hub's shutdown, and then tries once
    /// what is queued.
    ///
    /// # Errors
    /// [`WebhookError::Roots`] if the machine trusts nobody.
    pub fn start(
        webhook: Webhook,
        kinds: impl IntoIterator<Item = EventKind>,
        hub: &Hub,
    ) -> Result<Self, WebhookError> {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let (open, open_rx) = watch::channel(0);
        let tasks = Tasks { shutdown: hub.shutdown().clone(), end: rejoin_core::Shutdown::new() };
        let metrics = Arc::clone(hub.metrics());
        let delivery = Delivery {
            outgoing: webhook.outgoing(tasks.clone(), 1)?,
            webhook,
            waiting,
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
        let waiting = Waiting { id, body: body.to_string().into(), since: Instant::now() };
        match self.queue.try_send(waiting) {
            Ok(()) => {
                let dropped = self.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    warn!(dropped, "the webhook's queue has room again");
                }
            }
            Err(error) => {
                self.metrics.webhook("dropped");
                let is_full = matches!(error, mpsc::error::TrySendError::Full(_));
                // Once until there is room: the queue overflows when much happens.
                if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 && is_full {
                    warn!(MAX_WAITING, "the webhook's queue is full: events are dropped");
                }
            }
        }
    }
}

impl EventHandler for WebhookEvents {
    fn handle(&self, event: &HubEvent) {
        let Some(kind) = kind(event) else { return };
        if self.kinds.contains(&kind) {
            self.enqueue(kind, &data(event));
        }
        // After it is queued: with the last one gone nothing is to come.
        match kind {
            EventKind::Connected => self.open.send_modify(|open| *open += 1),
            EventKind::Disconnected => {
                self.open.send_modify(|open| *open = open.saturating_sub(1));
            }
            _ => {}
        }
    }
}

/// The name of an event; nothing for one that has none yet.
fn kind(event: &HubEvent) -> Option<EventKind> {
    Some(match event {
        HubEvent::Connected { .. } => EventKind::Connected,
        HubEvent::Disconnected { .. } => EventKind::Disconnected,
        HubEvent::UserOnline { .. } => EventKind::UserCame,
        HubEvent::UserOffline { .. } => EventKind::UserGone,
        HubEvent::SessionStarted { .. } => EventKind::SessionStarted,
        HubEvent::SessionLeft { .. } => EventKind::SessionLeft,
        HubEvent::SessionEnded { .. } => EventKind::SessionEnded,
        HubEvent::SessionRemoved { .. } => EventKind::SessionRemoved,
        _ => return None,
    })
}

/// What a program is told of an event: the connection, the user or the session as it is then.
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
