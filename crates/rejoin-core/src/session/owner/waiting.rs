//! What waits until a session's screen comes back from its work.

use rejoin_protocol::Exit;
use tokio::sync::oneshot;

use super::COMMANDS;
use crate::{
    backend::{ScreenFormat, ScreenPieces},
    stream::Snapshot,
};

/// What waits for the screen.
#[derive(Default)]
pub(super) struct Waiting {
    /// The screen has interpreted output whose results were not collected.
    pub(super) output: bool,
    pub(super) exit: Option<Exit>,
    pub(super) snapshots: Vec<oneshot::Sender<Snapshot>>,
    pub(super) exports: Vec<(ScreenFormat, oneshot::Sender<ScreenPieces>)>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.exit.is_none() && self.snapshots.is_empty() && self.exports.is_empty()
    }

    /// Whether commands may come that wait as well.
    pub(super) fn has_room(&self) -> bool {
        self.snapshots.len() + self.exports.len() < COMMANDS
    }
}
