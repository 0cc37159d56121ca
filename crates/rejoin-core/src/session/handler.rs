//! The handler of a session's events in the embedding program.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use rejoin_protocol::Exit;
use tracing::error;

use crate::session::Session;

/// A handler of one session's events in the embedding program.
///
/// Called with no lock held. `output` and `exit` must not block: the session waits for them.
/// After a panic the handler gets the next call.
pub trait SessionHandler: Send + Sync {
    /// Handles output of the program. Called in order, once for each byte, before `exit`.
    fn output(&self, _session: &Session, _bytes: &[u8]) {}

    /// Handles the end of the program.
    fn exit(&self, _session: &Session, _exit: &Exit) {}

    /// Handles the departure of the last connection.
    fn last_left(&self, _session: &Session) {}
}

/// The session already has a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session already has a handler; remove it first")]
pub struct HandlerTaken;

impl Session {
    /// Sets the handler of the session's later events.
    ///
    /// [`EventHandler::session_handler`](crate::EventHandler::session_handler) sets a handler that
    /// gets all events, from the first byte on.
    ///
    /// # Errors
    /// [`HandlerTaken`] if the session already has a handler.
    pub fn set_handler(&self, handler: Arc<dyn SessionHandler>) -> Result<(), HandlerTaken> {
        let mut current = self.shared.handler.lock();
        if current.is_some() {
            return Err(HandlerTaken);
        }

        *current = Some(handler);
        Ok(())
    }

    /// Returns `true` if the session has a handler.
    #[must_use]
    pub fn has_handler(&self) -> bool {
        self.shared.handler.lock().is_some()
    }

    /// Removes and returns the handler. A call in progress continues.
    pub fn remove_handler(&self) -> Option<Arc<dyn SessionHandler>> {
        self.shared.handler.lock().take()
    }

    pub(crate) fn handler(&self) -> Option<Arc<dyn SessionHandler>> {
        self.shared.handler.lock().clone()
    }
}

/// Calls a handler of the embedding program. Returns `None` if it panicked.
///
/// Handlers are called while connections end, also during the unwinding of a panic: a second
/// panic would abort the process.
pub(crate) fn catch_panic<T>(call: impl FnOnce() -> T) -> Option<T> {
    // Unwind safe: handlers get handles only, whose state no panic leaves half changed.
    let result = catch_unwind(AssertUnwindSafe(call));
    if result.is_err() {
        error!("a handler of the embedding program panicked");
    }
    result.ok()
}
