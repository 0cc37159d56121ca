//! The continuation of an earlier process, and the screens that are kept for the next one.

use rejoin_protocol::Exit;
use tokio::sync::{mpsc, oneshot};

use super::Owner;
use crate::{
    backend::{ScreenCheckpoint, ScreenFormat, TerminalEvent},
    session::{checkpoints::CheckpointSlot, life::LifeEvent, past::Past},
};

/// The output between two checkpoints, in bytes: the most that a start interprets again.
const CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;

/// The state of the replay and of the checkpoints.
#[derive(Debug)]
pub(super) struct Progress {
    /// `None` once the output of earlier processes is replayed.
    replayed: Option<oneshot::Sender<()>>,
    /// The screen has interpreted the output before this offset.
    screen_from: u64,
    /// An earlier process has announced the program's end.
    is_end_announced: bool,
    /// The offset from which the next checkpoint is due.
    checkpoint_at: u64,
    /// The program has ended, and its last screen is not kept.
    pub(super) is_final_due: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            replayed: None,
            screen_from: 0,
            is_end_announced: false,
            checkpoint_at: CHECKPOINT_BYTES,
            is_final_due: false,
        }
    }
}

impl Progress {
    pub(super) fn is_replaying(&self) -> bool {
        self.replayed.is_some()
    }

    /// Returns `true` if output that ends at `offset` is not in the kept screen.
    pub(super) fn is_new_to_screen(&self, offset: u64) -> bool {
        offset > self.screen_from
    }

    pub(super) fn is_end_announced(&self) -> bool {
        self.is_end_announced
    }
}

impl Owner {
    /// Continues with the state of an earlier process.
    pub(in crate::session) fn continue_past(&mut self, past: Past) {
        self.offset = past.offset;
        self.progress.replayed = Some(past.replayed);
        self.progress.checkpoint_at = past.offset + CHECKPOINT_BYTES;
        let Some(screen) = past.screen else { return };

        self.progress.screen_from = screen.offset;
        self.progress.checkpoint_at = screen.offset + CHECKPOINT_BYTES;
        self.progress.is_end_announced = screen.is_final;
        self.worker.restore(screen.pieces);
        self.pending.has_output = true;
    }

    /// Handles an event that is not output, while the screen is idle.
    pub(super) fn handle_marker(&mut self, event: TerminalEvent) {
        match event {
            TerminalEvent::Output(bytes) => self.append_output(vec![bytes]),
            TerminalEvent::Resized(size) => {
                if self.requested_size == Some(size) {
                    self.requested_size = None;
                }
                // The kept screen has the sizes before its offset already.
                let is_new = self.offset >= self.progress.screen_from;
                if is_new && self.session.shared.state.lock().size != size {
                    self.apply_size(size);
                }
            }
            TerminalEvent::Gap { offset } => {
                self.session.stream().skip_to(offset);
                self.offset = offset;
                self.generations.retire_newest();
            }
            TerminalEvent::Replayed => {
                if let Some(replayed_tx) = self.progress.replayed.take() {
                    let _ = replayed_tx.send(());
                }
            }
            TerminalEvent::Exit(exit) => self.handle_end(&exited(exit)),
            TerminalEvent::OutOfMemory(exit) => {
                let reason = "the program was killed because it exceeded its limit of memory";
                self.handle_end(&LifeEvent::Exited { exit, reason: Some(reason.to_owned()) });
            }
            TerminalEvent::Lost { reason } => self.handle_end(&LifeEvent::Lost { reason }),
        }
    }

    /// Returns `true` if a checkpoint is due and the last one is written.
    pub(super) fn is_checkpoint_due(&self) -> bool {
        let is_due = self.offset >= self.progress.checkpoint_at || self.progress.is_final_due;
        let has_room = |checkpoints: &mpsc::Sender<_>| checkpoints.capacity() > 0;
        is_due
            && !self.has_unwritten_answers()
            && self.terminal.checkpoints.as_ref().is_some_and(has_room)
    }

    /// Starts a checkpoint of the screen, which is idle.
    pub(super) fn start_checkpoint(&mut self, slot: CheckpointSlot) {
        let Some(checkpoints) = &self.terminal.checkpoints else { return };
        let Ok(permit) = checkpoints.clone().try_reserve_owned() else { return };
        self.progress.checkpoint_at = self.offset + CHECKPOINT_BYTES;
        self.progress.is_final_due = false;

        let (offset, is_final) = (self.offset, self.is_end_announced);
        let size = self.session.shared.state.lock().size;
        self.worker.start(Box::new(move |screen| {
            let pieces = slot.hold(screen.export(ScreenFormat::Ansi));
            permit.send(ScreenCheckpoint { offset, size, is_final, pieces });
            None
        }));
    }

    /// Returns `true` if an answer waits for the program.
    ///
    /// The screen is not kept then: the next process must interpret the query again to answer it.
    fn has_unwritten_answers(&self) -> bool {
        self.session.shared.state.lock().input.has_unwritten_answers()
    }

    /// Keeps the screen for the next process, which then replays nothing. Without it, that process
    /// replays the output after the last checkpoint.
    pub(super) async fn keep_screen(&mut self) {
        let Some(checkpoints) = self.terminal.checkpoints.take() else { return };
        if self.progress.is_replaying() || self.has_unwritten_answers() {
            return;
        }
        let slot = self.session.shared.context.checkpoints.slot().await;
        let Some(screen) = self.worker.screen() else { return };

        let pieces = slot.hold(screen.export(ScreenFormat::Ansi));
        let (offset, is_final) = (self.offset, self.is_end_announced);
        let size = self.session.shared.state.lock().size;
        // An error means that the backend has ended.
        let _ = checkpoints.send(ScreenCheckpoint { offset, size, is_final, pieces }).await;
    }
}

/// Returns the end of a program with this exit.
pub(super) fn exited(exit: Exit) -> LifeEvent {
    let reason = exit_reason(&exit);
    LifeEvent::Exited { exit, reason }
}

/// Returns the reason of an unexpected exit, as a sentence for users.
fn exit_reason(exit: &Exit) -> Option<String> {
    match (&exit.signal, exit.code) {
        (Some(signal), _) => Some(format!("the program was ended by {signal}")),
        (None, Some(0)) => None,
        (None, Some(code)) => Some(format!("the program exited with code {code}")),
        (None, None) => Some("the program ended, but its exit status is unknown".to_owned()),
    }
}
