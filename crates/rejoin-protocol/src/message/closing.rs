//! The notice that precedes a close by the server.

use serde::Serialize;

use crate::CloseCode;

/// The payload of `closing`, which the server sends before it closes a connection.
#[derive(Debug, Serialize)]
pub struct ClosingNotice {
    /// The close code that follows.
    pub code: u16,
    /// The name of the close code.
    pub reason: &'static str,
    /// The delay before a reconnect, in milliseconds.
    ///
    /// It is absent if the client should not reconnect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconnect_after_ms: Option<u64>,
    /// The upper bound of an additional random delay, in milliseconds.
    ///
    /// It spreads the reconnects of all clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
}

impl ClosingNotice {
    /// Creates the notice for a close code.
    ///
    /// The notice contains the two times only if the code asks the client to reconnect.
    #[must_use]
    pub fn new(code: CloseCode, reconnect_after_ms: u64, window_ms: u64) -> Self {
        let row = code.row();
        Self {
            code: row.code,
            reason: row.name,
            reconnect_after_ms: row.reconnect.then_some(reconnect_after_ms),
            window_ms: row.reconnect.then_some(window_ms),
        }
    }
}
