//! The events of a hub: queued in order, and delivered to the handlers by one task.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, OnceLock},
};

use prometheus_client::metrics::counter::Counter;
use rejoin_protocol::UserId;
use tokio::sync::Notify;
use tracing::error;

use crate::{
    connection::Connection,
    lock::{Mutex, level::LEAF},
    presence::{ChangeKind, UserObserver},
    session::{Session, SessionHandler, catch_panic},
    shutdown::Shutdown,
};

/// The maximum number of queued events. Above it events are dropped, counted and logged.
const MAX_QUEUED: usize = 65_536;
/// The number of events for which the empty queue keeps memory.
const MIN_CAPACITY: usize = 64;

/// An event of a hub.
///
/// The events `UserOnline` and `UserOffline` of a user alternate. `SessionStarted` is a session's
/// first event. A stop of the server produces no events for users and connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HubEvent {
    /// A connection was opened.
    Connected {
        /// The connection.
        connection: Connection,
    },
    /// A connection has ended.
    Disconnected {
        /// The connection.
        connection: Connection,
    },
    /// A user's first connection was opened.
    UserOnline {
        /// The user.
        user: UserId,
    },
    /// The grace period after a user's last connection is over.
    UserOffline {
        /// The user.
        user: UserId,
    },
    /// A session was started.
    SessionStarted {
        /// The session.
        session: Session,
    },
    /// The last connection has left a session. May follow `SessionRemoved`.
    SessionLeft {
        /// The session.
        session: Session,
    },
    /// A session's program has ended. [`Session::info`] has its exit.
    SessionEnded {
        /// The session.
        session: Session,
    },
    /// A session was removed.
    SessionRemoved {
        /// The session.
        session: Session,
    },
}

/// A handler of the hub's events.
///
/// After a panic the handler gets the next event.
pub trait EventHandler: Send + Sync {
    /// Handles an event.
    ///
    /// Called once for each event, by one task, in the order of the events, with no lock held. A
    /// slow handler delays later events and nothing else.
    fn handle(&self, event: &HubEvent);

    /// Returns a handler for a new session's own events, from its first byte on.
    ///
    /// Called before `SessionStarted` and before the session's output is read. Must not block.
    fn session_handler(&self, _session: &Session) -> Option<Arc<dyn SessionHandler>> {
        None
    }
}

/// The hub already has an event handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub already has an event handler; a hub has one for its whole life")]
pub struct EventHandlerTaken;

/// A handle to the queue of events.
#[derive(Clone)]
pub(crate) struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    handler: OnceLock<Arc<dyn EventHandler>>,
    /// Events that exceeded the bound of the queue.
    dropped: Counter,
    /// Notified when an event is queued. Only the task of [`Events::run`] waits.
    ready: Notify,
    state: Mutex<State, LEAF>,
}

/// A queued call of a handler.
enum Call {
    Event(HubEvent),
    /// The last connection has left the session, which has a handler of its own.
    LastLeft(Session),
}

#[derive(Default)]
struct State {
    queue: VecDeque<Call>,
    /// A thread is calling handlers. It also makes the calls that are queued meanwhile.
    is_calling: bool,
    /// The task has ended: [`Events::deliver`] calls the handlers itself.
    has_stopped: bool,
    /// Events dropped since the last call.
    dropped: u64,
}

impl Events {
    pub(crate) fn new(dropped: Counter) -> Self {
        let (handler, ready) = (OnceLock::new(), Notify::new());
        Self { shared: Arc::new(Shared { handler, dropped, ready, state: Mutex::default() }) }
    }

    pub(crate) fn set_handler(
        &self,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), EventHandlerTaken> {
        self.shared.handler.set(handler).map_err(|_| EventHandlerTaken)
    }

    /// Returns the handler for a new session, if the event handler provides one.
    pub(crate) fn session_handler(&self, session: &Session) -> Option<Arc<dyn SessionHandler>> {
        let handler = self.shared.handler.get()?;
        catch_panic(|| handler.session_handler(session)).flatten()
    }

    /// Queues an event.
    ///
    /// Called with the lock of the changed object held, so that events have the order of the
    /// changes. The caller calls [`deliver`](Self::deliver) after it released the lock.
    pub(crate) fn record(&self, event: HubEvent) {
        if self.shared.handler.get().is_some() {
            self.push(Call::Event(event));
        }
    }

    /// Queues a call of [`SessionHandler::last_left`], in order with the events.
    pub(crate) fn record_last_left(&self, session: &Session) {
        if session.has_handler() {
            self.push(Call::LastLeft(session.clone()));
        }
    }

    fn push(&self, call: Call) {
        let mut state = self.shared.state.lock();

        // Never waits: the caller holds locks, and may be an I/O thread.
        if state.queue.len() >= MAX_QUEUED {
            state.dropped += 1;
            self.shared.dropped.inc();
            return;
        }

        state.queue.push_back(call);
    }

    /// Notifies the task that calls the handlers. Called with no lock held.
    ///
    /// Calls no handler itself while the task runs: the caller may be an I/O thread.
    pub(crate) fn deliver(&self) {
        let state = self.shared.state.lock();
        if state.queue.is_empty() {
            return;
        }

        if !state.has_stopped {
            self.shared.ready.notify_one();
            return;
        }

        drop(state);
        self.call_handlers();
    }

    /// Queues and delivers an event. Called with no lock held.
    pub(crate) fn notify(&self, event: HubEvent) {
        self.record(event);
        self.deliver();
    }

    /// Calls the handlers until the shutdown begins.
    pub(crate) async fn run(&self, shutdown: &Shutdown) {
        loop {
            // Cancel safe: a stored permit, and a token.
            tokio::select! {
                () = self.shared.ready.notified() => self.call_handlers(),
                () = shutdown.begun() => break,
            }
        }

        // From here on, callers of `deliver` call the handlers, because this task no longer does.
        self.shared.state.lock().has_stopped = true;
        self.call_handlers();
    }

    fn call_handlers(&self) {
        let mut state = self.shared.state.lock();
        // One caller at a time, so that handlers see the events in order.
        if std::mem::replace(&mut state.is_calling, true) {
            return;
        }

        while let Some(call) = state.queue.pop_front() {
            let dropped = std::mem::take(&mut state.dropped);
            drop(state);

            if dropped > 0 {
                error!(dropped, "events were dropped: the event handler is too slow");
            }
            match &call {
                Call::Event(event) => {
                    let handler = self.shared.handler.get();
                    let handler = handler.expect("events are queued for a handler only");
                    catch_panic(|| handler.handle(event));
                }
                Call::LastLeft(session) => {
                    if let Some(handler) = session.handler() {
                        catch_panic(|| handler.last_left(session));
                    }
                }
            }

            // Without the lock: the last handle to a session or a connection takes other locks.
            drop(call);
            state = self.shared.state.lock();
        }

        state.is_calling = false;
        // The memory of a burst is released.
        state.queue.shrink_to(MIN_CAPACITY);
    }
}

impl UserObserver for Events {
    fn record_user(&self, user: &UserId, kind: ChangeKind) {
        let user = user.clone();
        self.record(match kind {
            ChangeKind::Joined => HubEvent::UserOnline { user },
            ChangeKind::Left => HubEvent::UserOffline { user },
        });
    }

    fn deliver(&self) {
        self.deliver();
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
