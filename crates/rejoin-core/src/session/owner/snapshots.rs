//! Snapshots of a session's screen: one for all concurrent requests.

use std::{
    fmt, mem,
    sync::{Arc, OnceLock},
};

use futures_util::future::BoxFuture;
use rejoin_protocol::{
    binary::{BinaryHeader, BinaryKind},
    message::{ServerMessage, SessionUpdate, text},
};
use tokio::sync::{mpsc, oneshot};

use super::{Command, Owner};
use crate::{
    backend::ScreenSnapshot,
    frame::{Frame, PayloadKind},
    stream::{Holders, Snapshot, SnapshotSource},
};

/// The maximum size of a snapshot before compression: the visible screen, in full for all but
/// huge and colourful ones.
const MAX_SNAPSHOT_BYTES: usize = 1024 * 1024;

/// Requests snapshots from the owner. Holds no session, so that a session can end.
pub(in crate::session) struct OwnerSource {
    commands: mpsc::Sender<Command>,
    /// The last snapshot, set when the owner ends.
    last: Arc<OnceLock<Snapshot>>,
}

impl OwnerSource {
    pub(in crate::session) fn new(
        commands: mpsc::Sender<Command>,
        last: Arc<OnceLock<Snapshot>>,
    ) -> Self {
        Self { commands, last }
    }
}

impl fmt::Debug for OwnerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerSource").finish_non_exhaustive()
    }
}

impl SnapshotSource for OwnerSource {
    fn snapshot(&self) -> BoxFuture<'static, Option<Snapshot>> {
        let (commands, last) = (self.commands.clone(), Arc::clone(&self.last));
        Box::pin(async move {
            let (reply_tx, reply) = oneshot::channel();
            if commands.send(Command::Snapshot { reply_tx }).await.is_ok()
                && let Ok(snapshot) = reply.await
            {
                return Some(snapshot);
            }

            // The owner has ended, and left the last screen.
            last.get().cloned()
        })
    }
}

impl Owner {
    /// Answers the pending requests with a fresh snapshot, or starts a new one.
    pub(super) fn answer_snapshots(&mut self) {
        let fresh = self.generations.fresh(self.offset, self.session.stream());
        let Some(snapshot) = fresh else { return self.start_snapshot() };

        for reply_tx in self.pending.snapshots.drain(..) {
            let _ = reply_tx.send(snapshot.clone());
        }
    }

    /// Answers the pending requests with a finished snapshot.
    pub(super) fn handle_snapshot(&mut self, snapshot: Option<Snapshot>) {
        let Some(mut snapshot) = snapshot else { return };
        if mem::take(&mut self.pending.redraw) {
            self.append_snapshot(&mut snapshot);
        }

        // Before anything else: after a change of size the snapshot would be made again.
        for reply_tx in self.pending.snapshots.drain(..) {
            let _ = reply_tx.send(snapshot.clone());
        }
        self.generations.add(snapshot);
    }

    /// Appends a snapshot to the stream: readers show the screen as the server rewraps it.
    ///
    /// Viewers have other lines above their screens than the server, so each would rewrap
    /// differently. No output lies between the change of size and the snapshot.
    fn append_snapshot(&self, snapshot: &mut Snapshot) {
        // Under the lock: no update is appended between the checks and the snapshot.
        let state = self.session.shared.state.lock();
        if state.lifetime.is_ended() {
            return;
        }

        let stream = self.session.stream();
        let (seq, _) = stream.next();
        for message in &snapshot.messages {
            // New frames: the stream must not count as a holder of the snapshot.
            stream.append(message.kind(), 0, &[&message.payload()]);
        }

        if seq == snapshot.seq {
            // A new reader of the snapshot does not get it twice.
            (snapshot.seq, _) = stream.next();
        }
    }

    /// Keeps the last screen for readers that are behind. Returns `false` if the screen is lost.
    pub(super) async fn keep_last_snapshot(&mut self) -> bool {
        self.generations.retire_newest();
        self.start_snapshot();
        let Some(Some(snapshot)) = self.worker.finished().await else { return false };

        for reply_tx in self.pending.snapshots.drain(..) {
            let _ = reply_tx.send(snapshot.clone());
        }

        let _ = self.last.set(snapshot);
        true
    }

    /// Starts a snapshot of the state after all frames of the stream.
    pub(super) fn start_snapshot(&mut self) {
        let stream = self.session.stream().clone();

        let state = self.session.shared.state.lock();
        let mut update = SessionUpdate::new(self.session.id().clone());
        update.status = Some(state.lifetime.status());
        update.cols = Some(state.size.cols());
        update.rows = Some(state.size.rows());
        update.title = Some(state.title.clone());
        update.size_owner = state.viewers.size_owner();
        update.exit = state.lifetime.exit();

        // Under the lock: no update is appended between the state and its position.
        let (seq, position) = stream.next();
        drop(state);

        let (encode, prepare) = (self.encode, self.session.shared.context.prepare);
        self.worker.start(Box::new(move |screen| {
            let ScreenSnapshot { bytes, history } = screen.snapshot(MAX_SNAPSHOT_BYTES);
            let history_omitted = history.lines();
            update.history = Some(history);
            update.history_omitted = Some(history_omitted).filter(|omitted| *omitted > 0);

            let update = text(None, &ServerMessage::Session(Box::new(update)));
            let number = stream.number();
            let head = BinaryHeader {
                kind: BinaryKind::Snapshot,
                stream: number,
                offset: position.offset,
            };
            let messages = vec![
                Frame::new(encode, PayloadKind::Text, &[update.as_bytes()]),
                Frame::new(encode, PayloadKind::Binary, &[&head.to_bytes(), &bytes]),
            ];
            messages.iter().for_each(prepare);

            let holders = Holders::default();
            Some(Snapshot { messages, seq, position, history_omitted, holders })
        }));
    }
}
