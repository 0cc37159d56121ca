//! The start of a session: a handle and its owner task from a live terminal.

use std::sync::Arc;

use rejoin_protocol::{
    ProfileName, SessionId, SessionStatus, StreamNumber, Subject, TerminalSize, UserId,
};
use tokio::sync::{Semaphore, mpsc};
use tracing::{info, info_span};

use crate::{
    backend::{LiveTerminal, Screens, Scrollback},
    lock::Mutex,
    presence::PresenceGroup,
    session::{
        InputQueue, MAX_HISTORY_REQUESTS, Session, SessionContext, Shared, State, Viewers,
        owner::{COMMANDS, Owner, OwnerSource},
        worker::ScreenWorker,
    },
    stream::{LagPolicy, Retention, Stream, StreamConfig},
    time::now_ms,
};

/// The number of concurrent exports of one session's screen. Each holds a copy of the screen.
const MAX_EXPORTS: usize = 4;

/// The parameters of a new session.
pub(crate) struct NewSession {
    pub(crate) id: SessionId,
    pub(crate) owner: UserId,
    pub(crate) profile: ProfileName,
    pub(crate) name: Option<String>,
    pub(crate) size: TerminalSize,
    pub(crate) number: StreamNumber,
    pub(crate) retention: Retention,
    pub(crate) scrollback: Scrollback,
    pub(crate) context: SessionContext,
}

impl Session {
    /// Creates a session of a live terminal. No output is read until the owner is started.
    pub(crate) fn new(
        new: NewSession,
        terminal: LiveTerminal,
        screens: &dyn Screens,
    ) -> (Self, Owner) {
        let (commands_tx, commands) = mpsc::channel(COMMANDS);
        let last = Arc::default();
        let encode = new.context.presence.encode;
        let stream = Stream::new(StreamConfig {
            number: new.number,
            retention: new.retention,
            // A reader that falls behind gets the screen instead of old output.
            lag: LagPolicy::Snapshot(Arc::new(OwnerSource::new(
                commands_tx.clone(),
                Arc::clone(&last),
            ))),
            encode,
        });

        let state = State {
            viewers: Viewers::default(),
            input: InputQueue::new(terminal.controls.clone()),
            size: new.size,
            title: String::new(),
            last_activity_at: now_ms(),
            ended: None,
        };

        let screen = screens.screen(new.size, new.scrollback);
        let (threads, shutdown) = (new.context.threads.clone(), new.context.shutdown.clone());
        let worker = ScreenWorker::new(screen, threads, shutdown);

        let subject = Subject::Session(new.id.clone());
        let presence = PresenceGroup::new(subject, Arc::clone(&new.context.presence));
        // No parent, because the session outlives the request that creates it.
        let span = info_span!(parent: None, "session", id = %new.id, profile = %new.profile);
        let shared = Shared {
            presence,
            context: new.context,
            id: new.id,
            owner: new.owner,
            profile: new.profile,
            name: new.name,
            created_at: now_ms(),
            stream,
            commands: commands_tx,
            state: Mutex::new(state),
            handler: Mutex::default(),
            exports: Arc::new(Semaphore::new(MAX_EXPORTS)),
            history_requests: Semaphore::new(MAX_HISTORY_REQUESTS),
            span,
        };

        let session = Self { shared: Arc::new(shared) };

        // Before any attachment, whose log line must come after this one.
        session.shared.span.in_scope(|| {
            info!(status = ?SessionStatus::Idle, user = %session.owner(), "session started");
        });

        let owner = Owner::new(session.clone(), commands, terminal, (worker, last));
        (session, owner)
    }
}
