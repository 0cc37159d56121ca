//! The store: the rows of sessions and the histories of their transitions.

use std::fmt;

use futures_util::future::BoxFuture;
use rejoin_protocol::{Exit, SessionId, UserId};
use serde::{Deserialize, Serialize};

use crate::backend::SessionRecord;

/// The number of events that the history of one session retains.
pub const EVENTS_PER_SESSION: u64 = 1000;

/// Keeps the state of sessions for the next process.
pub trait Store: fmt::Debug + Send + Sync {
    /// Returns the rows of sessions that are not removed.
    fn load(&self) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>>;

    /// Commits changes in order, all or none. They are durable when the call returns.
    ///
    /// A commit whose result is unknown is repeated: each change has the same effect twice.
    fn commit<'a>(&'a self, changes: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Returns a session's row, also after its removal.
    fn session<'a>(
        &'a self,
        id: &'a SessionId,
    ) -> BoxFuture<'a, Result<Option<SessionRow>, StoreError>>;

    /// Returns the first `limit` events after the number `after`.
    fn session_events<'a>(
        &'a self,
        id: &'a SessionId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SessionEvent>, StoreError>>;
}

/// The reason why the store did not answer, as a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A change of the store.
#[derive(Clone, Debug)]
pub enum Change {
    /// Writes a session's row and appends events to its history. An event with the number 1
    /// begins a new history: the id may be that of a removed session.
    Session {
        /// The row.
        row: Box<SessionRow>,
        /// The events, in order.
        events: Vec<SessionEvent>,
    },
    /// Updates the time of the last activity of sessions.
    Activity(Vec<(SessionId, u64)>),
    /// Deletes what is left of removed sessions.
    Prune {
        /// Sessions that were removed before this time, in milliseconds since the Unix epoch.
        removed_before: u64,
        /// The number of removed sessions that are kept at most, the newest.
        keep: u64,
    },
}

/// The row of a session. Times are in milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionRow {
    /// The facts that do not change.
    #[serde(flatten)]
    pub record: SessionRecord,
    /// The status.
    pub status: RowStatus,
    /// The number of attached connections.
    pub active_connections: u64,
    /// The time at which an idle session ends.
    pub destroy_at: Option<u64>,
    /// The same time on the clock of the machine.
    pub deadline: Option<StoredDeadline>,
    /// The time of the last input or output, at most a few seconds late.
    pub last_activity_at: u64,
    /// The time of the last transition.
    pub updated_at: u64,
    /// The way the program ended; `None` also if no process has observed its end.
    pub exit: Option<Exit>,
    /// The reason of the end.
    pub reason: Option<String>,
    /// The session that replaces this one, whose program was lost.
    pub revived_as: Option<SessionId>,
    /// The title.
    pub title: String,
    /// The number of columns.
    pub cols: u16,
    /// The number of rows.
    pub rows: u16,
    /// The number of the last event.
    pub last_event: u64,
    /// The time at which the session was removed. Its row and its history remain for a while.
    pub removed_at: Option<u64>,
}

/// A time on the clock of the machine, which stands still while the machine sleeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredDeadline {
    /// The boot of the machine in which the time is valid.
    pub boot: String,
    /// Milliseconds on the clock of that boot.
    pub at: u64,
}

/// The status of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    /// The program is not running yet.
    Starting,
    /// At least one connection is attached.
    Active,
    /// No connection is attached.
    Idle,
    /// The session ended without an error.
    Terminated,
    /// The session ended or failed to start because of an error.
    Error,
}

/// A transition of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionEvent {
    /// 1 for the first event of a session, without gaps.
    pub number: u64,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// The kind.
    pub event: EventKind,
    /// The status after the transition.
    pub status: RowStatus,
    /// The number of attached connections after the transition.
    pub active_connections: u64,
    /// The user who caused the transition, if one did.
    pub user: Option<UserId>,
    /// The reason, if it is not obvious.
    pub reason: Option<String>,
}

/// The kind of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The session was requested.
    Created,
    /// The program was started.
    Started,
    /// The program could not be started.
    StartFailed,
    /// A connection has attached.
    Attached,
    /// A connection has left.
    Detached,
    /// Another process of the server continues the session.
    Recovered,
    /// The program has ended.
    Ended,
    /// The program is gone with its machine or its keeper.
    Lost,
    /// Another session replaces this one, whose program was lost.
    Revived,
    /// The session was removed.
    Removed,
}

/// Names of an enum, as they are stored.
macro_rules! names {
    ($type:ty { $($variant:ident = $name:literal),* $(,)? }) => {
        impl $type {
            /// Returns the stored name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Returns the value of a stored name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

names!(RowStatus {
    Starting = "starting",
    Active = "active",
    Idle = "idle",
    Terminated = "terminated",
    Error = "error",
});

names!(EventKind {
    Created = "created",
    Started = "started",
    StartFailed = "start_failed",
    Attached = "attached",
    Detached = "detached",
    Recovered = "recovered",
    Ended = "ended",
    Lost = "lost",
    Revived = "revived",
    Removed = "removed",
});

impl RowStatus {
    /// Returns `true` if the session has ended for good.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Terminated | Self::Error)
    }
}

impl SessionRow {
    /// Creates the row of a session whose program is not running yet, without an event.
    #[must_use]
    pub fn new(record: SessionRecord) -> Self {
        let (created_at, (cols, rows)) = (record.created_at, record.size);
        Self {
            record,
            status: RowStatus::Starting,
            active_connections: 0,
            destroy_at: None,
            deadline: None,
            last_activity_at: created_at,
            updated_at: created_at,
            exit: None,
            reason: None,
            revived_as: None,
            title: String::new(),
            cols,
            rows,
            last_event: 0,
            removed_at: None,
        }
    }

    /// Appends an event that leads to the row as it is.
    pub(crate) fn event(
        &mut self,
        event: EventKind,
        user: Option<UserId>,
        at: u64,
    ) -> SessionEvent {
        self.last_event += 1;
        self.updated_at = at;
        SessionEvent {
            number: self.last_event,
            at,
            event,
            status: self.status,
            active_connections: self.active_connections,
            user,
            reason: self.reason.clone(),
        }
    }
}
