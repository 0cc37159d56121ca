//! The work that waits until a session's screen is idle.

use tokio::sync::oneshot;

use super::COMMANDS;
use crate::{
    backend::{ScreenFormat, ScreenPieces, TerminalEvent},
    stream::Snapshot,
};

/// The work that waits until the screen is idle.
#[derive(Default)]
pub(super) struct PendingWork {
    /// The screen has interpreted output whose results are not published.
    pub(super) has_output: bool,
    /// The event after the output, such as the exit.
    pub(super) event: Option<TerminalEvent>,
    pub(super) snapshots: Vec<oneshot::Sender<Snapshot>>,
    pub(super) exports: Vec<(ScreenFormat, oneshot::Sender<ScreenPieces>)>,
}

impl PendingWork {
    /// Returns `true` if no event, snapshot or export waits.
    pub(super) fn is_empty(&self) -> bool {
        self.event.is_none() && self.snapshots.is_empty() && self.exports.is_empty()
    }

    /// Returns `true` if another command may be received.
    pub(super) fn has_room(&self) -> bool {
        self.snapshots.len() + self.exports.len() < COMMANDS
    }
}
