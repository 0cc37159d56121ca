//! The description of a session: kind, status, role, size, exit.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, ProfileName, SessionId, UserId, limits};

/// A stream's number in binary messages, the same for all readers of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamNumber(pub u32);

impl fmt::Display for StreamNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A terminal's size in character cells: 1–1000 columns, 1–500 rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// The fields are private, so every size is within the limits.
pub struct TerminalSize {
    cols: u16,
    rows: u16,
}

impl TerminalSize {
    /// The size of a terminal whose creator requested none: 80 × 24.
    pub const DEFAULT: Self = Self { cols: 80, rows: 24 };

    /// Returns a size, or `None` if a dimension is out of range.
    #[must_use]
    pub fn new(cols: u16, rows: u16) -> Option<Self> {
        let is_valid =
            (1..=limits::MAX_COLS).contains(&cols) && (1..=limits::MAX_ROWS).contains(&rows);
        is_valid.then_some(Self { cols, rows })
    }

    /// Returns the number of columns, 1–1000.
    #[must_use]
    pub fn cols(self) -> u16 {
        self.cols
    }

    /// Returns the number of rows, 1–500.
    #[must_use]
    pub fn rows(self) -> u16 {
        self.rows
    }
}

/// The kind of a session.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A program on a pseudo-terminal.
    Terminal,
    /// Messages published under a name; the first use creates the topic.
    Topic,
    /// A JSON document with a version.
    State,
}

/// The status of a session.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// At least one connection is attached.
    Active,
    /// No connection is attached.
    Idle,
    /// The session ended without an error.
    Terminated,
    /// The session ended or failed to start because of an error.
    Error,
}

impl SessionStatus {
    /// Returns `true` if the session has ended for good.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Terminated | Self::Error)
    }
}

/// The rights of an attached connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads output, and may type and resize.
    #[default]
    Writer,
    /// Reads output only.
    Viewer,
}

/// A signal that clients may send to a session's program.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the variants are the POSIX names")]
pub enum Signal {
    SigHup,
    SigInt,
    SigQuit,
    SigTerm,
    SigKill,
    SigUsr1,
    SigUsr2,
    SigTstp,
    SigCont,
}

/// The way a program ended; both fields are `None` if that is unknown.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, 0–255.
    pub code: Option<i32>,
    /// The name of the signal that ended the program, such as `SIGKILL`.
    pub signal: Option<String>,
}

/// The result of an attach, a subscribe or a resume.
///
/// The server reports every frame that a reader misses, so clients never lose one unnoticed.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The client gave no position; reading begins at the current one.
    Fresh,
    /// Every frame after the position follows.
    Resumed,
    /// The position is too old; a snapshot of the state follows, then the frames after it.
    Snapshot,
    /// Some frames after the position are lost; the retained ones follow.
    Gap,
}

/// A session as lists and replies show it.
///
/// Times are in milliseconds since the Unix epoch.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The session's id.
    pub id: SessionId,
    /// The session's kind.
    pub kind: SessionKind,
    /// The profile from which the session started.
    pub profile: ProfileName,
    /// The name that the creator gave the session.
    pub name: Option<String>,
    /// The terminal title that the program set, or an empty string.
    pub title: String,
    /// The user who owns the session.
    pub owner: UserId,
    /// The session's status.
    pub status: SessionStatus,
    /// The number of columns.
    pub cols: u16,
    /// The number of rows.
    pub rows: u16,
    /// The connection that determines the size: the last one that typed.
    pub size_owner: Option<ConnectionId>,
    /// The number of attached connections.
    pub connections: usize,
    /// The time of creation.
    pub created_at: u64,
    /// The time of the last change of the status or of the connections.
    pub updated_at: u64,
    /// The time of the last input or output.
    pub last_activity_at: u64,
    /// The time at which the session ends unless a connection attaches; null if one is attached,
    /// or if the session stays.
    pub destroy_at: Option<u64>,
    /// The way the program ended, once it has.
    pub exit: Option<Exit>,
    /// The reason of the end, unless the program ended by itself and without an error.
    pub reason: Option<String>,
    /// `true` if the program was lost, for example with its machine: the session may be revived.
    pub lost: bool,
    /// The lost session that this one replaces.
    pub revived_from: Option<SessionId>,
    /// The session that replaces this one, whose program was lost.
    pub revived_as: Option<SessionId>,
}
