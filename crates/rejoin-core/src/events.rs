//! What an embedding program hears of the hub: each event once, in the order in which it happened.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use rejoin_protocol::UserId;
use tokio::sync::Notify;
use tracing::error;

use crate::{
    connection::Connection,
    session::{Session, SessionHandler},
    shutdown::Shutdown,
};

/// Events that may wait for a handler that is slow; what exceeds it is dropped, counted and
/// logged.
const MAX_WAITING: usize = 65_536;
/// Events for which room is kept while none waits.
const MAX_KEPT: usize = 64;

/// Something that happened (A5, A6, C5).
///
/// `UserOnline` and `UserOffline` of a user alternate. `SessionStarted` is a session's first event.
/// Nobody is told to be gone because the server stops.
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
    /// A user's last connection on the last device has been gone for the grace period.
    UserOffline {
        /// The user.
        user: UserId,
    },
    /// A session was started.
    SessionStarted {
        /// The session.
        session: Session,
    },
    /// The last connection has left a session; perhaps after it was removed.
    SessionLeft {
        /// The session.
        session: Session,
    },
    /// A session's program has ended; `session.info()` says how.
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

/// Whoever hears of events.
///
/// A handler that panics has missed this event, and gets the next.
pub trait EventHandler: Send + Sync {
    /// Something has happened.
    ///
    /// Called once for each event, by one task, in the order in which things happened, with no
    /// lock held. A slow handler delays the events after it, and nothing else.
    fn handle(&self, event: &HubEvent);

    /// Who hears of a new session's own events from its first byte on; by default nobody.
    ///
    /// Called before the session is told of and before its output is read. Must not block.
    fn session_handler(&self, _session: &Session) -> Option<Arc<dyn SessionHandler>> {
        None
    }
}

/// There is a handler already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is a handler of the hub's events already")]
pub struct EventHandlerTaken;

/// Events on their way to their handler.
#[derive(Clone)]
pub(crate) struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    handler: OnceLock<Arc<dyn EventHandler>>,
    /// Events without room.
    dropped: Counter,
    /// Notified when an event waits; only the task of [`Events::run`] waits.
    ready: Notify,
    /// Held for a push or a pop; taken below all other locks.
    state: Mutex<State>,
}

/// A call of a handler that waits for its turn.
enum Notice {
    Event(HubEvent),
    /// The last connection has left the session, which has a handler of its own.
    LastLeft(Session),
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Notice>,
    /// Handlers are being called, also for what is noted meanwhile.
    is_telling: bool,
    /// The task has ended: handlers are called in place.
    has_stopped: bool,
    /// Since the handler was called last.
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

    /// The handler that a new session gets.
    pub(crate) fn session_handler(&self, session: &Session) -> Option<Arc<dyn SessionHandler>> {
        let handler = self.shared.handler.get()?;
        guarded(|| handler.session_handler(session)).flatten()
    }

    /// Gives an event its place after all that was noted before. Called with the lock held under
    /// which it happened; [`deliver`](Self::deliver) follows without it.
    pub(crate) fn note(&self, event: HubEvent) {
        if self.shared.handler.get().is_some() {
            self.push(Notice::Event(event));
        }
    }

    /// Gives the call of [`SessionHandler::last_left`] its place among the events.
    pub(crate) fn note_last_left(&self, session: &Session) {
        if session.has_handler() {
            self.push(Notice::LastLeft(session.clone()));
        }
    }

    fn push(&self, notice: Notice) {
        let mut state = self.shared.state.lock();
        if state.waiting.len() >= MAX_WAITING {
            state.dropped += 1;
            self.shared.dropped.inc();
            return;
        }
        state.waiting.push_back(notice);
    }

    /// Has the task call the handlers for all that was noted. Called with no lock held.
    ///
    /// Never calls a handler itself while the task runs: the caller may be a thread that serves
    /// sockets.
    pub(crate) fn deliver(&self) {
        let state = self.shared.state.lock();
        if state.waiting.is_empty() {
            return;
        }
        if !state.has_stopped {
            self.shared.ready.notify_one();
            return;
        }
        drop(state);
        self.call_handlers();
    }

    /// Calls handlers until the shutdown begins.
    pub(crate) async fn run(&self, shutdown: &Shutdown) {
        loop {
            // Both branches are cancel safe: a permit that is kept, a token.
            tokio::select! {
                () = self.shared.ready.notified() => self.call_handlers(),
                () = shutdown.begun() => break,
            }
        }
        self.shared.state.lock().has_stopped = true;
        self.call_handlers();
    }

    fn call_handlers(&self) {
        let mut state = self.shared.state.lock();
        if std::mem::replace(&mut state.is_telling, true) {
            return;
        }
        while let Some(notice) = state.waiting.pop_front() {
            let dropped = std::mem::take(&mut state.dropped);
            drop(state);
            if dropped > 0 {
                error!(dropped, "the handler of events is too slow");
            }
            match &notice {
                Notice::Event(event) => {
                    let handler = self.shared.handler.get();
                    let handler = handler.expect("an event is noted for a handler");
                    guarded(|| handler.handle(event));
                }
                Notice::LastLeft(session) => {
                    if let Some(handler) = session.handler() {
                        guarded(|| handler.last_left(session));
                    }
                }
            }
            // It holds a handle to a session or a connection, whose end may take locks.
            drop(notice);
            state = self.shared.state.lock();
        }
        state.is_telling = false;
        // A storm's room is not kept.
        state.waiting.shrink_to(MAX_KEPT);
    }

    /// Tells the handler, after all that was told before. Called with no lock held.
    pub(crate) fn tell(&self, event: HubEvent) {
        self.note(event);
        self.deliver();
    }
}

/// Calls a handler of the embedding program, whose panic ends nothing of ours.
///
/// Handlers are called where connections end, also while their tasks panic.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    // What the handler leaves behind broken is its own; of ours it has handles only.
    let result = catch_unwind(AssertUnwindSafe(call));
    if result.is_err() {
        error!("a handler of events panicked");
    }
    result.ok()
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
