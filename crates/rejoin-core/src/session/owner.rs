//! The owner task: it alone has the screen, appends the output and takes snapshots.

use std::{sync::Arc, sync::OnceLock, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use rejoin_protocol::{
    Exit, ProfileName, SessionId, SessionStatus, StreamNumber, Subject, TerminalSize, UserId,
    binary::{BinaryKind, Head},
    message::{ServerMessage, SessionUpdate, text},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::{Instrument, info, info_span};

use crate::{
    events::{HubEvent, guarded},
    hub::SessionTools,
    outside::{BoxFuture, Control, LiveTerminal, Screen, Screens, TerminalEvent},
    presence::Place,
    session::{Ended, InputQueue, ScreenFormat, Session, Shared, State, Viewers},
    shutdown::Shutdown,
    stream::{Lag, Retention, Snapshot, SnapshotSource, Stream, StreamConfig},
    time::now_ms,
    wire::{Encode, Kind},
};

/// Commands that may wait for the owner.
const COMMANDS: usize = 256;
/// Output that becomes one frame while readers are behind, in bytes.
const MAX_FRAME_BYTES: usize = 64 * 1024;
/// How long and how far a snapshot serves those who come after the one who asked.
const SNAPSHOT_LIFE: Duration = Duration::from_millis(500);
const SNAPSHOT_LAG_BYTES: u64 = 256 * 1024;

/// What the owner is told.
#[derive(Debug)]
pub(super) enum Command {
    Snapshot {
        reply_tx: oneshot::Sender<Snapshot>,
    },
    Picture {
        format: ScreenFormat,
        reply_tx: oneshot::Sender<Bytes>,
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
    pub(crate) scrollback_lines: usize,
    pub(crate) tools: SessionTools,
}

/// Asks the owner for a snapshot. Holds no session, so that a session can end.
#[derive(Debug)]
struct AskOwner {
    commands: mpsc::Sender<Command>,
    /// What the owner left when it ended.
    last: Arc<OnceLock<Snapshot>>,
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

/// A session's owner, about to run.
pub(crate) struct Owner {
    session: Session,
    commands: mpsc::Receiver<Command>,
    terminal: LiveTerminal,
    screen: Box<dyn Screen>,
    scrollback_lines: usize,
    encode: Encode,
    /// Where the next output begins.
    offset: u64,
    running: bool,
    /// Who waits for the program's end.
    closing: Vec<oneshot::Sender<()>>,
    /// Left at the end, for readers that are behind.
    last: Arc<OnceLock<Snapshot>>,
    /// The last snapshot, for as long as it is fresh enough for others.
    recent: Option<(Snapshot, Instant)>,
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
        let source = AskOwner { commands: commands_tx.clone(), last: Arc::clone(&last) };
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
            handler: OnceLock::new(),
            span,
        };
        let session = Self { shared: Arc::new(shared) };
        let owner = Owner {
            session: session.clone(),
            commands,
            terminal,
            screen: screens.screen(birth.size, birth.scrollback_lines),
            scrollback_lines: birth.scrollback_lines,
            encode,
            offset: 0,
            running: true,
            closing: Vec::new(),
            last,
            recent: None,
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
            let stale_at = self.recent.as_ref().map_or_else(Instant::now, |(_, at)| *at);
            // Each branch is cancel safe: channels, a notice, a timer.
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Close { reply_tx }) => {
                        self.closing.push(reply_tx);
                        if !self.running {
                            break;
                        }
                        // Not by `controls`: the owner never waits for a queue whose reader may
                        // wait for the owner.
                        self.terminal.hangup.send_replace(true);
                    }
                    Some(command) => self.obey(command),
                    None => break,
                },
                event = next_event(&self.session.shared.stream, &mut self.terminal.events),
                    if self.running => self.hear(event),
                Ok(()) = self.terminal.written.changed(), if self.running => self.settle(),
                () = sleep_until(stale_at), if self.recent.is_some() => self.recent = None,
                // Dropping the terminal hangs up.
                () = shutdown.begun() => return,
            }
            if !self.running && !self.closing.is_empty() {
                break;
            }
        }
        self.recent = None;
        let snapshot = self.snapshot();
        let _ = self.last.set(snapshot);
        // Who is told of the end finds the session closed.
        self.commands.close();
        for reply_tx in self.closing.drain(..) {
            let _ = reply_tx.send(());
        }
        info!("session closed");
    }

    fn obey(&mut self, command: Command) {
        // Whatever the command: a full queue may have refused the one that says "resize".
        self.resize();
        match command {
            Command::Snapshot { reply_tx } => {
                let _ = reply_tx.send(self.snapshot());
            }
            Command::Picture { format, reply_tx } => {
                let _ = reply_tx.send(format.picture(&*self.screen, self.scrollback_lines));
            }
            Command::Resize | Command::Close { .. } => {}
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
        if !chunks.is_empty() {
            self.output(&chunks);
        }
        if let Some(exit) = exit {
            self.end(&exit);
        }
    }

    fn output(&mut self, chunks: &[Bytes]) {
        let stream = &self.session.shared.stream;
        let head = Head { kind: BinaryKind::Output, stream: stream.number(), offset: self.offset };
        let head = head.to_bytes();
        let parts: Vec<&[u8]> =
            std::iter::once(&head[..]).chain(chunks.iter().map(|chunk| &chunk[..])).collect();
        let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        // Readers first: the screen is for those who come later.
        stream.append(Kind::Binary, length, &parts);
        self.offset += length;
        for chunk in chunks {
            self.screen.feed(chunk);
            if let Some(handler) = self.session.shared.handler.get() {
                guarded(|| handler.output(&self.session, chunk));
            }
        }
        let answers = self.screen.take_answers();
        let mut state = self.session.shared.state.lock();
        state.last_activity_at = now_ms();
        if !answers.is_empty() {
            state.input.answer(answers.into());
        }
        if state.title != self.screen.title() {
            self.screen.title().clone_into(&mut state.title);
            let mut update = SessionUpdate::new(self.session.id().clone());
            update.title = Some(state.title.clone());
            self.session.tell(update);
        }
    }

    fn resize(&mut self) {
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
        self.screen.resize(size);
        self.recent = None;
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
        if let Some(handler) = self.session.shared.handler.get() {
            guarded(|| handler.exit(&self.session, exit));
        }
        events.deliver();
    }

    /// The state after all that was appended, or a recent one if little came since.
    fn snapshot(&mut self) -> Snapshot {
        let stream = &self.session.shared.stream;
        if let Some((snapshot, _)) = &self.recent
            && self.offset - snapshot.position.offset <= SNAPSHOT_LAG_BYTES
            && stream.holds(snapshot.seq)
        {
            return snapshot.clone();
        }
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
        let update = text(None, &ServerMessage::Session(Box::new(update)));
        let head =
            Head { kind: BinaryKind::Snapshot, stream: stream.number(), offset: position.offset };
        let screen = self.screen.snapshot(self.scrollback_lines);
        let messages = vec![
            (self.encode)(Kind::Text, &[update.as_bytes()]).into(),
            (self.encode)(Kind::Binary, &[&head.to_bytes(), &screen]).into(),
        ];
        let snapshot = Snapshot { messages, seq, position };
        self.recent = Some((snapshot.clone(), Instant::now() + SNAPSHOT_LIFE));
        snapshot
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
