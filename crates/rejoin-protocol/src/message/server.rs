//! What the server says.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::{
    CloseCode, ConnectionId, ErrorCode, Exit, MessageId, Position, Role, SessionId, SessionInfo,
    SessionStatus, StreamNumber, TopicName, UserId, Verdict,
    limits::MAX_ERROR_BYTES,
    message::{PresenceChange, PresenceState},
};

/// A message of the server, without the envelope's `reply_to`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are the types of docs/protocol.md")]
pub enum ServerMessage {
    AuthResult(AuthResult),
    #[serde(rename = "auth_result")]
    AuthRefused(AuthRefused),
    Pong(Pong),
    Heartbeat(Empty),
    #[serde(rename = "ack")]
    Subscribed(SubscribeAck),
    #[serde(rename = "ack")]
    Published(PublishAck),
    #[serde(rename = "ack")]
    SessionCreated(SessionAck),
    Ack(Empty),
    Subscriptions(Subscriptions),
    Presence(PresenceState),
    #[serde(rename = "presence")]
    PresenceChanged(PresenceChange),
    TokenExpiring(TokenExpiring),
    Attached(Box<Attached>),
    Session(Box<SessionUpdate>),
    Gap(Gap),
    Closing(ClosingNotice),
    Error(ErrorBody),
}

/// The text of a message.
#[must_use]
pub fn text(reply_to: Option<&MessageId>, message: &ServerMessage) -> String {
    match message {
        // Sent for each message that is published.
        ServerMessage::Published(ack) => published(reply_to, ack),
        message => write(&Outgoing { reply_to, message }),
    }
}

/// The same text, laid out by hand.
fn published(reply_to: Option<&MessageId>, ack: &PublishAck) -> String {
    const FIXED_BYTES: usize = 100;
    let id_bytes = reply_to.map_or(0, |id| id.as_str().len());
    let mut text = String::with_capacity(FIXED_BYTES + id_bytes);
    text.push('{');
    if let Some(id) = reply_to {
        text.push_str("\"reply_to\":");
        let needs_escape = id.as_str().bytes().any(|byte| matches!(byte, b'"' | b'\\'));
        if needs_escape {
            text.push_str(&write(id));
        } else {
            text.push('"');
            text.push_str(id.as_str());
            text.push('"');
        }
        text.push(',');
    }
    text.push_str("\"type\":\"ack\",\"payload\":{\"position\":\"");
    ack.position.append_to(&mut text);
    text.push_str("\"}}");
    text
}

/// The text of a message whose type and payload a handler made.
#[must_use]
pub fn handler_text(reply_to: Option<&MessageId>, kind: &str, payload: &Value) -> String {
    #[derive(Serialize)]
    struct HandlerMessage<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        reply_to: Option<&'a MessageId>,
        r#type: &'a str,
        payload: &'a Value,
    }
    write(&HandlerMessage { reply_to, r#type: kind, payload })
}

fn write(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("messages have string keys and finite numbers")
}

#[derive(Serialize)]
struct Outgoing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<&'a MessageId>,
    #[serde(flatten)]
    message: &'a ServerMessage,
}

/// A payload without fields.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Empty {}

/// The answer to `authenticate`, or the first message after a header did it.
#[derive(Debug, Serialize)]
pub struct AuthResult {
    /// True; a refusal is an [`AuthRefused`].
    pub authenticated: bool,
    /// Who the token says that it is.
    pub user_id: UserId,
    /// The connection's id.
    pub connection_id: ConnectionId,
    /// How often something is heard from a living peer, in milliseconds.
    pub heartbeat_ms: u64,
    /// When the token expires, in milliseconds since the epoch.
    pub expires_at: Option<u64>,
    /// Where reading begins in the streams that each connection reads unasked; absent where the
    /// connection had begun before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<ImplicitStreamStarts>,
}

/// The answer to an `authenticate` that is refused; `closing` follows.
#[derive(Debug, Serialize)]
pub struct AuthRefused {
    authenticated: bool,
    error: ErrorBody,
}

impl AuthRefused {
    /// A refusal for this reason.
    #[must_use]
    pub fn new(error: ErrorBody) -> Self {
        Self { authenticated: false, error }
    }
}

/// The streams that a connection reads unasked, and how reading them begins.
#[derive(Debug, Serialize)]
pub struct ImplicitStreamStarts {
    /// What is said to everyone.
    #[serde(rename = "@all")]
    pub all: StreamStart,
    /// What is said to the user.
    #[serde(rename = "@user")]
    pub user: StreamStart,
    /// What is said to the device, if the connection names one.
    #[serde(rename = "@device", skip_serializing_if = "Option::is_none")]
    pub device: Option<StreamStart>,
}

/// How the reading of a stream begins.
#[derive(Debug, Serialize)]
pub struct StreamStart {
    /// How it went.
    pub verdict: Verdict,
    /// How many frames follow that were there before.
    pub replayed: u64,
    /// With a gap: how many frames are gone, if that can be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// With a gap: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Where reading begins.
    pub position: Position,
}

/// A token that ends soon: `refresh` with a new one.
#[derive(Debug, Serialize)]
pub struct TokenExpiring {
    /// When it ends, in milliseconds since the epoch; the connection is closed then (4502).
    pub expires_at: u64,
}

/// The answer to `ping`.
#[derive(Debug, Serialize)]
pub struct Pong {
    /// The server's time, in milliseconds since the epoch.
    pub time: u64,
}

/// The answer to `subscribe`.
#[derive(Debug, Serialize)]
pub struct SubscribeAck {
    /// The topic.
    pub topic: TopicName,
    /// How it went.
    pub verdict: Verdict,
    /// How many frames follow that were there before.
    pub replayed: u64,
    /// With a gap: how many frames are gone, if that can be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// With a gap: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Where reading begins.
    pub position: Position,
}

/// The answer to `publish`.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize)]
pub struct PublishAck {
    /// The position after the published frame.
    pub position: Position,
}

/// The answer to `create_session`.
#[derive(Debug, Serialize)]
pub struct SessionAck {
    /// The new session.
    pub session: Box<SessionInfo>,
}

/// The answer to `list_subscriptions`.
#[derive(Debug, Serialize)]
pub struct Subscriptions {
    /// The topics, sorted.
    pub subscriptions: Vec<TopicName>,
}

/// The answer to `attach`.
#[derive(Debug, Serialize)]
pub struct Attached {
    /// The session.
    pub session: SessionId,
    /// The number of its stream in binary messages.
    pub stream: StreamNumber,
    /// What this connection may do.
    pub role: Role,
    /// How it went.
    pub verdict: Verdict,
    /// How many frames follow that were there before.
    pub replayed: u64,
    /// With a snapshot instead of a resume: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Where reading begins.
    pub position: Position,
    /// The session's columns now; a replay says in its order how they came about.
    pub cols: u16,
    /// The session's rows now.
    pub rows: u16,
    /// Where the session is in its life.
    pub status: SessionStatus,
    /// What the program calls itself.
    pub title: String,
    /// The last input that was taken from this `writer`; 0 if none.
    pub input_seq: u64,
    /// The connection whose size counts.
    pub size_owner: Option<ConnectionId>,
    /// How its program ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Lines of the history, the oldest ones, that are not in the snapshot which follows.
    #[serde(skip_serializing_if = "is_zero")]
    pub history_omitted: u64,
}

/// A change of a session; only what changed is there.
#[derive(Debug, Serialize)]
pub struct SessionUpdate {
    /// The session.
    pub session: SessionId,
    /// Where it is in its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<SessionStatus>,
    /// Columns from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cols: Option<u16>,
    /// Rows from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u16>,
    /// What the program calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The connection whose size counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_owner: Option<ConnectionId>,
    /// How its program ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Why it is in `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Before a snapshot: lines of the history, the oldest ones, that are not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_omitted: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl SessionUpdate {
    /// An update without any change yet.
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
        }
    }
}

/// Frames that a slow subscriber will not get.
#[derive(Debug, Serialize)]
pub struct Gap {
    /// The topic.
    pub topic: TopicName,
    /// How many frames are gone.
    pub missed: u64,
    /// Why.
    pub reason: &'static str,
    /// Where reading goes on.
    pub position: Position,
}

/// What is said before the server closes a connection.
#[derive(Debug, Serialize)]
pub struct ClosingNotice {
    /// The close code that follows.
    pub code: u16,
    /// Its name.
    pub reason: &'static str,
    /// How long to wait before coming back; absent if coming back is pointless.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconnect_after_ms: Option<u64>,
    /// Add a random part of this, so that not all come back at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
}

impl ClosingNotice {
    /// The notice for a code; when to come back is said only where coming back is right.
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

/// What went wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    /// The row of the code table.
    pub code: ErrorCode,
    /// What is wrong and what is allowed, for people.
    pub message: Cow<'static, str>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl ErrorBody {
    /// An error with a sentence of its own, cut to [`MAX_ERROR_BYTES`]: it may repeat a part of
    /// the request.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_ERROR_BYTES {
            const CUT: &str = " [...]";
            let end = message.floor_char_boundary(MAX_ERROR_BYTES - CUT.len());
            message = Cow::Owned([&message[..end], CUT].concat());
        }
        Self { code, message, retryable: code.row().retryable }
    }
}

impl From<ErrorCode> for ErrorBody {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.row().description)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_ack_laid_out_by_hand_is_what_the_serializer_writes(
            id in prop::option::of("[ -~é]{1,20}"),
            epoch: u64,
            offset: u64,
        ) {
            let id = id.map(|id| MessageId::new(&id).unwrap());
            let position = Position { epoch, offset };
            let message = ServerMessage::Published(PublishAck { position });
            let expected = write(&Outgoing { reply_to: id.as_ref(), message: &message });
            prop_assert_eq!(text(id.as_ref(), &message), expected);
        }
    }
}
