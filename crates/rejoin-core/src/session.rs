//! The session: a terminal that connections attach to, with one owner task.
//!
//! Three parties share a session. The *owner task* alone has the screen, appends output and
//! takes snapshots. The *state* behind a lock says who views it and which input is under way.
//! *Attachments* are guards: dropping one leaves the session.

mod attachment;
mod handler;
mod input;
mod owner;
mod render;
mod viewers;
mod worker;

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use rejoin_protocol::{
    ConnectionId, ErrorCode, Exit, MessageId, Position, ProfileName, Role, SessionId, SessionInfo,
    SessionKind, SessionStatus, Signal, TerminalSize, UserId, WriterId,
    message::{Attached, ErrorBody, ServerMessage, SessionUpdate, text},
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::{Span, info};

pub use attachment::Attachment;
pub use handler::{HandlerTaken, SessionHandler};
pub use input::Receipt;
pub(crate) use owner::NewSession;
pub use render::ScreenExport;
pub(crate) use worker::ScreenThreads;

use crate::{
    access::{Author, Authority},
    backend::Control,
    connection::Connection,
    events::HubEvent,
    hub::SessionContext,
    outbox::OutboxItem,
    presence::Place,
    session::{
        input::{InputQueue, Typed},
        owner::Command,
        viewers::Viewers,
    },
    stream::Stream,
    time::now_ms,
    wire::PayloadKind,
};

/// A handle to a session.
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
    /// Where those who are attached are present.
    place: Arc<Place>,
    tools: SessionContext,
    /// To the owner task; bounded, the owner always goes on.
    commands: mpsc::Sender<Command>,
    /// Held for a look-up or a change, with appends of what changed, so that readers hear of
    /// changes in their order. Taken before the stream's lock, never after it.
    state: Mutex<State>,
    /// Held for a look at it or a change.
    handler: Mutex<Option<Arc<dyn SessionHandler>>>,
    /// Screens that may be written at the same time.
    exports: Arc<Semaphore>,
    /// What each line in the log about it is in.
    span: Span,
}

struct State {
    viewers: Viewers,
    input: InputQueue,
    size: TerminalSize,
    title: String,
    last_activity_at: u64,
    ended: Option<Ended>,
}

struct Ended {
    status: SessionStatus,
    exit: Exit,
    reason: Option<String>,
}

/// How a connection attaches.
#[derive(Debug)]
pub struct AttachRequest {
    /// The message that asks; the answer carries its number.
    pub reply_to: Option<MessageId>,
    /// Where the connection was, if it comes back.
    pub position: Option<Position>,
    /// What it wants to do.
    pub role: Role,
    /// Who numbers its input.
    pub writer: Option<WriterId>,
    /// The size that it can show.
    pub size: Option<TerminalSize>,
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.shared.id
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> &UserId {
        &self.shared.owner
    }

    /// The profile that it was started from.
    #[must_use]
    pub fn profile(&self) -> &ProfileName {
        &self.shared.profile
    }

    /// Its stream.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.shared.stream
    }

    /// What lists and answers show of it.
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
            status: state.status(),
            cols: state.size.cols(),
            rows: state.size.rows(),
            size_owner: state.viewers.size_owner(),
            connections: state.viewers.len(),
            created_at: shared.created_at,
            last_activity_at: state.last_activity_at,
            exit: state.ended.as_ref().map(|ended| ended.exit.clone()),
            reason: state.ended.as_ref().and_then(|ended| ended.reason.clone()),
        }
    }

    /// Attaches a connection: it is answered, given the state or the tail, and reads on.
    ///
    /// # Errors
    /// `forbidden` if the connection's identity may not have this [role](crate::Identity::role);
    /// `session_ended` if the owner is gone; the error of the connection's [`Authority::check`].
    pub async fn attach(
        &self,
        connection: &Connection,
        request: AttachRequest,
    ) -> Result<Attachment, ErrorBody> {
        connection.check()?;
        let identity = connection.identity();
        let role = identity.role(self.owner(), self.profile(), Some(request.role));
        role.ok_or(ErrorCode::Forbidden)?;
        let viewer = self.enter(connection, &request);
        let attachment = Attachment {
            session: self.clone(),
            connection: connection.clone(),
            viewer,
            role: request.role,
            _stay: self.shared.place.enter(connection),
        };
        let start = self.stream().start(request.position).await;
        let start = start.ok_or(ErrorCode::SessionEnded)?;
        let attached = {
            let state = self.shared.state.lock();
            Attached {
                session: self.id().clone(),
                stream: self.stream().number(),
                role: request.role,
                verdict: start.verdict,
                replayed: start.replayed,
                reason: start.reason,
                position: start.position,
                cols: state.size.cols(),
                rows: state.size.rows(),
                status: state.status(),
                title: state.title.clone(),
                input_seq: state.input.last_seq(viewer),
                size_owner: state.viewers.size_owner(),
                exit: state.ended.as_ref().map(|ended| ended.exit.clone()),
                history_omitted: start.history_omitted,
            }
        };
        let attached = ServerMessage::Attached(Box::new(attached));
        connection.send(request.reply_to.as_ref(), &attached);
        start.holders.add(connection.outbox());
        let stream = self.stream().clone();
        let (preamble, reader) = (start.preamble, start.reader);
        connection.outbox().push(OutboxItem::StartReading { stream, preamble, reader });
        Ok(attachment)
    }

    /// Types bytes that come from no connection; completes when they are written.
    ///
    /// # Errors
    /// `session_ended`, `input_full`, or `overloaded` once the hub stops; nothing was typed.
    pub async fn input(&self, bytes: bytes::Bytes, author: Author) -> Result<(), ErrorBody> {
        self.shared.tools.gate.check()?;
        let (receipt, written) = Receipt::channel();
        {
            let mut state = self.shared.state.lock();
            if state.ended.is_some() {
                return Err(ErrorCode::SessionEnded.into());
            }
            state.input.push_unnumbered(Typed { bytes, author, receipt })?;
            state.last_activity_at = now_ms();
        }
        written.await.unwrap_or_else(|_| Err(ErrorCode::SessionEnded.into()))
    }

    /// Gives the terminal a size, until somebody who owns the size changes it.
    ///
    /// # Errors
    /// `session_ended`.
    pub fn resize(&self, size: TerminalSize) -> Result<(), ErrorBody> {
        let mut state = self.shared.state.lock();
        if state.ended.is_some() {
            return Err(ErrorCode::SessionEnded.into());
        }
        state.viewers.wanted = Some(size);
        // A full queue means that other commands wait; the owner looks after each of them.
        let _ = self.shared.commands.try_send(Command::Resize);
        Ok(())
    }

    /// Sends the program a signal.
    ///
    /// # Errors
    /// `session_ended`, or `input_full` if the terminal takes nothing more now.
    pub fn signal(&self, signal: Signal) -> Result<(), ErrorBody> {
        let mut state = self.shared.state.lock();
        if state.ended.is_some() {
            return Err(ErrorCode::SessionEnded.into());
        }
        state.input.control(Control::Signal(signal))
    }

    /// The connections that are attached, each once, in the order in which they came.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionId> {
        self.shared.state.lock().viewers.connections()
    }

    /// Where those who are attached are present.
    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.shared.place
    }

    /// Whether both are handles to the same session.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Whether it was closed: nothing more will come of it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.commands.is_closed()
    }

    /// Ends the program, if it runs, and waits until it is gone.
    pub async fn close(&self) {
        let (reply_tx, reply) = oneshot::channel();
        if self.shared.commands.send(Command::Close { reply_tx }).await.is_ok() {
            let _ = reply.await;
        }
    }

    fn enter(&self, connection: &Connection, request: &AttachRequest) -> u64 {
        let mut state = self.shared.state.lock();
        let viewer = state.viewers.add(connection.id().clone(), request);
        state.input.add(viewer, connection.user(), request.writer.clone());
        let woken = (state.viewers.len() == 1).then(|| self.tell_status(&state)).flatten();
        if state.viewers.comes_to_own(viewer) {
            self.take_size(&mut state, viewer);
        }
        drop(state);
        self.log_status(woken, connection);
        self.shared.tools.changes.changed(self);
        viewer
    }

    fn leave(&self, viewer: u64, connection: &Connection) {
        let mut state = self.shared.state.lock();
        state.viewers.remove(viewer);
        state.input.remove(viewer);
        if state.viewers.is_empty() {
            let status = self.tell_status(&state);
            let events = &self.shared.tools.events;
            events.note(HubEvent::SessionLeft { session: self.clone() });
            events.note_last_left(self);
            drop(state);
            self.log_status(status, connection);
            events.deliver();
        }
        self.shared.tools.changes.changed(self);
    }

    /// Makes a viewer's size the session's.
    fn take_size(&self, state: &mut State, viewer: u64) {
        if state.ended.is_some() {
            // The last screen stays as it is.
            return;
        }
        let Some(size) = state.viewers.own_size(viewer) else { return };
        // A full queue means that other commands wait; the owner looks after each of them.
        let _ = self.shared.commands.try_send(Command::Resize);
        let mut update = SessionUpdate::new(self.id().clone());
        update.size_owner = state.viewers.size_owner();
        self.tell(update);
        state.viewers.wanted = Some(size);
    }

    /// Tells readers the status, unless that of the end was told.
    fn tell_status(&self, state: &State) -> Option<SessionStatus> {
        if state.ended.is_some() {
            return None;
        }
        let mut update = SessionUpdate::new(self.id().clone());
        update.status = Some(state.status());
        self.tell(update);
        Some(state.status())
    }

    /// Logs a transition (D7), without the lock: whoever reads the log may be slow.
    fn log_status(&self, status: Option<SessionStatus>, connection: &Connection) {
        let Some(status) = status else { return };
        let (id, user) = (connection.id(), connection.user());
        self.shared.span.in_scope(|| info!(?status, connection = %id, %user, "session changed"));
    }

    /// Appends a change to the stream: every reader hears of it between the right bytes.
    fn tell(&self, update: SessionUpdate) {
        self.shared.tools.changes.changed(self);
        let update = text(None, &ServerMessage::Session(Box::new(update)));
        self.stream().append(PayloadKind::Text, 0, &[update.as_bytes()]);
    }
}

impl State {
    fn status(&self) -> SessionStatus {
        match &self.ended {
            Some(ended) => ended.status,
            None if self.viewers.is_empty() => SessionStatus::Idle,
            None => SessionStatus::Active,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.shared.id).finish_non_exhaustive()
    }
}
