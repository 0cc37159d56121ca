//! The handler of a session: what an embedding program hears of it.

use std::sync::Arc;

use rejoin_protocol::Exit;

use crate::session::Session;

/// What an embedding program hears of one session (A5).
///
/// Called with no lock held. `output` and `exit` must not block: the session waits for them. A
/// handler that panics misses this call and gets the next.
pub trait SessionHandler: Send + Sync {
    /// The program said something. Called in order, each byte once, before `exit`.
    fn output(&self, _session: &Session, _bytes: &[u8]) {}
    /// The program has ended.
    fn exit(&self, _session: &Session, _exit: &Exit) {}
    /// The last connection has left (A6).
    fn last_left(&self, _session: &Session) {}
}

/// The session has a handler already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has a handler already; there is one, however many connections attach")]
pub struct HandlerTaken;

impl Session {
    /// Registers who hears of this session's events from here on; from its first byte on:
    /// [`EventHandler::session_handler`](crate::EventHandler::session_handler).
    ///
    /// # Errors
    /// [`HandlerTaken`] if there is one already.
    pub fn set_handler(&self, handler: Arc<dyn SessionHandler>) -> Result<(), HandlerTaken> {
        let mut current = self.shared.handler.lock();
        if current.is_some() {
            return Err(HandlerTaken);
        }
        *current = Some(handler);
        Ok(())
    }

    /// Whether a handler hears of this session's events.
    #[must_use]
    pub fn has_handler(&self) -> bool {
        self.shared.handler.lock().is_some()
    }

    /// Takes the handler away; a call that has begun goes on. Another one may be set.
    pub fn remove_handler(&self) -> Option<Arc<dyn SessionHandler>> {
        self.shared.handler.lock().take()
    }

    pub(crate) fn handler(&self) -> Option<Arc<dyn SessionHandler>> {
        self.shared.handler.lock().clone()
    }
}
