//! The codes that a client can see: close codes and error codes, one table each.
//!
//! The tables make the Rust types here, `client/src/codes.ts` and the tables in
//! `docs/protocol.md` (`cargo xtask codegen`).

use serde::{Deserialize, Serialize};

/// A row of the table of close codes.
#[derive(Clone, Copy, Debug)]
pub struct CloseCodeRow {
    /// The code in the close frame (RFC 6455 §7.4).
    pub code: u16,
    /// Its name.
    pub name: &'static str,
    /// Whether the client should come back by itself.
    pub reconnect: bool,
    /// What it means, for people.
    pub description: &'static str,
}

/// A row of the table of error codes.
#[derive(Clone, Copy, Debug)]
pub struct ErrorCodeRow {
    /// The name that travels in `error.code`.
    pub code: &'static str,
    /// Its number, in groups of a hundred.
    pub number: u16,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What it means, for people.
    pub description: &'static str,
}

macro_rules! close_codes {
    ($($variant:ident = $code:literal, $name:literal, $reconnect:literal, $description:literal;)*) => {
        /// Why a connection is closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum CloseCode {
            $(#[doc = $description] $variant = $code,)*
        }

        /// All close codes that this server sends.
        pub const CLOSE_CODES: &[CloseCodeRow] = &[$(CloseCodeRow {
            code: $code, name: $name, reconnect: $reconnect, description: $description,
        },)*];

        impl CloseCode {
            const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code's row.
            #[must_use]
            pub fn row(self) -> &'static CloseCodeRow {
                let index = Self::ALL.iter().position(|variant| *variant == self);
                &CLOSE_CODES[index.expect("each variant has its row")]
            }
        }
    };
}

macro_rules! error_codes {
    ($($variant:ident = $number:literal, $name:literal, $retryable:literal, $description:literal;)*) => {
        /// What was wrong with a message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[repr(u16)]
        pub enum ErrorCode {
            $(#[doc = $description] #[serde(rename = $name)] $variant = $number,)*
        }

        /// All error codes that this server sends.
        pub const ERROR_CODES: &[ErrorCodeRow] = &[$(ErrorCodeRow {
            code: $name, number: $number, retryable: $retryable, description: $description,
        },)*];

        impl ErrorCode {
            /// The code's row.
            #[must_use]
            pub fn row(self) -> &'static ErrorCodeRow {
                const VARIANTS: &[ErrorCode] = &[$(ErrorCode::$variant,)*];
                let index = VARIANTS.iter().position(|variant| *variant == self);
                &ERROR_CODES[index.expect("each variant has its row")]
            }
        }
    };
}

close_codes! {
    Normal = 1000, "normal", false, "The client closed the connection.";
    ProtocolViolation = 1002, "protocol_violation", false, "A frame broke RFC 6455, for example it was not masked.";
    InvalidText = 1007, "invalid_text", false, "A text message was not UTF-8.";
    MessageTooBig = 1009, "message_too_big", false, "A message was longer than `limits.max_message_bytes`.";
    Draining = 4000, "draining", true, "The server is stopping; come back when it says.";
    HeartbeatMissed = 4001, "heartbeat_missed", true, "Nothing was heard from the client for two heartbeats, not even a pong.";
    TooSlow = 4002, "too_slow", true, "The client read or wrote too slowly: replies or a snapshot waited unread, or a message was never finished.";
    RateLimited = 4003, "rate_limited", true, "The client went on sending far beyond its limits.";
    Overloaded = 4004, "overloaded", true, "The server cannot take the connection now.";
    Internal = 4005, "internal", true, "The server failed to handle a message; its log has the reason.";
    AuthenticationFailed = 4500, "authentication_failed", false, "The token was refused.";
    AuthenticationTimedOut = 4501, "authentication_timed_out", false, "No `authenticate` came within `limits.auth_timeout`.";
    TokenExpired = 4502, "token_expired", false, "The token has expired; log in again.";
    Forbidden = 4503, "forbidden", false, "The token does not allow this connection.";
    Disconnected = 4504, "disconnected", false, "An administrator, or the user from another device, ended the connection.";
    ProtocolError = 4505, "protocol_error", false, "A binary message had no valid head, or came before `authenticate`.";
    ConnectionLimit = 4506, "connection_limit", false, "The user has as many connections as `limits.max_connections_per_user` allows.";
}

error_codes! {
    MalformedJson = 100, "malformed_json", false, "The message is not a JSON object with a `type`.";
    MissingField = 101, "missing_field", false, "A field that the type needs is missing.";
    InvalidField = 102, "invalid_field", false, "A field has the wrong type or a value that is not allowed.";
    UnknownType = 103, "unknown_type", false, "No message type or handler has this name.";
    NotAuthenticated = 200, "not_authenticated", false, "The first message must be `authenticate`.";
    AuthenticationFailed = 201, "authentication_failed", false, "The token is malformed, unsigned, forged or made for somebody else.";
    AuthenticationTimedOut = 202, "authentication_timed_out", false, "No `authenticate` came in time.";
    TokenExpired = 203, "token_expired", false, "The token has expired, or is not valid yet.";
    AlreadyAuthenticated = 204, "already_authenticated", false, "The connection is authenticated; it keeps its user.";
    KeysUnavailable = 205, "keys_unavailable", true, "The issuer's keys cannot be fetched now, so no token can be verified.";
    TokenRevoked = 206, "token_revoked", false, "The token was revoked by an administrator.";
    Forbidden = 300, "forbidden", false, "The token does not allow this.";
    ConnectionLimit = 301, "connection_limit", false, "The user has as many connections as allowed.";
    TooManySubscriptions = 302, "too_many_subscriptions", false, "The connection has as many subscriptions and attachments as allowed.";
    TooManyTopics = 303, "too_many_topics", true, "There are as many topics as allowed, in all or of this user's making.";
    TooManySessions = 304, "too_many_sessions", true, "The user has as many sessions as allowed.";
    TooManyTickets = 305, "too_many_tickets", true, "There are as many unused tickets as allowed.";
    KeyReused = 306, "key_reused", false, "The idempotency key was used with another request.";
    UnknownSession = 400, "unknown_session", false, "No session has this id, or it is not yours.";
    UnknownTopic = 401, "unknown_topic", false, "The server has no topic of its own by this name; names with `@` are its own.";
    UnknownProfile = 402, "unknown_profile", false, "The configuration has no profile by this name.";
    NotAttached = 403, "not_attached", false, "Attach to the session first.";
    NotSubscribed = 404, "not_subscribed", false, "The connection does not subscribe to this topic.";
    ReadOnly = 405, "read_only", false, "A viewer cannot type, resize or close.";
    SessionEnded = 406, "session_ended", false, "The session's program has ended.";
    StartFailed = 407, "start_failed", false, "The profile's command could not be started.";
    InputFull = 408, "input_full", true, "The program does not read its input, and the queue is full.";
    InputOutOfOrder = 409, "input_out_of_order", true, "A numbered input is missing before this one; send again from there.";
    UnknownConnection = 410, "unknown_connection", false, "No connection has this id, or it is not yours.";
    NotFound = 411, "not_found", false, "There is nothing at this path.";
    MethodNotAllowed = 412, "method_not_allowed", false, "The path does not take this method.";
    SessionExists = 413, "session_exists", false, "A session with this id is there already.";
    Overloaded = 500, "overloaded", true, "The server has as much as it may have; try again later.";
    Internal = 501, "internal", true, "Something failed on the server; its log has the reason.";
    RateLimited = 502, "rate_limited", true, "Too much was sent in too short a time; try again later.";
    TimedOut = 503, "timed_out", true, "Whoever should have answered did not do so in time.";
}

impl CloseCode {
    /// The number in the close frame.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The close code of this number, if this server sends it.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.code() == code)
    }

    /// Whether the close takes rights back: input that waits for a program is dropped with it.
    #[must_use]
    pub fn revokes(self) -> bool {
        matches!(
            self,
            Self::AuthenticationFailed | Self::TokenExpired | Self::Forbidden | Self::Disconnected
        )
    }
}
