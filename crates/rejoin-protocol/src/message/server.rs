//! Messages from the server to a client.

mod auth;
mod session;
mod topic;

use serde::Serialize;
use serde_json::Value;

pub use self::{
    auth::{AuthRefused, AuthResult, ImplicitStreamStarts, StreamStart, TokenExpiring},
    session::{Attached, HistoryPage, HistoryRange, SessionAck, SessionUpdate},
    topic::{Gap, PublishAck, SubscribeAck, Subscriptions},
};
use crate::{
    MessageId,
    message::{ClosingNotice, ErrorBody, PresenceChange, PresenceState},
};

/// A message from the server, without `reply_to`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are the types of docs/protocol.md")]
pub enum ServerMessage {
    AuthResult(AuthResult),
    // Several variants share a wire type: the client knows from its request which one to expect.
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
    // Boxed, because these variants are much larger than the others.
    Attached(Box<Attached>),
    Session(Box<SessionUpdate>),
    History(Box<HistoryPage>),
    Gap(Gap),
    Closing(ClosingNotice),
    Error(ErrorBody),
}

/// A payload without fields.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Empty {}

/// The payload of `pong`, the reply to `ping`.
#[derive(Debug, Serialize)]
pub struct Pong {
    /// The server's time, in milliseconds since the Unix epoch.
    pub time: u64,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<&'a MessageId>,
    #[serde(flatten)]
    message: &'a ServerMessage,
}

/// Returns the JSON text of a message.
///
/// ```
/// use rejoin_protocol::message::{Pong, ServerMessage, text};
///
/// let pong = ServerMessage::Pong(Pong { time: 0 });
/// assert_eq!(text(None, &pong), r#"{"type":"pong","payload":{"time":0}}"#);
/// ```
#[must_use]
pub fn text(reply_to: Option<&MessageId>, message: &ServerMessage) -> String {
    match message {
        // The server sends one per published message, so this case skips the serializer.
        ServerMessage::Published(ack) => publish_ack_text(reply_to, ack),
        message => to_json(&Outgoing { reply_to, message }),
    }
}

/// Returns the JSON text of a message whose type and payload a handler chose.
#[must_use]
pub fn handler_text(reply_to: Option<&MessageId>, kind: &str, payload: &Value) -> String {
    #[derive(Serialize)]
    struct HandlerMessage<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        reply_to: Option<&'a MessageId>,
        r#type: &'a str,
        payload: &'a Value,
    }

    to_json(&HandlerMessage { reply_to, r#type: kind, payload })
}

fn publish_ack_text(reply_to: Option<&MessageId>, ack: &PublishAck) -> String {
    const FIXED_BYTES: usize = 100;

    let id_bytes = reply_to.map_or(0, |id| id.as_str().len());
    let mut text = String::with_capacity(FIXED_BYTES + id_bytes);
    text.push('{');

    if let Some(id) = reply_to {
        text.push_str("\"reply_to\":");
        // A message id contains no control characters, so JSON escapes these two bytes only.
        let needs_escape = id.as_str().bytes().any(|byte| matches!(byte, b'"' | b'\\'));
        if needs_escape {
            text.push_str(&to_json(id));
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

fn to_json(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("messages have string keys and finite numbers")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Position;

    proptest! {
        #[test]
        fn a_handwritten_ack_equals_the_serialized_one(
            id in prop::option::of("[ -~é]{1,20}"),
            epoch: u64,
            offset: u64,
        ) {
            let id = id.map(|id| MessageId::new(&id).unwrap());
            let position = Position { epoch, offset };
            let message = ServerMessage::Published(PublishAck { position });

            let expected = to_json(&Outgoing { reply_to: id.as_ref(), message: &message });
            prop_assert_eq!(text(id.as_ref(), &message), expected);
        }
    }
}
