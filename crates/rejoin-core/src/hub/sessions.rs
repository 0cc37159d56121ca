//! The sessions of a hub by id.

use std::{collections::HashMap, sync::Arc};

use rejoin_protocol::{ErrorCode, SessionId, UserId, message::ErrorBody};

use crate::{
    events::{Events, HubEvent},
    hub::changes::SessionChanges,
    lock::{RwLock, level::HUB_MAP},
    metrics::Metrics,
    session::Session,
};

/// The ended sessions that a user keeps, the newest. Lost ones that can be revived do not count.
const MAX_ENDED_PER_USER: usize = 50;

/// The sessions of a hub.
#[derive(Debug)]
pub(super) struct Sessions {
    max_per_user: usize,
    events: Events,
    changes: Arc<SessionChanges>,
    metrics: Arc<Metrics>,
    slots: RwLock<HashMap<SessionId, Slot>, HUB_MAP>,
}

/// The holder of a session id.
#[derive(Debug)]
enum Slot {
    /// The program of this user's session is starting.
    Starting(UserId),
    Started(Session),
}

impl Slot {
    fn session(&self) -> Option<&Session> {
        match self {
            Self::Starting(_) => None,
            Self::Started(session) => Some(session),
        }
    }

    fn user(&self) -> &UserId {
        match self {
            Self::Starting(user) => user,
            Self::Started(session) => session.owner(),
        }
    }

    /// Returns `true` if the slot has a program or will have one.
    fn has_program(&self) -> bool {
        self.session().is_none_or(|session| session.ended_at().is_none())
    }
}

impl Sessions {
    pub(super) fn new(
        max_per_user: usize,
        events: Events,
        changes: Arc<SessionChanges>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { max_per_user, events, changes, metrics, slots: RwLock::default() }
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<Session> {
        self.slots.read().get(id).and_then(Slot::session).cloned()
    }

    /// Returns the sessions that match `filter`, oldest first.
    pub(super) fn list(&self, filter: impl Fn(&Session) -> bool) -> Vec<Session> {
        let slots = self.slots.read();
        let sessions = slots.values().filter_map(Slot::session).filter(|session| filter(session));
        let mut sessions: Vec<_> = sessions.cloned().collect();
        drop(slots);

        // Ids sort by the time of their creation.
        sessions.sort_by(|a, b| a.id().cmp(b.id()));
        sessions
    }

    /// Returns the ended sessions that users have above [`MAX_ENDED_PER_USER`], and the lost ones
    /// above the number of sessions that they may have, their oldest ones.
    pub(super) fn excess(&self) -> Vec<Session> {
        let mut ended: HashMap<_, Vec<_>> = HashMap::new();
        for session in self.slots.read().values().filter_map(Slot::session) {
            if let Some(at) = session.ended_at() {
                // A restart of the machine must not remove what its user wants to start again.
                let key = (session.owner().clone(), session.can_be_revived());
                ended.entry(key).or_default().push((at, session.clone()));
            }
        }

        let mut excess = Vec::new();
        for ((_, can_be_revived), mut sessions) in ended {
            let max = if can_be_revived { self.max_per_user } else { MAX_ENDED_PER_USER };
            let count = sessions.len().saturating_sub(max);
            sessions.sort_by_key(|(at, _)| *at);
            excess.extend(sessions.drain(..count).map(|(_, session)| session));
        }
        excess
    }

    /// Reserves an id before the program starts, so that no two sessions get the same id, and no
    /// user gets more sessions than allowed.
    ///
    /// # Errors
    /// `session_exists` or `too_many_sessions`.
    pub(super) fn reserve(
        &self,
        id: &SessionId,
        user: &UserId,
    ) -> Result<Reservation<'_>, ErrorBody> {
        let mut slots = self.slots.write();
        if slots.contains_key(id) {
            let sentence = format!("a session `{id}` already exists; choose another id");
            return Err(ErrorBody::new(ErrorCode::SessionExists, sentence));
        }

        let limit = self.max_per_user;
        // Starting sessions count as well: a program may take long to start. Ended ones do not:
        // `excess` bounds them.
        let counts = |slot: &&Slot| slot.user() == user && slot.has_program();
        if slots.values().filter(counts).count() >= limit {
            self.metrics.rate_limited("sessions");
            let sentence =
                format!("the user has {limit} sessions with a running program; close one first");
            return Err(ErrorBody::new(ErrorCode::TooManySessions, sentence));
        }

        slots.insert(id.clone(), Slot::Starting(user.clone()));
        Ok(Reservation { sessions: self, id: id.clone(), is_filled: false })
    }

    /// Reserves the id of a session that exists already, whatever the user's number of sessions.
    ///
    /// Returns `None` if the id is taken.
    pub(super) fn reserve_recovered(
        &self,
        id: &SessionId,
        user: &UserId,
    ) -> Option<Reservation<'_>> {
        let mut slots = self.slots.write();
        if slots.contains_key(id) {
            return None;
        }

        slots.insert(id.clone(), Slot::Starting(user.clone()));
        Some(Reservation { sessions: self, id: id.clone(), is_filled: false })
    }

    /// Removes a session. Returns `false` if it was removed before.
    pub(super) fn remove(&self, session: &Session) -> bool {
        let mut slots = self.slots.write();

        // Another session may have taken the id since.
        let is_same = |slot: &Slot| slot.session().is_some_and(|other| other.is_same(session));
        if !slots.get(session.id()).is_some_and(is_same) {
            return false;
        }

        slots.remove(session.id());

        // With the lock held: before the creation of the next session with this id.
        self.changes.record_removed(session);
        true
    }
}

/// A reserved session id; dropping it releases the id, unless a session was added.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    sessions: &'a Sessions,
    id: SessionId,
    is_filled: bool,
}

impl Reservation<'_> {
    /// Adds a session of an earlier process under the reserved id. It has no event.
    pub(super) fn fill_recovered(mut self, session: &Session) {
        self.is_filled = true;
        let mut slots = self.sessions.slots.write();
        slots.insert(self.id.clone(), Slot::Started(session.clone()));
    }

    /// Adds the session under the reserved id. Its first event is `SessionStarted`.
    pub(super) fn fill(mut self, session: &Session) {
        // From here on the drop must not release the id.
        self.is_filled = true;
        let mut slots = self.sessions.slots.write();
        slots.insert(self.id.clone(), Slot::Started(session.clone()));
        // With the lock held: before any event that another task causes.
        self.sessions.events.record(HubEvent::SessionStarted { session: session.clone() });
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.is_filled {
            self.sessions.slots.write().remove(&self.id);
        }
    }
}
