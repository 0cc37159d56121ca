//! What a session is, as the wire tells it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, ProfileName, SessionId, UserId, limits};

/// A stream's number on the wire: the same for all of its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamNumber(pub u32);

impl fmt::Display for StreamNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A terminal's size in character cells, 1–1000 columns and 1–500 rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    cols: u16,
    rows: u16,
}

impl TerminalSize {
    /// What a terminal gets when nobody says: 80 × 24.
    pub const DEFAULT: Self = Self { cols: 80, rows: 24 };

    /// Takes a size within the bounds; `None` outside of them.
    #[must_use]
    pub fn new(cols: u16, rows: u16) -> Option<Self> {
        let fits = (1..=limits::MAX_COLS).contains(&cols) && (1..=limits::MAX_ROWS).contains(&rows);
        fits.then_some(Self { cols, rows })
    }

    /// Columns, 1–1000.
    #[must_use]
    pub fn cols(self) -> u16 {
        self.cols
    }

    /// Rows, 1–500.
    #[must_use]
    pub fn rows(self) -> u16 {
        self.rows
    }
}

/// What sort of live thing a session is.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A program on a pseudo-terminal.
    Terminal,
    /// What is published by name; exists as soon as it is used.
    Topic,
    /// A JSON document with a version.
    State,
}

/// Where a session is in its life.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Somebody is attached.
    Active,
    /// Nobody is attached.
    Idle,
    /// It ended as it should.
    Terminated,
    /// It ended, or never began, because of an error.
    Error,
}

impl SessionStatus {
    /// Whether the session will never run again.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Terminated | Self::Error)
    }
}

/// What an attached connection may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees and types.
    #[default]
    Writer,
    /// Sees.
    Viewer,
}

/// What a session's program can be sent.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the variants are POSIX's names")]
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

/// How a program ended; both `None` where it is not known.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code, 0–255.
    pub code: Option<i32>,
    /// The signal that ended it, such as `SIGKILL`.
    pub signal: Option<String>,
}

/// How an attach, a subscribe or a resume went: nothing is skipped in silence.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No position was given: it begins here.
    Fresh,
    /// All that came after the position follows.
    Resumed,
    /// The position is too old; the state follows, then what comes after it.
    Snapshot,
    /// Frames after the position are gone; what is left follows.
    Gap,
}

/// A session as lists and answers show it; times are milliseconds since the epoch.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// Its kind.
    pub kind: SessionKind,
    /// The profile that it was started from.
    pub profile: ProfileName,
    /// What its maker called it.
    pub name: Option<String>,
    /// What the program in it calls itself.
    pub title: String,
    /// Whose it is.
    pub owner: UserId,
    /// Where it is in its life.
    pub status: SessionStatus,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// The connection whose size counts: the last one that typed.
    pub size_owner: Option<ConnectionId>,
    /// How many connections are attached.
    pub connections: usize,
    /// When it was made.
    pub created_at: u64,
    /// When it last took input or gave output.
    pub last_activity_at: u64,
    /// How its program ended, once it has.
    pub exit: Option<Exit>,
    /// Why it is in `error`, if it is.
    pub reason: Option<String>,
}
