//! What an embedding program hears of the hub: each event once, in the order in which it happened.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use rejoin_protocol::UserId;
use tracing::error;

use crate::{connection::Connection, session::Session};

/// Events that may wait for a handler that is slow; what exceeds it is dropped and logged.
const MAX_WAITING: usize = 65_536;

/// Something that happened (A5, A6, C5).
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
    UserCame {
        /// The user.
        user: UserId,
    },
    /// A user's last connection on the last device has been gone for the grace period.
    UserGone {
        /// The user.
        user: UserId,
    },
    /// A session was started.
    SessionStarted {
        /// The session.
        session: Session,
    },
    /// The last connection has left a session.
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

/// Whoever hears of events. Called by one task at a time, with no lock held; must not block.
pub trait EventHandler: Send + Sync {
    /// Something has happened.
    fn handle(&self, event: &HubEvent);
}

/// There is a handler already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is a handler of the hub's events already")]
pub struct EventHandlerTaken;

/// Events on their way to their handler.
#[derive(Clone, Default)]
pub(crate) struct Events {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    handler: OnceLock<Arc<dyn EventHandler>>,
    /// Held for a push or a pop.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<HubEvent>,
    /// Somebody calls the handler, and will call it for what is pushed meanwhile.
    is_telling: bool,
    dropped: u64,
}

impl Events {
    pub(crate) fn set_handler(
        &self,
        handler: Arc<dyn EventHandler>,
    ) -> Result<(), EventHandlerTaken> {
        self.shared.handler.set(handler).map_err(|_| EventHandlerTaken)
    }

    /// Tells the handler, after all that was told before.
    pub(crate) fn tell(&self, event: HubEvent) {
        let Some(handler) = self.shared.handler.get() else { return };
        let mut state = self.shared.state.lock();
        if state.waiting.len() >= MAX_WAITING {
            state.dropped += 1;
            return;
        }
        state.waiting.push_back(event);
        if std::mem::replace(&mut state.is_telling, true) {
            return;
        }
        while let Some(event) = state.waiting.pop_front() {
            let dropped = std::mem::take(&mut state.dropped);
            drop(state);
            if dropped > 0 {
                error!(dropped, "the handler of events is too slow");
            }
            handler.handle(&event);
            state = self.shared.state.lock();
        }
        state.is_telling = false;
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
