//! Snapshots of a session's screen: one for all who ask at about the same time.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use rejoin_protocol::{
    binary::{BinaryHeader, BinaryKind},
    message::{ServerMessage, SessionUpdate, text},
};
use tokio::sync::{mpsc, oneshot};

use super::{Command, Owner};
use crate::{
    outside::{BoxFuture, ScreenSnapshot},
    stream::{Holders, Snapshot, SnapshotSource},
    wire::{Frame, Kind},
};

/// A snapshot in bytes, before it is compressed: the visible screen, and what fits of the history.
const MAX_SNAPSHOT_BYTES: usize = 1024 * 1024;

/// Asks the owner for a snapshot. Holds no session, so that a session can end.
pub(super) struct AskOwner {
    commands: mpsc::Sender<Command>,
    /// What the owner left when it ended.
    last: Arc<OnceLock<Snapshot>>,
}

impl AskOwner {
    pub(super) fn new(commands: mpsc::Sender<Command>, last: Arc<OnceLock<Snapshot>>) -> Self {
        Self { commands, last }
    }
}

impl fmt::Debug for AskOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskOwner").finish_non_exhaustive()
    }
}

impl SnapshotSource for AskOwner {
    fn snapshot(&self) -> BoxFuture<'static, Option<Snapshot>> {
        let (commands, last) = (self.commands.clone(), Arc::clone(&self.last));
        Box::pin(async move {
            let (reply_tx, reply) = oneshot::channel();
            if commands.send(Command::Snapshot { reply_tx }).await.is_ok()
                && let Ok(snapshot) = reply.await
            {
                return Some(snapshot);
            }
            last.get().cloned()
        })
    }
}

impl Owner {
    /// Answers those who wait for a snapshot, if there is a fresh one; else has one made.
    pub(super) fn answer_snapshots(&mut self) {
        let fresh = self.generations.fresh(self.offset, &self.session.shared.stream);
        if let Some(snapshot) = fresh {
            for reply_tx in self.waiting.snapshots.drain(..) {
                let _ = reply_tx.send(snapshot.clone());
            }
            return;
        }
        self.start_snapshot();
    }

    pub(super) fn snapshot_made(&mut self, snapshot: Option<Snapshot>) {
        if let Some(snapshot) = snapshot {
            // Before anything else: a change of size would have another one made.
            for reply_tx in self.waiting.snapshots.drain(..) {
                let _ = reply_tx.send(snapshot.clone());
            }
            self.generations.add(snapshot);
        }
    }

    /// Leaves the last screen to readers that are behind; false if the screen is lost.
    pub(super) async fn leave_last_snapshot(&mut self) -> bool {
        self.generations.end_newest();
        self.start_snapshot();
        let Some(Some(snapshot)) = self.worker.done().await else { return false };
        for reply_tx in self.waiting.snapshots.drain(..) {
            let _ = reply_tx.send(snapshot.clone());
        }
        let _ = self.last.set(snapshot);
        true
    }

    /// Has a snapshot made of the state after all that was appended.
    pub(super) fn start_snapshot(&mut self) {
        let stream = self.session.shared.stream.clone();
        let state = self.session.shared.state.lock();
        let mut update = SessionUpdate::new(self.session.id().clone());
        update.status = Some(state.status());
        update.cols = Some(state.size.cols());
        update.rows = Some(state.size.rows());
        update.title = Some(state.title.clone());
        update.size_owner = state.viewers.size_owner();
        update.exit = state.ended.as_ref().map(|ended| ended.exit.clone());
        // The lock keeps others from appending between the state and its place.
        let (seq, position) = stream.next();
        drop(state);
        let (encode, prepare) = (self.encode, self.session.shared.tools.prepare);
        self.worker.start(Box::new(move |screen| {
            let ScreenSnapshot { bytes, history_omitted } = screen.snapshot(MAX_SNAPSHOT_BYTES);
            let history_omitted = history_omitted as u64;
            update.history_omitted = Some(history_omitted).filter(|omitted| *omitted > 0);
            let update = text(None, &ServerMessage::Session(Box::new(update)));
            let number = stream.number();
            let head = BinaryHeader {
                kind: BinaryKind::Snapshot,
                stream: number,
                offset: position.offset,
            };
            let messages: Vec<Frame> = vec![
                encode(Kind::Text, &[update.as_bytes()]).into(),
                encode(Kind::Binary, &[&head.to_bytes(), &bytes]).into(),
            ];
            messages.iter().for_each(prepare);
            let holders = Holders::default();
            Some(Snapshot { messages, seq, position, history_omitted, holders })
        }));
    }
}
