//! The owner task: it alone has the screen, appends output and takes snapshots.

mod generations;
mod history;
mod output;
mod past;
mod pending;
mod snapshots;

use std::{
    mem,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use rejoin_protocol::{Exit, TerminalSize, message::SessionUpdate};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::{Instrument, info};

use generations::Generations;
pub use history::HistoryQuery;
pub(super) use history::HistoryRequest;
use past::Progress;
use pending::PendingWork;
pub(super) use snapshots::OwnerSource;

use crate::{
    backend::{Control, LiveTerminal, ScreenFormat, ScreenPieces, TerminalEvent},
    frame::Encode,
    session::{Session, handler::catch_panic, life::LifeEvent, worker::ScreenWorker},
    shutdown::Shutdown,
    stream::{Snapshot, Stream},
};

/// The maximum number of queued commands, and of commands that wait for the screen.
pub(super) const COMMANDS: usize = 256;
/// The maximum size of a frame. While readers are behind, output is joined up to it.
const MAX_FRAME_BYTES: usize = 64 * 1024;

/// A command for the owner.
pub(super) enum Command {
    Snapshot {
        reply_tx: oneshot::Sender<Snapshot>,
    },
    Export {
        format: ScreenFormat,
        reply_tx: oneshot::Sender<ScreenPieces>,
    },
    History(HistoryRequest),
    /// Wakes the owner: the viewers want another size.
    Resize,
    Close {
        reply_tx: oneshot::Sender<()>,
    },
}

/// The owner of a session's screen and terminal.
pub(crate) struct Owner {
    session: Session,
    commands: mpsc::Receiver<Command>,
    terminal: LiveTerminal,
    worker: ScreenWorker,
    pending: PendingWork,
    encode: Encode,
    /// The offset of the next output.
    offset: u64,
    is_running: bool,
    /// Clients know that the program has ended.
    is_end_announced: bool,
    /// The callers that wait for the program's end.
    closing: Vec<oneshot::Sender<()>>,
    /// The last snapshot, for readers that are behind when the owner ends.
    last: Arc<OnceLock<Snapshot>>,
    generations: Generations,
    /// The last work on the screen was a change of its size.
    has_resized: bool,
    /// The size that was requested from a terminal that reports sizes.
    requested_size: Option<TerminalSize>,
    progress: Progress,
}

impl Owner {
    pub(super) fn new(
        session: Session,
        commands: mpsc::Receiver<Command>,
        terminal: LiveTerminal,
        (worker, last): (ScreenWorker, Arc<OnceLock<Snapshot>>),
    ) -> Self {
        let encode = session.shared.context.presence.encode;
        Self {
            session,
            commands,
            terminal,
            worker,
            pending: PendingWork::default(),
            encode,
            offset: 0,
            is_running: true,
            is_end_announced: false,
            closing: Vec::new(),
            last,
            generations: Generations::default(),
            has_resized: false,
            requested_size: None,
            progress: Progress::default(),
        }
    }

    /// Starts the owner task.
    pub(crate) fn start(self, shutdown: &Shutdown) {
        let span = self.session.shared.span.clone();
        shutdown.spawn(self.run(shutdown.clone()).instrument(span));
    }

    async fn run(mut self, shutdown: Shutdown) {
        loop {
            let check_at = self.generations.check_at();
            let is_idle = !self.worker.is_busy();
            let is_checkpoint_due = is_idle && self.is_checkpoint_due();
            let checkpoints = self.session.shared.context.checkpoints.clone();
            // Each branch is cancel safe: channels, notifications, timers, the end of a task.
            tokio::select! {
                command = self.commands.recv(), if self.pending.has_room() => match command {
                    Some(command) => self.handle_command(command),
                    None => break,
                },
                finished = self.worker.finished(), if !is_idle => match finished {
                    Some(snapshot) => self.handle_snapshot(snapshot),
                    // Returning drops the terminal, which hangs up.
                    None if shutdown.has_begun() => return,
                    None => {
                        self.handle_end(&past::exited(Exit::default()));
                        if !self.is_end_announced {
                            tokio::select! {
                                () = self.session.shared.end_durable.notified() => {}
                                () = shutdown.begun() => return,
                            }
                            self.announce_end();
                        }
                        return;
                    }
                },
                event = next_event(self.session.stream(), &mut self.terminal.events),
                    if self.is_running && is_idle => self.handle_event(event),
                Ok(()) = self.terminal.written.changed(), if self.is_running => {
                    self.acknowledge_written();
                }
                () = self.session.shared.end_durable.notified(),
                    if !self.is_running && !self.is_end_announced => self.announce_end(),
                slot = checkpoints.slot(), if is_checkpoint_due => self.start_checkpoint(slot),
                () = sleep_until(check_at.unwrap_or_else(Instant::now)), if check_at.is_some() => {
                    self.generations.drop_unused();
                }
                // Returning drops the terminal, which hangs up or leaves it alone.
                () = shutdown.begun() => return self.keep_screen().await,
            }

            self.process_pending();
            if self.is_end_announced && !self.closing.is_empty() && !self.worker.is_busy() {
                break;
            }
        }

        if !self.keep_last_snapshot().await {
            return;
        }

        // First: a caller that waits for the end must find the session closed.
        self.commands.close();
        // Callers of `close` wait for this answer.
        for reply_tx in self.closing.drain(..) {
            let _ = reply_tx.send(());
        }

        info!("session closed");
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Snapshot { reply_tx } => self.pending.snapshots.push(reply_tx),
            Command::History(request) => self.pending.history.push_back(request),
            Command::Export { format, reply_tx } => self.pending.exports.push((format, reply_tx)),
            // The size is checked after every command.
            Command::Resize => {}
            Command::Close { reply_tx } => {
                self.closing.push(reply_tx);
                let mut state = self.session.shared.state.lock();
                self.session.transition(&mut state, &LifeEvent::Closed, None);
                drop(state);

                // Not through `controls`: the owner never waits for a queue whose receiver may
                // wait for the owner.
                self.terminal.hangup.send_replace(true);
            }
        }
    }

    /// Does the pending work while the screen is idle.
    fn process_pending(&mut self) {
        if mem::take(&mut self.pending.has_output) {
            self.pending.has_output = !self.publish_output();
        }

        // After any command: a full queue may have refused `Command::Resize`. Between two changes
        // of the size other work gets its turn.
        if !mem::take(&mut self.has_resized) || self.pending.is_empty() {
            self.resize();
        }

        // Before the exit, after which nothing is appended to the stream.
        if !self.worker.is_busy() && self.pending.redraw {
            self.start_snapshot();
        }

        if !self.worker.is_busy()
            && let Some(event) = self.pending.event.take()
        {
            self.handle_marker(event);
        }

        if !self.worker.is_busy() && !self.pending.snapshots.is_empty() {
            self.answer_snapshots();
        }

        if !self.worker.is_busy()
            && let Some(mut request) = self.pending.history.pop_front()
        {
            request.cols = self.session.shared.state.lock().size.cols();
            self.worker.start(Box::new(move |screen| {
                request.answer(screen);
                None
            }));
        }

        if !self.worker.is_busy() && !self.pending.exports.is_empty() {
            let exports = mem::take(&mut self.pending.exports);
            self.worker.start(Box::new(move |screen| {
                for (format, reply_tx) in exports {
                    let _ = reply_tx.send(screen.export(format));
                }
                None
            }));
        }
    }

    fn handle_event(&mut self, event: Option<TerminalEvent>) {
        let mut chunks = Vec::new();
        let mut next = match event {
            Some(TerminalEvent::Output(bytes)) => {
                chunks.push(bytes);
                None
            }
            Some(event) => Some(event),
            // The backend was dropped without an exit, which stays unknown.
            None => Some(TerminalEvent::Exit(Exit::default())),
        };

        // Output that arrived while readers were behind becomes one frame.
        // Replayed output is not joined: each frame of the earlier process must begin at a frame.
        let mut length: usize = chunks.iter().map(Bytes::len).sum();
        while next.is_none() && length < MAX_FRAME_BYTES && !self.progress.is_replaying() {
            match self.terminal.events.try_recv() {
                Ok(TerminalEvent::Output(bytes)) => {
                    length += bytes.len();
                    chunks.push(bytes);
                }
                Ok(event) => next = Some(event),
                Err(_) => break,
            }
        }

        self.pending.event = next;
        if !chunks.is_empty() {
            self.append_output(chunks);
        }
    }

    /// Applies the wanted size to the terminal and the screen, if the screen is idle.
    fn resize(&mut self) {
        // Until the terminal has reported the last size, only the newest wanted one is kept.
        if self.worker.is_busy() || self.requested_size.is_some() {
            return;
        }

        let mut state = self.session.shared.state.lock();
        let current = state.size;
        let wanted = state.viewers.wanted.take().filter(|size| *size != current);

        // The last screen keeps its size, even if another one was wanted just before.
        let Some(size) = wanted.filter(|_| !state.lifetime.is_ended()) else { return };
        if self.terminal.controls.try_send(Control::Resize(size)).is_err() {
            // The queue is full: `acknowledge_written` tries again.
            state.viewers.wanted = Some(size);
            return;
        }

        if self.terminal.reports_sizes {
            self.requested_size = Some(size);
            return;
        }

        drop(state);
        self.apply_size(size);
    }

    /// Changes the size of the screen, which is idle.
    fn apply_size(&mut self, size: TerminalSize) {
        self.worker.resize(size);
        self.has_resized = true;
        self.pending.redraw = true;
        self.generations.retire_newest();

        let mut state = self.session.shared.state.lock();
        state.size = size;
        let mut update = SessionUpdate::new(self.session.id().clone());
        update.cols = Some(size.cols());
        update.rows = Some(size.rows());
        self.session.publish(update);
    }

    fn acknowledge_written(&mut self) {
        let number = *self.terminal.written.borrow_and_update();
        self.session.shared.state.lock().input.acknowledge(number);
        // The queue of controls may have room again.
        self.resize();
    }

    /// Ends the session. That is announced once it is durable.
    fn handle_end(&mut self, end: &LifeEvent) {
        self.acknowledge_written();
        // No further event of the terminal is read.
        self.is_running = false;

        let mut state = self.session.shared.state.lock();
        state.input.end();
        let number = self.session.transition(&mut state, end, None);
        drop(state);

        if number.is_none() {
            // An earlier process has recorded it.
            self.announce_end();
        }
    }

    /// Announces the end, which is durable.
    fn announce_end(&mut self) {
        self.is_end_announced = true;
        let observer = &self.session.shared.context.observer;
        let mut update = SessionUpdate::new(self.session.id().clone());
        let (status, exit) = {
            let state = self.session.shared.state.lock();
            let (status, exit) =
                (state.lifetime.status(), state.lifetime.exit().unwrap_or_default());
            update.status = Some(status);
            update.exit = Some(exit.clone());
            update.reason = state.lifetime.reason();
            self.session.publish(update);
            self.session.stream().finish();
            if !self.progress.is_end_announced() {
                observer.record_ended(&self.session);
            }
            (status, exit)
        };

        info!(?status, code = exit.code, signal = exit.signal, "program ended");
        if let Some(handler) = self.session.handler() {
            catch_panic(|| handler.exit(&self.session, &exit));
        }

        observer.deliver();
        self.progress.is_final_due = true;
    }
}

/// Returns the next event once the fan-out has room for it. Cancel safe.
async fn next_event(
    stream: &Stream,
    events: &mut mpsc::Receiver<TerminalEvent>,
) -> Option<TerminalEvent> {
    stream.room().await;
    events.recv().await
}
