//! The tables of close codes and error codes.
//!
//! The tables define the Rust types below. `cargo xtask codegen` writes `client/src/codes.ts` and
//! the tables in `docs/protocol-codes.md` from them.

use serde::{Deserialize, Serialize};

/// A row of the close code table.
#[derive(Clone, Copy, Debug)]
pub struct CloseCodeRow {
    /// The code in the close frame (RFC 6455 §7.4).
    pub code: u16,
    /// The code's name, sent as `reason` in `closing`.
    pub name: &'static str,
    /// True if the client should reconnect without user action.
    pub reconnect: bool,
    /// The meaning, for people.
    pub description: &'static str,
}

/// A row of the error code table.
#[derive(Clone, Copy, Debug)]
pub struct ErrorCodeRow {
    /// The code's name, sent as `code` in errors.
    pub code: &'static str,
    /// The code's number; each hundred is one group of causes.
    pub number: u16,
    /// True if the same request may succeed later.
    pub retryable: bool,
    /// The meaning, for people.
    pub description: &'static str,
}

macro_rules! close_codes {
    ($($variant:ident = $code:literal, $name:literal, $reconnect:literal, $description:literal;)*) => {
        /// The reason for closing a connection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum CloseCode {
            $(#[doc = $description] $variant = $code,)*
        }

        /// The close codes that the server sends.
        pub const CLOSE_CODES: &[CloseCodeRow] = &[$(CloseCodeRow {
            code: $code, name: $name, reconnect: $reconnect, description: $description,
        },)*];

        impl CloseCode {
            // In the order of `CLOSE_CODES`, so an index here is an index there.
            const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the code's row in the table.
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
        /// The reason for refusing a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[repr(u16)]
        pub enum ErrorCode {
            $(#[doc = $description] #[serde(rename = $name)] $variant = $number,)*
        }

        /// The error codes that the server sends.
        pub const ERROR_CODES: &[ErrorCodeRow] = &[$(ErrorCodeRow {
            code: $name, number: $number, retryable: $retryable, description: $description,
        },)*];

        impl ErrorCode {
            /// Returns the code's row in the table.
            #[must_use]
            pub fn row(self) -> &'static ErrorCodeRow {
                const VARIANTS: &[ErrorCode] = &[$(ErrorCode::$variant,)*];

                let index = VARIANTS.iter().position(|variant| *variant == self);
                &ERROR_CODES[index.expect("each variant has its row")]
            }
        }
    };
}

// 1000–2999 are defined by RFC 6455 §7.4. 4000–4499 ask the client to reconnect, 4500–4999 do not.
close_codes! {
    Normal = 1000, "normal", false, "The client closed the connection.";
    ProtocolViolation = 1002, "protocol_violation", false, "A frame broke RFC 6455, for example it was not masked.";
    InvalidText = 1007, "invalid_text", false, "A text message was not UTF-8.";
    MessageTooBig = 1009, "message_too_big", false, "A message was longer than `limits.max_message_bytes`.";
    Draining = 4000, "draining", true, "The server is stopping; reconnect after the time in `closing`.";
    HeartbeatMissed = 4001, "heartbeat_missed", true, "The server received nothing from the client for two heartbeat intervals, not even a pong.";
    TooSlow = 4002, "too_slow", true, "The client read or wrote too slowly: replies or a snapshot stayed unread, or a message stayed incomplete.";
    RateLimited = 4003, "rate_limited", true, "The client kept exceeding its rate limits.";
    Overloaded = 4004, "overloaded", true, "The server cannot accept the connection now.";
    Internal = 4005, "internal", true, "The server failed to handle a message; the cause is in its log.";
    AuthenticationFailed = 4500, "authentication_failed", false, "The token was refused.";
    AuthenticationTimedOut = 4501, "authentication_timed_out", false, "The client did not send `authenticate` within `limits.auth_timeout`.";
    TokenExpired = 4502, "token_expired", false, "The token has expired; log in again.";
    Forbidden = 4503, "forbidden", false, "The token does not allow this connection.";
    Disconnected = 4504, "disconnected", false, "An administrator, or the user from another device, ended the connection.";
    ProtocolError = 4505, "protocol_error", false, "A binary message had an invalid header or arrived before `authenticate`.";
    ConnectionLimit = 4506, "connection_limit", false, "The user has reached `limits.max_connections_per_user`.";
}

// 1xx: the message; 2xx: authentication; 3xx: rights and limits; 4xx: sessions, topics, paths;
// 5xx: the server. Clients know names and numbers, so neither may change or be reused.
error_codes! {
    MalformedJson = 100, "malformed_json", false, "The message is not a JSON object with a `type`.";
    MissingField = 101, "missing_field", false, "A required field is missing.";
    InvalidField = 102, "invalid_field", false, "A field has the wrong type or a value that is not allowed.";
    UnknownType = 103, "unknown_type", false, "No message type or handler has this name.";
    NotAuthenticated = 200, "not_authenticated", false, "The first message must be `authenticate`.";
    AuthenticationFailed = 201, "authentication_failed", false, "The token is malformed, unsigned, forged or issued for another audience.";
    AuthenticationTimedOut = 202, "authentication_timed_out", false, "The client did not send `authenticate` in time.";
    TokenExpired = 203, "token_expired", false, "The token has expired or is not valid yet.";
    AlreadyAuthenticated = 204, "already_authenticated", false, "The connection is already authenticated and keeps its user.";
    KeysUnavailable = 205, "keys_unavailable", true, "The issuer's keys cannot be fetched now, so no token can be verified.";
    TokenRevoked = 206, "token_revoked", false, "The token was revoked by an administrator.";
    Forbidden = 300, "forbidden", false, "The token does not allow this.";
    ConnectionLimit = 301, "connection_limit", false, "The user has reached the limit of connections.";
    TooManySubscriptions = 302, "too_many_subscriptions", false, "The connection has reached the limit of subscriptions and attachments.";
    TooManyTopics = 303, "too_many_topics", true, "The limit of topics is reached, in total or for this user.";
    TooManySessions = 304, "too_many_sessions", true, "The user has reached the limit of sessions.";
    TooManyTickets = 305, "too_many_tickets", true, "The limit of unused tickets is reached.";
    KeyReused = 306, "key_reused", false, "The idempotency key was used for a different request.";
    UnknownSession = 400, "unknown_session", false, "No session with this id is accessible to you.";
    UnknownTopic = 401, "unknown_topic", false, "No reserved topic has this name; names that begin with `@` are reserved.";
    UnknownProfile = 402, "unknown_profile", false, "The configuration has no profile with this name.";
    NotAttached = 403, "not_attached", false, "The connection is not attached to the session; attach first.";
    NotSubscribed = 404, "not_subscribed", false, "The connection is not subscribed to this topic.";
    ReadOnly = 405, "read_only", false, "A viewer cannot type, resize or close the session.";
    SessionEnded = 406, "session_ended", false, "The session's program has ended.";
    StartFailed = 407, "start_failed", false, "The profile's command could not be started.";
    InputFull = 408, "input_full", true, "The program does not read its input and the input queue is full; try again later.";
    InputOutOfOrder = 409, "input_out_of_order", true, "An earlier numbered input is missing; resend from that number.";
    UnknownConnection = 410, "unknown_connection", false, "No connection with this id is accessible to you.";
    NotFound = 411, "not_found", false, "Nothing exists at this path.";
    MethodNotAllowed = 412, "method_not_allowed", false, "The path does not support this method.";
    SessionExists = 413, "session_exists", false, "A session with this id already exists.";
    SessionNotLost = 414, "session_not_lost", false, "The session's program was not lost, or another session replaces it already.";
    Overloaded = 500, "overloaded", true, "The server has reached a limit; try again later.";
    Internal = 501, "internal", true, "The server failed; the cause is in its log.";
    RateLimited = 502, "rate_limited", true, "Too many requests in a short time; try again later.";
    TimedOut = 503, "timed_out", true, "The request was not completed in time; try again later.";
}

impl CloseCode {
    /// Returns the number in the close frame.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Returns the close code with this number, or `None` if the server never sends it.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.code() == code)
    }

    /// Returns `true` if the close revokes the connection's rights.
    ///
    /// Queued input of such a connection must not reach the program.
    #[must_use]
    pub fn revokes(self) -> bool {
        matches!(
            self,
            Self::AuthenticationFailed | Self::TokenExpired | Self::Forbidden | Self::Disconnected
        )
    }
}
