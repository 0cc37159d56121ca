//! The session: a terminal that connections attach to, with one owner task.
//!
//! The *owner task* alone has the screen, appends output and takes snapshots. The *state*, behind
//! a lock, has the viewers and the pending input. An *attachment* is a guard: dropping it leaves
//! the session.

mod attachment;
mod checkpoints;
mod context;
mod handler;
mod history;
mod input;
mod life;
mod lifetime;
mod owner;
mod past;
mod render;
mod start;
mod viewers;
mod worker;

use std::{fmt, sync::Arc};

use rejoin_protocol::{
    ConnectionId, ErrorCode, ProfileName, SessionId, SessionInfo, SessionKind, Signal,
    TerminalSize, UserId,
    message::{ErrorBody, ServerMessage, SessionUpdate, text},
};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tracing::Span;

pub use attachment::Attachment;
pub(crate) use checkpoints::CheckpointSlots;
pub(crate) use context::{SessionContext, SessionObserver};
pub(crate) use handler::catch_panic;
pub use handler::{HandlerTaken, SessionHandler};
use history::MAX_HISTORY_REQUESTS;
pub use input::Receipt;
pub(crate) use lifetime::LifetimeContext;
use lifetime::{Cause, Lifetime};
pub use owner::HistoryQuery;
pub(crate) use past::Past;
pub use render::ScreenExport;
pub(crate) use start::NewSession;
pub use viewers::AttachOptions;
pub(crate) use worker::ScreenThreads;

use crate::{
    backend::Control,
    connection::{Author, Connection},
    frame::PayloadKind,
    lock::{
        Mutex,
        level::{LEAF, SESSION},
    },
    presence::PresenceGroup,
    session::{
        input::{Input, InputQueue},
        life::LifeEvent,
        owner::Command,
        viewers::Viewers,
    },
    stream::Stream,
    time::now_ms,
};

/// A handle to a session.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::sync::Arc;
///
/// use rejoin_core::{
///     Author, Caps, CreateTerminal, Hub, HubConfig, Identity, MemoryScreens, MemoryTerminals,
///     Profile, ScreenFormat, Shutdown, TerminalEvent,
/// };
/// use rejoin_protocol::{ProfileName, UserId};
///
/// let terminals = MemoryTerminals::new();
/// let mut started = terminals.started().unwrap();
/// let encode = |_, parts: &[&[u8]]| parts.concat().into();
/// let mut config = HubConfig::new(encode, terminals, Arc::new(MemoryScreens));
/// let command = vec!["sh".into()];
/// let profile = Profile { command, ..Profile::default() };
/// config.profiles.insert(ProfileName::new("terminal").unwrap(), profile);
/// let hub = Hub::new(config, &Shutdown::new());
///
/// let ann = Identity::new(UserId::new("ann").unwrap(), Caps::user());
/// let session = hub.create_terminal(&ann, CreateTerminal::default()).await.unwrap();
///
/// // The test plays the program: it prints a line and ends.
/// let program = started.recv().await.unwrap();
/// program.events.send(TerminalEvent::Output("hello".into())).await.unwrap();
/// program.events.send(TerminalEvent::Exit(Default::default())).await.unwrap();
///
/// // The last screen can be exported until the session is closed.
/// while session.info().exit.is_none() {
///     tokio::task::yield_now().await;
/// }
/// let screen = session.screen(ScreenFormat::Text).await.unwrap();
/// assert_eq!(screen.collect::<Vec<_>>().concat(), b"hello");
///
/// // A program that has ended takes no input.
/// assert!(session.input("ls\n".into(), Author::Server).await.is_err());
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    id: SessionId,
    owner: UserId,
    profile: ProfileName,
    name: Option<String>,
    created_at: u64,
    stream: Stream,
    /// The attached members.
    presence: Arc<PresenceGroup>,
    context: SessionContext,
    /// Commands for the owner task, which never waits for their senders.
    commands: mpsc::Sender<Command>,
    /// Held during a change and the append of its update, so that readers receive changes in order.
    state: Mutex<State, SESSION>,
    handler: Mutex<Option<Arc<dyn SessionHandler>>, LEAF>,
    /// Limits the concurrent exports of the screen.
    exports: Arc<Semaphore>,
    /// Limits the concurrent requests for pages of the history.
    history_requests: Semaphore,
    /// Notified once the end of the program is durable. Only the owner waits.
    end_durable: Notify,
    /// The span of the session's log lines.
    span: Span,
}

struct State {
    viewers: Viewers,
    input: InputQueue,
    size: TerminalSize,
    title: String,
    /// Milliseconds since the Unix epoch.
    last_activity_at: u64,
    lifetime: Lifetime,
}

impl Session {
    /// Returns the session's id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.shared.id
    }

    /// Returns the user who created the session.
    #[must_use]
    pub fn owner(&self) -> &UserId {
        &self.shared.owner
    }

    /// Returns the profile that the session was started from.
    #[must_use]
    pub fn profile(&self) -> &ProfileName {
        &self.shared.profile
    }

    /// Returns the stream of the session's output and changes.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.shared.stream
    }

    /// Returns the session's entry in lists.
    #[must_use]
    pub fn info(&self) -> SessionInfo {
        let shared = &self.shared;
        let state = shared.state.lock();
        SessionInfo {
            id: shared.id.clone(),
            kind: SessionKind::Terminal,
            profile: shared.profile.clone(),
            name: shared.name.clone(),
            title: state.title.clone(),
            owner: shared.owner.clone(),
            status: state.lifetime.status(),
            cols: state.size.cols(),
            rows: state.size.rows(),
            size_owner: state.viewers.size_owner(),
            connections: state.viewers.len(),
            created_at: shared.created_at,
            updated_at: state.lifetime.updated_at(),
            last_activity_at: state.last_activity_at,
            destroy_at: state.lifetime.destroy_at(),
            exit: state.lifetime.exit(),
            reason: state.lifetime.reason(),
            lost: state.lifetime.is_lost(),
            revived_from: state.lifetime.revived_from(),
            revived_as: state.lifetime.revived_as(),
        }
    }

    /// Types bytes from a source other than a connection, and waits until they are written.
    ///
    /// # Errors
    /// `session_ended`, `input_full`, or `overloaded` once the hub stops; nothing was typed.
    pub async fn input(&self, bytes: bytes::Bytes, author: Author) -> Result<(), ErrorBody> {
        self.shared.context.gate.check()?;
        let (receipt, written) = Receipt::channel();
        {
            let mut state = self.shared.state.lock();
            if state.lifetime.is_ended() {
                return Err(ErrorCode::SessionEnded.into());
            }

            state.input.push_unnumbered(Input { bytes, author, receipt })?;
            state.last_activity_at = now_ms();
        }

        written.await.unwrap_or_else(|_| Err(ErrorCode::SessionEnded.into()))
    }

    /// Sets the size of the terminal, until a viewer changes it.
    ///
    /// # Errors
    /// `session_ended`.
    pub fn resize(&self, size: TerminalSize) -> Result<(), ErrorBody> {
        let mut state = self.shared.state.lock();
        if state.lifetime.is_ended() {
            return Err(ErrorCode::SessionEnded.into());
        }

        state.viewers.wanted = Some(size);

        // A full queue is no error: the owner checks the size after each command.
        let _ = self.shared.commands.try_send(Command::Resize);
        Ok(())
    }

    /// Sends a signal to the program.
    ///
    /// # Errors
    /// `session_ended`, or `input_full` if the terminal's queue is full.
    pub fn signal(&self, signal: Signal) -> Result<(), ErrorBody> {
        let mut state = self.shared.state.lock();
        if state.lifetime.is_ended() {
            return Err(ErrorCode::SessionEnded.into());
        }

        state.input.control(Control::Signal(signal))
    }

    /// Returns the attached connections, each once, in the order of their attachments.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionId> {
        self.shared.state.lock().viewers.connections()
    }

    /// Returns the group of the attached members.
    pub(crate) fn presence(&self) -> &Arc<PresenceGroup> {
        &self.shared.presence
    }

    /// Returns `true` if both are handles to the same session.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Returns `true` once the session is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.commands.is_closed()
    }

    /// Ends the program and waits until it has ended.
    ///
    /// Dropping the future does not stop a close that has begun.
    pub async fn close(&self) {
        let (reply_tx, reply) = oneshot::channel();
        if self.shared.commands.send(Command::Close { reply_tx }).await.is_ok() {
            let _ = reply.await;
        }
    }

    /// Adds a viewer and returns its number.
    ///
    /// # Errors
    /// `session_ended` if the program was asked to end.
    fn add_viewer(
        &self,
        connection: &Connection,
        request: &AttachOptions,
    ) -> Result<u64, ErrorBody> {
        let mut state = self.shared.state.lock();
        if state.lifetime.is_ending() {
            return Err(ErrorCode::SessionEnded.into());
        }

        let viewer = state.viewers.add(connection, request);
        self.transition(&mut state, &LifeEvent::Attached, Some(cause(connection)));
        if state.viewers.should_own_size(viewer) {
            self.take_size(&mut state, viewer);
        }

        drop(state);

        self.shared.context.observer.record_change(self);
        Ok(viewer)
    }

    fn remove_viewer(&self, viewer: u64, connection: &Connection) {
        let observer = &self.shared.context.observer;
        let mut state = self.shared.state.lock();
        state.viewers.remove(viewer);
        state.input.remove_viewer(viewer);
        self.transition(&mut state, &LifeEvent::Detached, Some(cause(connection)));

        if state.viewers.is_empty() {
            // With the lock held, so that two departures are recorded in order.
            observer.record_left(self);
            drop(state);
            observer.deliver();
        }

        observer.record_change(self);
    }

    /// Makes a viewer the owner of the size and applies its size.
    fn take_size(&self, state: &mut State, viewer: u64) {
        if state.lifetime.is_ended() {
            // The last screen keeps its size.
            return;
        }

        let Some(size) = state.viewers.own_size(viewer) else { return };

        state.viewers.wanted = Some(size);

        // A full queue is no error: the owner checks the size after each command.
        let _ = self.shared.commands.try_send(Command::Resize);
        let mut update = SessionUpdate::new(self.id().clone());
        update.size_owner = state.viewers.size_owner();
        self.publish(update);
    }

    /// Appends an update to the stream. Called with the state locked, so that each reader gets it
    /// at the same place in the output.
    fn publish(&self, update: SessionUpdate) {
        self.shared.context.observer.record_change(self);
        let update = text(None, &ServerMessage::Session(Box::new(update)));
        self.stream().append(PayloadKind::Text, 0, &[update.as_bytes()]);
    }
}

fn cause(connection: &Connection) -> Cause {
    Cause { connection: connection.id().clone(), user: connection.user().clone() }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.shared.id).finish_non_exhaustive()
    }
}
