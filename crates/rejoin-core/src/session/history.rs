//! The lines above a session's screen, a page at a time.

use rejoin_protocol::{
    ErrorCode,
    limits::MAX_HISTORY_BYTES,
    message::{ErrorBody, HistoryPage},
};
use tokio::sync::oneshot;

use crate::{
    backend::{Screen, ScreenLines},
    session::{Session, owner::Command},
};

/// The number of concurrent requests for pages of one session. Each holds one page.
pub(super) const MAX_HISTORY_REQUESTS: usize = 4;

/// The lines to return.
#[derive(Clone, Copy, Debug)]
pub struct HistoryQuery {
    /// The line before which the page ends; `None`: the page ends above the screen.
    pub before: Option<u64>,
    /// The generation of `before`; `None`: the current one, whatever it is.
    pub generation: Option<u32>,
    /// The most lines of the page.
    pub lines: u16,
}

/// A request that waits for the owner.
pub(super) struct HistoryRequest {
    pub(super) query: HistoryQuery,
    pub(super) cols: u16,
    pub(super) reply_tx: oneshot::Sender<(ScreenLines, u16, bool)>,
}

impl Session {
    /// Returns a page of the lines above the screen, drawn in at most 256 KiB.
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

impl HistoryRequest {
    /// Draws the page and answers the request.
    pub(super) fn answer(self, screen: &dyn Screen) {
        let Self { query, cols, reply_tx } = self;
        if reply_tx.is_closed() {
            return;
        }

        let before = query.before.unwrap_or(u64::MAX);
        let mut lines = screen.history(before, usize::from(query.lines), MAX_HISTORY_BYTES);
        let generation = lines.range.generation;
        let rewrapped = query.generation.is_some_and(|asked| asked != generation);
        if rewrapped {
            // The numbers of the request name other lines now.
            let range = lines.range;
            lines = ScreenLines { range, from: range.end, to: range.end, ..ScreenLines::default() };
        }

        let _ = reply_tx.send((lines, cols, rewrapped));
    }
}
