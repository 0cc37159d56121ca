//! The lines above a session's screen, a page at a time.

use rejoin_protocol::{
    ErrorCode,
    message::{ErrorBody, HistoryPage},
};
use tokio::sync::oneshot;

use crate::{
    backend::ScreenLines,
    session::{
        Session,
        owner::{Command, HistoryQuery, HistoryRequest},
    },
};

/// The number of concurrent requests for pages of one session. Each holds one page.
pub(super) const MAX_HISTORY_REQUESTS: usize = 4;

impl Session {
    /// Returns a page of the lines above the screen, drawn in at most 64 KiB.
    ///
    /// A page has a line unless none precedes [`before`](HistoryQuery::before), or the lines have
    /// another [generation](HistoryQuery::generation).
    ///
    /// # Errors
    /// `session_ended` if the session was closed; `overloaded` during four other requests.
    pub async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, ErrorBody> {
        // Held until the page is drawn: it bounds the work and the memory of waiting pages.
        let permit = self.shared.history_requests.try_acquire();
        let _permit = permit.map_err(|_| ErrorCode::Overloaded)?;

        let (reply_tx, reply) = oneshot::channel();
        let ended = || ErrorBody::from(ErrorCode::SessionEnded);
        let request = HistoryRequest { query, cols: 0, reply_tx };
        self.shared.commands.send(Command::History(request)).await.map_err(|_| ended())?;
        let (lines, cols, rewrapped) = reply.await.map_err(|_| ended())?;

        let ScreenLines { range, from, to, continues, data } = lines;
        let session = self.id().clone();
        Ok(HistoryPage { session, range, from, to, cols, continues, rewrapped, data })
    }
}
