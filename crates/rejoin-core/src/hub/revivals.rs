//! Sessions that replace lost ones.

use rejoin_protocol::{ErrorCode, message::ErrorBody};
use tokio::time::timeout;

use crate::{
    access::Authority,
    gate::server_is_stopping,
    hub::{CreateTerminal, Hub, lifetimes::STORE_WAIT},
    session::Session,
};

impl Hub {
    /// Starts a terminal in place of a lost one, with its profile, name, directory and size.
    ///
    /// The lost session stays as it is, with its last screen. Each is replaced at most once, also
    /// by concurrent calls; a start that fails does not count.
    ///
    /// # Errors
    /// `session_not_lost` if the program was not lost, or if another session replaces it;
    /// `forbidden` unless the caller owns the session; as
    /// [`create_terminal`](Self::create_terminal).
    pub async fn revive_terminal(
        &self,
        authority: &dyn Authority,
        lost: &Session,
    ) -> Result<Session, ErrorBody> {
        let user = authority.identity().user.clone();
        if user != *lost.owner() {
            let sentence = format!("only its owner, `{}`, may revive a session", lost.owner());
            return Err(ErrorBody::new(ErrorCode::Forbidden, sentence));
        }

        if self.shared.shutdown.has_begun() {
            return Err(server_is_stopping());
        }

        // Dropped on any error, which permits the next attempt.
        let revival = lost.begin_revival()?;
        let (record, size) = revival.template();
        let create = CreateTerminal {
            id: None,
            profile: Some(record.profile),
            name: record.name,
            size: Some(size),
            cwd: record.cwd,
        };
        let session = self.start_terminal(authority, create, Some(record.id)).await?;

        // In the same poll as the start's end: a request that is cancelled leaves both or none.
        if let Some(number) = revival.record(session.id().clone(), Some(user)) {
            // The row of the new session has it already: a store that is away delays nothing else.
            let _ = timeout(STORE_WAIT, self.shared.lifetime.recorder.durable(number)).await;
        }
        Ok(session)
    }

    /// Completes revivals that a crash cut off when their new sessions were durable.
    pub(super) fn complete_revivals(&self) {
        for session in self.shared.sessions.list(|_| true) {
            let lost = session.revived_from().and_then(|id| self.shared.sessions.get(&id));
            if let Some(Ok(revival)) = lost.map(|lost| lost.begin_revival()) {
                revival.record(session.id().clone(), Some(session.owner().clone()));
            }
        }
    }
}
