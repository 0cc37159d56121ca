//! Sessions: the payloads of requests.

use std::num::NonZeroU32;

use serde::{Deserialize, Deserializer, de};

use crate::{
    Position, ProfileName, Role, SessionId, SessionKind, Signal, TerminalSize, WriterId, limits,
};

/// The payload of `create_session`.
#[derive(Debug, Deserialize)]
pub struct CreateSessionPayload {
    /// The session's kind; clients can create a `terminal` only.
    pub kind: SessionKind,
    /// The profile; `terminal` by default.
    #[serde(default)]
    pub profile: Option<ProfileName>,
    /// The session's name for people.
    #[serde(default, deserialize_with = "session_name")]
    pub name: Option<String>,
    /// The initial size.
    #[serde(flatten)]
    pub size: OptionalSize,
    /// The directory in which the program starts.
    #[serde(default)]
    pub cwd: Option<String>,
}

/// The payload of `attach`.
#[derive(Debug, Deserialize)]
pub struct AttachPayload {
    /// The session.
    pub session: SessionId,
    /// The last position, if the client resumes.
    #[serde(default)]
    pub position: Option<Position>,
    /// The requested rights.
    #[serde(default)]
    pub role: Role,
    /// The source of this client's numbered input; its numbers continue across reconnects.
    #[serde(default)]
    pub writer: Option<WriterId>,
    /// The bytes that the server may send ahead of the client's acknowledgements; no limit by
    /// default.
    #[serde(default)]
    pub window: Option<Window>,
    /// The size that the client can display.
    #[serde(flatten)]
    pub size: OptionalSize,
}

/// A payload that names a session.
#[derive(Debug, Deserialize)]
pub struct SessionRef {
    /// The session.
    pub session: SessionId,
}

/// The payload of `input`, the text form of input.
#[derive(Debug, Deserialize)]
pub struct InputPayload {
    /// The session.
    pub session: SessionId,
    /// The typed text.
    pub data: String,
    /// The input's number, counted from 1 without holes; it makes a retry idempotent.
    #[serde(default)]
    pub seq: Option<u64>,
}

/// The payload of `resize`.
#[derive(Debug, Deserialize)]
pub struct ResizePayload {
    /// The session.
    pub session: SessionId,
    /// The size that the client can display.
    #[serde(flatten)]
    pub size: RequiredSize,
}

/// The payload of `history`.
#[derive(Debug, Deserialize)]
pub struct HistoryPayload {
    /// The session.
    pub session: SessionId,
    /// The line before which the page ends; without it, the page ends above the screen.
    #[serde(default)]
    pub before: Option<u64>,
    /// The generation of `before`. Lines of an older one are not looked up.
    #[serde(default)]
    pub generation: Option<u32>,
    /// The most lines of the page.
    #[serde(default)]
    pub lines: HistoryLines,
}

/// A number of lines: 1 to [`MAX_HISTORY_LINES`](limits::MAX_HISTORY_LINES).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLines(pub u16);

/// A number of bytes: [`MIN_WINDOW_BYTES`](limits::MIN_WINDOW_BYTES) to
/// [`MAX_WINDOW_BYTES`](limits::MAX_WINDOW_BYTES).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(NonZeroU32);

/// The payload of `signal`.
#[derive(Debug, Deserialize)]
pub struct SignalPayload {
    /// The session.
    pub session: SessionId,
    /// The signal to send to the session's program.
    pub signal: Signal,
}

impl Window {
    /// Creates a window; `None` if the number is out of range.
    #[must_use]
    pub fn new(bytes: u32) -> Option<Self> {
        let range = limits::MIN_WINDOW_BYTES..=limits::MAX_WINDOW_BYTES;
        NonZeroU32::new(bytes).filter(|bytes| range.contains(&bytes.get())).map(Self)
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.0.get()
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (min, max) = (limits::MIN_WINDOW_BYTES, limits::MAX_WINDOW_BYTES);
        let bytes = u64::deserialize(deserializer).ok().and_then(|bytes| u32::try_from(bytes).ok());
        bytes.and_then(Self::new).ok_or_else(|| {
            de::Error::custom(format!("must be a whole number of bytes from {min} to {max}"))
        })
    }
}

impl Default for HistoryLines {
    fn default() -> Self {
        Self(limits::DEFAULT_HISTORY_LINES)
    }
}

impl<'de> Deserialize<'de> for HistoryLines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let max = limits::MAX_HISTORY_LINES;
        let lines = u64::deserialize(deserializer);
        let lines = lines.ok().and_then(|lines| u16::try_from(lines).ok());
        let lines = lines.filter(|lines| (1..=max).contains(lines));
        lines
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("must be a whole number from 1 to {max}")))
    }
}

/// The fields `cols` and `rows`, either both or neither.
#[derive(Clone, Copy, Debug, Default)]
pub struct OptionalSize(pub Option<TerminalSize>);

/// The fields `cols` and `rows`.
#[derive(Clone, Copy, Debug)]
pub struct RequiredSize(pub TerminalSize);

#[derive(Deserialize)]
struct SizeFields {
    #[serde(default, deserialize_with = "cells")]
    cols: Option<i64>,
    #[serde(default, deserialize_with = "cells")]
    rows: Option<i64>,
}

// The fields are 64 bits wide so that one error message covers every out-of-range number.
fn cells<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Option::deserialize(deserializer)
        .map_err(|_: D::Error| de::Error::custom("`cols` and `rows` must be whole numbers"))
}

impl<'de> Deserialize<'de> for OptionalSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = SizeFields::deserialize(deserializer)?;
        let (cols, rows) = match (fields.cols, fields.rows) {
            (None, None) => return Ok(Self(None)),
            (Some(cols), Some(rows)) => (cols, rows),
            (Some(_), None) => return Err(de::Error::missing_field("rows")),
            (None, Some(_)) => return Err(de::Error::missing_field("cols")),
        };

        // The message quotes the client's numbers, so they are narrowed only now.
        let narrow = |cells: i64| u16::try_from(cells).ok();
        let size = narrow(cols).zip(narrow(rows));
        let size = size.and_then(|(cols, rows)| TerminalSize::new(cols, rows));
        let size = size.ok_or_else(|| {
            let (max_cols, max_rows) = (limits::MAX_COLS, limits::MAX_ROWS);
            de::Error::custom(format!(
                "`cols` must be 1 to {max_cols} and `rows` 1 to {max_rows}, not {cols} and {rows}"
            ))
        })?;

        Ok(Self(Some(size)))
    }
}

impl<'de> Deserialize<'de> for RequiredSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let OptionalSize(size) = OptionalSize::deserialize(deserializer)?;
        size.map(Self).ok_or_else(|| de::Error::missing_field("cols"))
    }
}

fn session_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    let max = limits::MAX_SESSION_NAME_BYTES;

    match name {
        Some(name) if name.len() > max || name.chars().any(char::is_control) => Err(
            de::Error::custom(format!("must be at most {max} bytes without control characters")),
        ),
        // Forms send an empty field for "no name".
        name => Ok(name.filter(|name| !name.is_empty())),
    }
}
