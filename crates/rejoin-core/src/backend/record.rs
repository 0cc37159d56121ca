//! The records of a terminal that outlives the process that started it.

use std::fmt;

use rejoin_protocol::{ProfileName, SessionId, TerminalSize, UserId};
use serde::{Deserialize, Serialize};

use crate::backend::ScreenPieces;

/// The facts about a session that the next process needs to continue it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The id.
    pub id: SessionId,
    /// The user who created the session.
    pub owner: UserId,
    /// The profile.
    pub profile: ProfileName,
    /// The name that users see.
    pub name: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    /// The epoch of the positions in the session's stream.
    pub epoch: u64,
    /// The first size, in columns and rows.
    pub size: (u16, u16),
    /// The working directory that was requested; `None`: that of the profile.
    #[serde(default)]
    pub cwd: Option<String>,
    /// The lost session that this one replaces.
    #[serde(default)]
    pub revived_from: Option<SessionId>,
}

/// A screen to keep for the next process.
pub struct ScreenCheckpoint {
    /// The bytes of output that led to the screen.
    pub offset: u64,
    /// The size of the screen.
    pub size: TerminalSize,
    /// The program has ended and its end was announced.
    pub is_final: bool,
    /// The screen as ANSI, computed on demand.
    pub pieces: ScreenPieces,
}

/// A screen that an earlier process kept.
pub struct SavedScreen {
    /// The bytes of output that led to the screen.
    pub offset: u64,
    /// The size of the screen.
    pub size: TerminalSize,
    /// The program has ended and its end was announced.
    pub is_final: bool,
    /// The number of bytes of all pieces.
    pub length: u64,
    /// The screen as ANSI, read on demand.
    pub pieces: ScreenPieces,
}

/// A writer and the number of an input in the writer's series, which is typed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputKey {
    /// The name of the writer, at most 255 bytes.
    pub writer: String,
    /// The number.
    pub seq: u64,
}

impl fmt::Debug for SavedScreen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset;
        f.debug_struct("SavedScreen").field("offset", &offset).finish_non_exhaustive()
    }
}

impl fmt::Debug for ScreenCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset;
        f.debug_struct("ScreenCheckpoint").field("offset", &offset).finish_non_exhaustive()
    }
}
