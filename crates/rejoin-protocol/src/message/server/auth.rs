//! Authentication: the result, and the streams that start with it.

use serde::Serialize;

use crate::{ConnectionId, Position, UserId, Verdict, message::ErrorBody};

/// The payload of a successful `auth_result`.
///
/// It answers `authenticate` and `refresh`. Without a request it is the first message of a
/// connection that authenticated during the HTTP upgrade.
#[derive(Debug, Serialize)]
pub struct AuthResult {
    /// Always true; a refusal is an [`AuthRefused`].
    pub authenticated: bool,
    /// The token's user.
    pub user_id: UserId,
    /// The connection's id.
    pub connection_id: ConnectionId,
    /// The heartbeat interval, in milliseconds.
    pub heartbeat_ms: u64,
    /// The token's expiry, in milliseconds since the Unix epoch.
    pub expires_at: Option<u64>,
    /// The starts of the implicit streams; absent in the answer to `refresh`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<ImplicitStreamStarts>,
}

/// The payload of an `auth_result` that refuses the token; `closing` follows.
#[derive(Debug, Serialize)]
pub struct AuthRefused {
    authenticated: bool,
    error: ErrorBody,
}

impl AuthRefused {
    /// Creates a refusal with this error.
    #[must_use]
    pub fn new(error: ErrorBody) -> Self {
        Self { authenticated: false, error }
    }
}

/// The starts of the streams that each connection reads without subscribing.
#[derive(Debug, Serialize)]
pub struct ImplicitStreamStarts {
    /// The stream of messages to all users.
    #[serde(rename = "@all")]
    pub all: StreamStart,
    /// The stream of messages to the user.
    #[serde(rename = "@user")]
    pub user: StreamStart,
    /// The stream of messages to the device; absent if the connection has no device id.
    #[serde(rename = "@device", skip_serializing_if = "Option::is_none")]
    pub device: Option<StreamStart>,
}

/// The start of a reader in an implicit stream.
#[derive(Debug, Serialize)]
pub struct StreamStart {
    /// The result of the resume.
    pub verdict: Verdict,
    /// The number of older frames that follow.
    pub replayed: u64,
    /// The number of lost frames; only after a gap of known size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// The cause of the gap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The position at which reading starts.
    pub position: Position,
}

/// The payload of `token_expiring`; clients reply with `refresh`.
#[derive(Debug, Serialize)]
pub struct TokenExpiring {
    /// The expiry, in milliseconds since the Unix epoch; the server then closes with 4502.
    pub expires_at: u64,
}
