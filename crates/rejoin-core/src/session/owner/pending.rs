//! The work that waits until a session's screen is idle.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::COMMANDS;
use crate::{
    backend::{ScreenFormat, ScreenPieces, TerminalEvent},
    session::owner::HistoryRequest,
    stream::Snapshot,
};

/// The work that waits until the screen is idle.
#[derive(Default)]
pub(super) struct PendingWork {
    /// The screen has interpreted output whose results are not published.
    pub(super) has_output: bool,
    /// The size has changed, and the readers have not received the screen since.
    pub(super) redraw: bool,
    /// The event after the output, such as the exit.
    pub(super) event: Option<TerminalEvent>,
    pub(super) snapshots: Vec<oneshot::Sender<Snapshot>>,
    pub(super) exports: Vec<(ScreenFormat, oneshot::Sender<ScreenPieces>)>,
    pub(super) history: VecDeque<HistoryRequest>,
}

impl PendingWork {
    /// Returns `true` if no event and no request waits.
    pub(super) fn is_empty(&self) -> bool {
        self.event.is_none() && self.requests() == 0
    }

    /// Returns `true` if another command may be received.
    pub(super) fn has_room(&self) -> bool {
        self.requests() < COMMANDS
    }

    fn requests(&self) -> usize {
        self.snapshots.len() + self.exports.len() + self.history.len()
    }
}
