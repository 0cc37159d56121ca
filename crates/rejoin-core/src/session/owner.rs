//! The owner task: it alone has the screen, appends the output and takes snapshots.

mod generations;
mod snapshots;
mod waiting;

use std::{
    mem,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use parking_lot::Mutex;
use rejoin_protocol::{
    Exit, ProfileName, SessionId, SessionStatus, StreamNumber, Subject, TerminalSize, UserId,
    binary::{BinaryHeader, BinaryKind},
    message::SessionUpdate,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::{Instrument, info, info_span};

use generations::Generations;
use snapshots::AskOwner;
use waiting::Waiting;

use crate::{
    events::{HubEvent, guarded},
    hub::SessionTools,
    outside::{
        Control, LiveTerminal, ScreenFormat, ScreenPieces, Screens, Scrollback, TerminalEvent,
    },
    presence::Place,
    session::{
        Ended, InputQueue, Session, Shared, State, Viewers, picture::EXPORTS, worker::ScreenWorker,
    },
    shutdown::Shutdown,
    stream::{Lag, Retention, Snapshot, Stream, StreamConfig},
    time::now_ms,
    wire::{Encode, Kind},
};

/// Commands that may wait for the owner.
const COMMANDS: usize = 256;
/// Output that becomes one frame while readers are behind, in bytes.
const MAX_FRAME_BYTES: usize = 64 * 1024;

/// What the owner is told.
pub(super) enum Command {
    Snapshot {
        reply_tx: oneshot::Sender<Snapshot>,
    },
    Export {
        format: ScreenFormat,
        reply_tx: oneshot::Sender<ScreenPieces>,
    },
    /// The viewers want another size.
    Resize,
    Close {
        reply_tx: oneshot::Sender<()>,
    },
}

/// What a session begins with.
pub(crate) struct Birth {
    pub(crate) id: SessionId,
    pub(crate) owner: UserId,
    pub(crate) profile: ProfileName,
    pub(crate) name: Option<String>,
    pub(crate) size: TerminalSize,
    pub(crate) number: StreamNumber,
    pub(crate) retention: Retention,
    pub(crate) scrollback: Scrollback,
    pub(crate) tools: SessionTools,
}

/// A session's owner, about to run.
pub(crate) struct Owner {
    session: Session,
    commands: mpsc::Receiver<Command>,
    terminal: LiveTerminal,
    worker: ScreenWorker,
    /// What waits for the screen to come back, in this order.
    waiting: Waiting,
    encode: Encode,
    /// Where the next output begins.
    offset: u64,
    running: bool,
    /// Who waits for the program's end.
    closing: Vec<oneshot::Sender<()>>,
    /// Left at the end, for readers that are behind.
    last: Arc<OnceLock<Snapshot>>,
    generations: Generations,
    /// The screen's last work was a change of its size.
    has_resized: bool,
}

impl Session {
    /// Makes a session of a live terminal. Nothing is read of it until its owner is started.
    pub(crate) fn new(
        birth: Birth,
        terminal: LiveTerminal,
        screens: &dyn Screens,
    ) -> (Self, Owner) {
        let (commands_tx, commands) = mpsc::channel(COMMANDS);
        let last = Arc::default();
        let source = AskOwner::new(commands_tx.clone(), Arc::clone(&last));
        let stream = Stream::new(StreamConfig {
            number: birth.number,
            retention: birth.retention,
            lag: Lag::Snapshot(Arc::new(source)),
            encode: birth.tools.places.encode,
        });
        let state = State {
            viewers: Viewers::default(),
            input: InputQueue::new(terminal.controls.clone()),
            size: birth.size,
            title: String::new(),
            last_activity_at: now_ms(),
            ended: None,
        };
        let encode = birth.tools.places.encode;
        let screen = screens.screen(birth.size, birth.scrollback);
        let (threads, shutdown) = (birth.tools.threads.clone(), birth.tools.shutdown.clone());
        let worker = ScreenWorker::new(screen, threads, shutdown);
        let place = Place::new(Subject::Session(birth.id.clone()), Arc::clone(&birth.tools.places));
        let span = info_span!(parent: None, "session", id = %birth.id, profile = %birth.profile);
        let shared = Shared {
            place,
            tools: birth.tools,
            id: birth.id,
            owner: birth.owner,
            profile: birth.profile,
            name: birth.name,
            created_at: now_ms(),
            stream,
            commands: commands_tx,
            state: Mutex::new(state),
            handler: Mutex::default(),
            exports: Arc::new(Semaphore::new(EXPORTS)),
            span,
        };
        let session = Self { shared: Arc::new(shared) };
        let owner = Owner {
            session: session.clone(),
            commands,
            terminal,
            worker,
            waiting: Waiting::default(),
            encode,
            offset: 0,
            running: true,
            closing: Vec::new(),
            last,
            has_resized: false,
            generations: Generations::default(),
        };
        // Before anybody can attach, which is the next that is logged of it.
        session.shared.span.in_scope(|| {
            info!(status = ?SessionStatus::Idle, user = %session.owner(), "session started");
        });
        (session, owner)
    }
}

impl Owner {
    /// Starts the task.
    pub(crate) fn start(self, shutdown: &Shutdown) {
        let span = self.session.shared.span.clone();
        shutdown.spawn(self.run(shutdown.clone()).instrument(span));
    }

    async fn run(mut self, shutdown: Shutdown) {
        loop {
            let stale_at = self.generations.stale_at();
            let has_screen = !self.worker.is_away();
            // Each branch is cancel safe: channels, a notice, a timer, a task's end.
            tokio::select! {
                command = self.commands.recv(), if self.waiting.has_room() => match command {
                    Some(Command::Close { reply_tx }) => {
                        self.closing.push(reply_tx);
                        // Not by `controls`: the owner never waits for a queue whose reader may
                        // wait for the owner.
                        self.terminal.hangup.send_replace(true);
                    }
                    Some(command) => self.obey(command),
                    None => break,
                },
                done = self.worker.done(), if !has_screen => match done {
                    Some(snapshot) => self.snapshot_made(snapshot),
                    // Dropping the terminal hangs up. Viewers hear of the end.
                    None if shutdown.has_begun() => return,
                    None => return self.end(&Exit::default()),
                },
                event = next_event(&self.session.shared.stream, &mut self.terminal.events),
                    if self.running && has_screen => self.hear(event),
                Ok(()) = self.terminal.written.changed(), if self.running => self.settle(),
                () = sleep_until(stale_at.unwrap_or_else(Instant::now)), if stale_at.is_some() => {
                    self.generations.forget_unused();
                }
                // Dropping the terminal hangs up.
                () = shutdown.begun() => return,
            }
            self.go_on();
            if !self.running && !self.closing.is_empty() && !self.worker.is_away() {
                break;
            }
        }
        if !self.leave_last_snapshot().await {
            return;
        }
        // Who is told of the end finds the session closed.
        self.commands.close();
        for reply_tx in self.closing.drain(..) {
            let _ = reply_tx.send(());
        }
        info!("session closed");
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Snapshot { reply_tx } => self.waiting.snapshots.push(reply_tx),
            Command::Export { format, reply_tx } => self.waiting.exports.push((format, reply_tx)),
            Command::Resize | Command::Close { .. } => {}
        }
    }

    /// Does what waits for the screen, as long as it is here.
    fn go_on(&mut self) {
        if mem::take(&mut self.waiting.output) {
            self.waiting.output = !self.told_output();
        }
        // Whatever the command: a full queue may have refused the one that says "resize". Sizes
        // that change all the time do not keep the others waiting.
        if !mem::take(&mut self.has_resized) || self.waiting.is_empty() {
            self.resize();
        }
        if !self.worker.is_away()
            && let Some(exit) = self.waiting.exit.take()
        {
            self.end(&exit);
        }
        if !self.worker.is_away() && !self.waiting.snapshots.is_empty() {
            self.answer_snapshots();
        }
        if !self.worker.is_away() && !self.waiting.exports.is_empty() {
            let exports = mem::take(&mut self.waiting.exports);
            self.worker.start(Box::new(move |screen| {
                for (format, reply_tx) in exports {
                    let _ = reply_tx.send(screen.export(format));
                }
                None
            }));
        }
    }

    fn hear(&mut self, event: Option<TerminalEvent>) {
        let mut chunks = Vec::new();
        let mut exit = match event {
            Some(TerminalEvent::Output(bytes)) => {
                chunks.push(bytes);
                None
            }
            Some(TerminalEvent::Exit(exit)) => Some(exit),
            // The adapter went away without a word: the end is unknown.
            None => Some(Exit::default()),
        };
        // What came while readers were behind becomes one frame.
        let mut length: usize = chunks.iter().map(Bytes::len).sum();
        while exit.is_none() && length < MAX_FRAME_BYTES {
            match self.terminal.events.try_recv() {
                Ok(TerminalEvent::Output(bytes)) => {
                    length += bytes.len();
                    chunks.push(bytes);
                }
                Ok(TerminalEvent::Exit(ended)) => exit = Some(ended),
                Err(_) => break,
            }
        }
        self.waiting.exit = exit;
        if !chunks.is_empty() {
            self.output(chunks);
        }
    }

    fn output(&mut self, chunks: Vec<Bytes>) {
        let stream = &self.session.shared.stream;
        let head =
            BinaryHeader { kind: BinaryKind::Output, stream: stream.number(), offset: self.offset };
        let head = head.to_bytes();
        let parts: Vec<&[u8]> =
            std::iter::once(&head[..]).chain(chunks.iter().map(|chunk| &chunk[..])).collect();
        let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        // Readers first: the screen is for those who come later.
        stream.append(Kind::Binary, length, &parts);
        self.offset += length;
        if let Some(handler) = self.session.handler() {
            for chunk in &chunks {
                guarded(|| handler.output(&self.session, chunk));
            }
        }
        self.worker.feed(chunks);
        self.waiting.output = true;
    }

    /// Passes on what the screen made of the output; false while it is away.
    fn told_output(&mut self) -> bool {
        let Some(screen) = self.worker.screen() else { return false };
        let answers = screen.take_answers();
        let mut state = self.session.shared.state.lock();
        state.last_activity_at = now_ms();
        if !answers.is_empty() {
            state.input.answer(answers.into());
        }
        if state.title != screen.title() {
            screen.title().clone_into(&mut state.title);
            let mut update = SessionUpdate::new(self.session.id().clone());
            update.title = Some(state.title.clone());
            self.session.tell(update);
        }
        true
    }

    /// Gives the terminal and the screen the size that is wanted, if the screen is here.
    fn resize(&mut self) {
        if self.worker.is_away() {
            return;
        }
        let mut state = self.session.shared.state.lock();
        let wanted = state.viewers.wanted.take().filter(|size| *size != state.size);
        // The last screen stays as it is, also for a size that was asked for just before.
        let Some(size) = wanted.filter(|_| state.ended.is_none()) else { return };
        // Without room for the control, the size stays wanted until the next one who asks.
        if self.terminal.controls.try_send(Control::Resize(size)).is_err() {
            state.viewers.wanted = Some(size);
            return;
        }
        state.size = size;
        self.worker.resize(size);
        self.has_resized = true;
        self.generations.end_newest();
        let mut update = SessionUpdate::new(self.session.id().clone());
        update.cols = Some(size.cols());
        update.rows = Some(size.rows());
        self.session.tell(update);
    }

    fn settle(&mut self) {
        let number = *self.terminal.written.borrow_and_update();
        self.session.shared.state.lock().input.settle(number);
        // There may have been no room for the size before.
        self.resize();
    }

    fn end(&mut self, exit: &Exit) {
        self.settle();
        self.running = false;
        let asked_for = !self.closing.is_empty();
        let reason = match (&exit.signal, exit.code) {
            _ if asked_for => None,
            (Some(signal), _) => Some(format!("the program was ended by {signal}")),
            (None, Some(0)) => None,
            (None, Some(code)) => Some(format!("the program exited with code {code}")),
            (None, None) => Some("how the program ended is not known".to_owned()),
        };
        let status =
            if reason.is_some() { SessionStatus::Error } else { SessionStatus::Terminated };
        info!(?status, code = exit.code, signal = exit.signal, "program ended");
        let mut update = SessionUpdate::new(self.session.id().clone());
        update.status = Some(status);
        update.exit = Some(exit.clone());
        update.reason.clone_from(&reason);
        let events = &self.session.shared.tools.events;
        {
            let mut state = self.session.shared.state.lock();
            state.input.end();
            state.ended = Some(Ended { status, exit: exit.clone(), reason });
            self.session.tell(update);
            self.session.stream().finish();
            events.note(HubEvent::SessionEnded { session: self.session.clone() });
        }
        if let Some(handler) = self.session.handler() {
            guarded(|| handler.exit(&self.session, exit));
        }
        events.deliver();
    }
}

/// The next event, once the fan-out has room for it.
async fn next_event(
    stream: &Stream,
    events: &mut mpsc::Receiver<TerminalEvent>,
) -> Option<TerminalEvent> {
    stream.room().await;
    events.recv().await
}
