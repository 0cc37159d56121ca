//! Sessions: replies and changes.

use serde::Serialize;

use crate::{
    ConnectionId, Exit, Position, Role, SessionId, SessionInfo, SessionStatus, StreamNumber,
    Verdict,
};

/// The payload of the reply to `create_session` and `revive_session`.
#[derive(Debug, Serialize)]
pub struct SessionAck {
    /// The new session.
    pub session: Box<SessionInfo>,
}

/// The payload of `attached`, the reply to `attach`.
#[derive(Debug, Serialize)]
pub struct Attached {
    /// The session.
    pub session: SessionId,
    /// The number of the session's stream in binary messages.
    pub stream: StreamNumber,
    /// The rights of this connection.
    pub role: Role,
    /// The result of the attach or resume.
    pub verdict: Verdict,
    /// The number of older frames that follow.
    pub replayed: u64,
    /// The reason for a snapshot instead of a resume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The position at which reading starts.
    pub position: Position,
    /// The current number of columns; replayed frames contain the earlier size changes.
    pub cols: u16,
    /// The current number of rows.
    pub rows: u16,
    /// The session's status.
    pub status: SessionStatus,
    /// The terminal title that the program set, or an empty string.
    pub title: String,
    /// The number of the last accepted input from this `writer`; 0 if there is none.
    pub input_seq: u64,
    /// The connection that determines the size.
    pub size_owner: Option<ConnectionId>,
    /// The way the program ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The number of the oldest history lines that the following snapshot omits.
    #[serde(skip_serializing_if = "is_zero")]
    pub history_omitted: u64,
    /// The window that the client asked for, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The retained history of a terminal: its lines, numbered from the start of the terminal's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryRange {
    /// The number of changes of columns. Each rewraps all lines and renumbers them, so line
    /// numbers of another generation are void.
    pub generation: u32,
    /// The number of the oldest retained line.
    pub first: u64,
    /// The number after the newest line: that of the first row of the screen.
    pub end: u64,
}

impl HistoryRange {
    /// Returns the number of lines.
    #[must_use]
    pub fn lines(self) -> u64 {
        self.end - self.first
    }
}

/// The payload of `history`: consecutive lines above the screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryPage {
    /// The session.
    pub session: SessionId,
    /// All retained lines, of which the page has a part.
    #[serde(flatten)]
    pub range: HistoryRange,
    /// The number of the page's first line.
    pub from: u64,
    /// The number after the page's last line. Equal to `from` if the page is empty.
    pub to: u64,
    /// The number of columns for which the lines are drawn.
    pub cols: u16,
    /// `true` if the first row continues the line before the page.
    pub continues: bool,
    /// `true` if the request named another generation: the page is empty, request it again.
    pub rewrapped: bool,
    /// The bytes that draw the lines on an empty terminal with `cols` columns.
    pub data: String,
}

/// The payload of `session`: a change that contains the changed fields only.
#[derive(Debug, Serialize)]
pub struct SessionUpdate {
    /// The session.
    pub session: SessionId,
    /// The new status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<SessionStatus>,
    /// The new number of columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cols: Option<u16>,
    /// The new number of rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u16>,
    /// The new terminal title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The connection that now determines the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_owner: Option<ConnectionId>,
    /// The way the program ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The reason of the end, unless the program ended by itself and without an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The number of the oldest history lines that the following snapshot omits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_omitted: Option<u64>,
    /// The lines above the following snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryRange>,
}

impl SessionUpdate {
    /// Creates an update without changes.
    #[must_use]
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            status: None,
            cols: None,
            rows: None,
            title: None,
            size_owner: None,
            exit: None,
            reason: None,
            history_omitted: None,
            history: None,
        }
    }
}
