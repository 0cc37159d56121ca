//! Changes of sessions for the session lists of their owners.

use std::{collections::HashMap, time::Duration};

use rejoin_protocol::{EventName, SessionId, message::MessageBody};
use tokio::sync::Notify;

use crate::{
    hub::Hub,
    lock::{Mutex, level::LEAF},
    session::Session,
};

/// The minimum time between two events of one session: a list is read by people.
const INTERVAL: Duration = Duration::from_millis(100);

/// Sessions that changed since the last events. A session is listed once, with its latest state.
#[derive(Debug, Default)]
pub(super) struct SessionChanges {
    changed: Mutex<HashMap<SessionId, (Session, ListChange)>, LEAF>,
    /// Notified when a change is recorded.
    ready: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListChange {
    Created,
    Changed,
    Removed,
}

impl ListChange {
    /// Returns the name of the event.
    fn name(self) -> EventName {
        let name = match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Removed => "removed",
        };
        EventName::new(name).expect("a valid name")
    }
}

impl SessionChanges {
    pub(super) fn record_created(&self, session: &Session) {
        self.record(session, ListChange::Created);
    }

    pub(super) fn record_changed(&self, session: &Session) {
        self.record(session, ListChange::Changed);
    }

    pub(super) fn record_removed(&self, session: &Session) {
        self.record(session, ListChange::Removed);
    }

    fn record(&self, session: &Session, kind: ListChange) {
        let mut changed = self.changed.lock();

        // A closed session is removed once. The detaches after it change no list.
        if kind != ListChange::Removed && session.is_closed() {
            return;
        }

        // A change must not replace an unpublished "created".
        let mut replaced = None;
        if kind != ListChange::Changed || !changed.contains_key(session.id()) {
            replaced = changed.insert(session.id().clone(), (session.clone(), kind));
        }

        drop(changed);

        // Without the lock: the last handle to an earlier session takes other locks.
        drop(replaced);
        self.ready.notify_one();
    }

    fn take(&self) -> HashMap<SessionId, (Session, ListChange)> {
        std::mem::take(&mut *self.changed.lock())
    }
}

impl Hub {
    pub(super) async fn publish_changes_until_shutdown(&self) {
        loop {
            tokio::select! {
                () = self.shared.changes.ready.notified() => {}
                () = self.shared.shutdown.begun() => return,
            }

            // Taken out of the lock: publishing may wait for the fan-out.
            for (session, kind) in self.shared.changes.take().into_values() {
                self.publish_change(&session, kind).await;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn publish_change(&self, session: &Session, kind: ListChange) {
        // Most users have no open session list.
        let Some(list) = self.session_list(session.owner()) else { return };
        let info = serde_json::value::to_raw_value(&session.info());
        let data = info.expect("a session has string keys and finite numbers");
        list.publish(MessageBody { name: Some(&kind.name()), data: &data }).await;
    }
}
