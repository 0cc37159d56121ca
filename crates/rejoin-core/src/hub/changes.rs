//! Changes of sessions, told to those of their owner's devices that look at a list.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use rejoin_protocol::{EventName, SessionId, message::MessageBody};
use tokio::sync::Notify;

use crate::{hub::Hub, session::Session};

/// How often one session's changes are told at most: a list is for people.
const INTERVAL: Duration = Duration::from_millis(100);

/// Sessions that changed since it was told. Each is here once: it is told as it is then.
#[derive(Debug, Default)]
pub(crate) struct SessionChanges {
    /// Held for a note or a take; taken below the hub's map and a session's lock.
    changed: Mutex<HashMap<SessionId, (Session, What)>>,
    noted: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Created,
    Changed,
    Removed,
}

impl SessionChanges {
    pub(super) fn created(&self, session: &Session) {
        self.note(session, What::Created);
    }

    /// Notes that what a list shows of a session is different.
    pub(crate) fn changed(&self, session: &Session) {
        self.note(session, What::Changed);
    }

    pub(super) fn removed(&self, session: &Session) {
        self.note(session, What::Removed);
    }

    fn note(&self, session: &Session, what: What) {
        let mut changed = self.changed.lock();
        // A session that is closed is removed once; whoever leaves it later changes no list.
        if what != What::Removed && session.is_closed() {
            return;
        }
        let noted = changed.get(session.id()).map(|(_, noted)| *noted);
        // Who has not heard of it yet hears first that it is there.
        if noted.is_none() || what != What::Changed {
            changed.insert(session.id().clone(), (session.clone(), what));
        }
        drop(changed);
        self.noted.notify_one();
    }
}

impl Hub {
    pub(super) async fn tell_changes_until_shutdown(&self) {
        loop {
            tokio::select! {
                () = self.shared.changes.noted.notified() => {}
                () = self.shared.shutdown.begun() => return,
            }
            let changed = std::mem::take(&mut *self.shared.changes.changed.lock());
            for (session, what) in changed.into_values() {
                self.tell_change(&session, what).await;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn tell_change(&self, session: &Session, what: What) {
        let name = match what {
            What::Created => "created",
            What::Changed => "changed",
            What::Removed => "removed",
        };
        // Most users look at no list.
        let Some(list) = self.list_of(session.owner()) else { return };
        let name = EventName::new(name).expect("a valid name");
        let info = serde_json::value::to_raw_value(&session.info());
        let data = info.expect("a session has string keys and finite numbers");
        list.publish(MessageBody { name: Some(&name), data: &data }).await;
    }
}
