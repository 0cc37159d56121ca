//! The start of a session: a handle and its owner task from a live terminal.

use std::{sync::Arc, time::Duration};

use rejoin_protocol::{Position, SessionStatus, StreamNumber, Subject, TerminalSize};
use tokio::sync::{Notify, Semaphore, mpsc};
use tracing::{info, info_span};

use crate::{
    backend::{LiveTerminal, Screens, Scrollback, SessionRow},
    lock::Mutex,
    presence::PresenceGroup,
    session::{
        InputQueue, Lifetime, MAX_HISTORY_REQUESTS, Session, SessionContext, Shared, State,
        Viewers,
        owner::{COMMANDS, Owner, OwnerSource},
        past::Past,
        worker::ScreenWorker,
    },
    stream::{LagPolicy, Retention, Stream, StreamConfig},
    time::now_ms,
};

/// The number of concurrent exports of one session's screen. Each holds a copy of the screen.
const MAX_EXPORTS: usize = 4;

/// The parameters of a new session.
pub(crate) struct NewSession {
    pub(crate) row: SessionRow,
    /// `None`: an idle session stays.
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) size: TerminalSize,
    /// The state of an earlier process.
    pub(crate) past: Option<Past>,
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
        let record = new.row.record.clone();
        let offset = new.past.as_ref().map_or(0, |past| past.offset);
        let config = StreamConfig {
            number: new.number,
            retention: new.retention,
            // A reader that falls behind gets the screen instead of old output.
            lag: LagPolicy::Snapshot(Arc::new(OwnerSource::new(
                commands_tx.clone(),
                Arc::clone(&last),
            ))),
            encode,
        };
        let stream = Stream::continued(config, Position { epoch: record.epoch, offset });

        let writers = new.past.as_ref().map_or(&[][..], |past| &past.writers);
        let state = State {
            viewers: Viewers::default(),
            input: InputQueue::new(terminal.controls.clone(), writers),
            size: new.size,
            title: String::new(),
            last_activity_at: now_ms(),
            lifetime: Lifetime::new(new.row, new.idle_timeout),
        };

        let screen = screens.screen(new.size, new.scrollback);
        let (threads, shutdown) = (new.context.threads.clone(), new.context.shutdown.clone());
        let worker = ScreenWorker::new(screen, threads, shutdown);

        let subject = Subject::Session(record.id.clone());
        let presence = PresenceGroup::new(subject, Arc::clone(&new.context.presence));
        // No parent, because the session outlives the request that creates it.
        let span = info_span!(parent: None, "session", id = %record.id, profile = %record.profile);
        let shared = Shared {
            presence,
            context: new.context,
            id: record.id,
            owner: record.owner,
            profile: record.profile,
            name: record.name,
            created_at: record.created_at,
            stream,
            commands: commands_tx,
            state: Mutex::new(state),
            handler: Mutex::default(),
            exports: Arc::new(Semaphore::new(MAX_EXPORTS)),
            history_requests: Semaphore::new(MAX_HISTORY_REQUESTS),
            end_durable: Notify::new(),
            span,
        };

        let session = Self { shared: Arc::new(shared) };

        // Before any attachment, whose log line must come after this one.
        session.shared.span.in_scope(|| {
            let action = if new.past.is_some() { "session recovered" } else { "session started" };
            info!(status = ?SessionStatus::Idle, user = %session.owner(), "{action}");
        });

        let mut owner = Owner::new(session.clone(), commands, terminal, (worker, last));
        if let Some(past) = new.past {
            session.continue_life();
            owner.continue_past(past);
        }
        (session, owner)
    }
}
