//! Revival: another session replaces one whose program was lost.

use rejoin_protocol::{ErrorCode, SessionId, TerminalSize, UserId, message::ErrorBody};
use tracing::info;

use super::{Lifetime, Outcome, Shown};
use crate::{
    backend::{EventKind, SessionRecord},
    session::Session,
    time::now_ms,
};

/// The right to revive a session, which one request at a time has. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Revival {
    lost: Session,
}

impl Lifetime {
    /// Returns `true` if the program was lost with its machine or its keeper.
    pub(in crate::session) fn is_lost(&self) -> bool {
        self.shown.outcome.as_ref().is_some_and(Outcome::is_lost)
    }

    /// Returns the lost session that this one replaces.
    pub(in crate::session) fn revived_from(&self) -> Option<SessionId> {
        self.row.record.revived_from.clone()
    }

    /// Returns the session that replaces this one.
    pub(in crate::session) fn revived_as(&self) -> Option<SessionId> {
        self.shown.revived_as.clone()
    }

    /// Returns the reason why the session cannot be revived; `None` if it can.
    fn refusal(&self, id: &SessionId) -> Option<String> {
        // As clients see it: the end that they do not know yet may be a loss.
        if self.shown.outcome.is_none() {
            return Some(format!("the program of `{id}` runs; attach to the session instead"));
        }
        if !self.is_lost() {
            let sentence = "was not lost, it ended by itself; start a new session instead";
            return Some(format!("the program of `{id}` {sentence}"));
        }
        if let Some(new) = &self.row.revived_as {
            return Some(format!("the session `{new}` has replaced `{id}` already"));
        }
        let is_reviving = self.is_reviving;
        is_reviving.then(|| format!("another request is starting a session in place of `{id}`"))
    }
}

impl Session {
    /// Takes the right to revive the session.
    ///
    /// # Errors
    /// `session_not_lost`, with the reason; `unknown_session` if the session was removed.
    pub(crate) fn begin_revival(&self) -> Result<Revival, ErrorBody> {
        let mut state = self.shared.state.lock();
        let lifetime = &mut state.lifetime;
        if lifetime.row.removed_at.is_some() {
            return Err(ErrorCode::UnknownSession.into());
        }
        if let Some(sentence) = lifetime.refusal(&self.shared.id) {
            return Err(ErrorBody::new(ErrorCode::SessionNotLost, sentence));
        }

        lifetime.is_reviving = true;
        Ok(Revival { lost: self.clone() })
    }

    /// Returns `true` if the program was lost and no session replaces this one.
    pub(crate) fn can_be_revived(&self) -> bool {
        let state = self.shared.state.lock();
        state.lifetime.is_lost() && state.lifetime.revived_as().is_none()
    }

    /// Returns the lost session that this one replaces.
    pub(crate) fn revived_from(&self) -> Option<SessionId> {
        self.shared.state.lock().lifetime.revived_from()
    }
}

impl Revival {
    /// Returns the record of the lost session and its last size.
    pub(crate) fn template(&self) -> (SessionRecord, TerminalSize) {
        let state = self.lost.shared.state.lock();
        (state.lifetime.row.record.clone(), state.size)
    }

    /// Records that the session `new`, which is durable, replaces the lost one. Returns the number
    /// of the record; `None` if the lost session was removed meanwhile.
    pub(crate) fn record(self, new: SessionId, user: Option<UserId>) -> Option<u64> {
        let shared = &self.lost.shared;
        let mut state = shared.state.lock();
        let lifetime = &mut state.lifetime;
        if lifetime.row.removed_at.is_some() {
            return None;
        }

        let now = now_ms();
        lifetime.row.revived_as = Some(new.clone());
        let event = lifetime.row.event(EventKind::Revived, user, now);
        let revived_as = Some(new);
        let shown = Shown { updated_at: now, revived_as, ..lifetime.shown.clone() };
        let session = self.lost.clone();
        let confirm = Box::new(move || session.show_revival(shown));
        let recorder = &shared.context.lifetime.recorder;
        Some(recorder.record(lifetime.row.clone(), event, Some(confirm)))
    }
}

impl Drop for Revival {
    fn drop(&mut self) {
        self.lost.shared.state.lock().lifetime.is_reviving = false;
    }
}

impl Session {
    /// Shows clients that another session replaces this one: it is durable.
    fn show_revival(&self, shown: Shown) {
        let new = shown.revived_as.clone();
        self.shared.state.lock().lifetime.shown = shown;
        let new = new.as_ref().map(SessionId::as_str);
        self.shared.span.in_scope(|| info!(revived_as = new, "session revived"));
        self.shared.context.observer.record_change(self);
    }
}
