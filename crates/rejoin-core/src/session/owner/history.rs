//! Requests for lines above the screen, which the owner answers between turns of work.

use rejoin_protocol::limits::MAX_HISTORY_BYTES;
use tokio::sync::oneshot;

use crate::backend::{Screen, ScreenLines};

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
pub(in crate::session) struct HistoryRequest {
    pub(in crate::session) query: HistoryQuery,
    pub(in crate::session) cols: u16,
    pub(in crate::session) reply_tx: oneshot::Sender<(ScreenLines, u16, bool)>,
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
