//! The observer of sessions: turns their changes into events of the hub.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::{
    events::{Events, HubEvent},
    hub::changes::SessionChanges,
    session::{Session, SessionObserver},
};

/// Records the changes of sessions for the event handler and for session lists.
#[derive(Debug)]
pub(super) struct HubObserver {
    pub(super) events: Events,
    pub(super) changes: Arc<SessionChanges>,
    /// Wakes the task that removes sessions.
    pub(super) ended: Arc<Notify>,
}

impl SessionObserver for HubObserver {
    fn record_change(&self, session: &Session) {
        self.changes.record_changed(session);
    }

    fn record_left(&self, session: &Session) {
        self.events.record(HubEvent::SessionLeft { session: session.clone() });
        self.events.record_last_left(session);
    }

    fn record_ended(&self, session: &Session) {
        self.events.record(HubEvent::SessionEnded { session: session.clone() });
        self.ended.notify_one();
    }

    fn deliver(&self) {
        self.events.deliver();
    }
}
