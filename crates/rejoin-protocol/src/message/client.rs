//! Messages from a client to the server.

mod auth;
mod payload;
mod session;
mod topic;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::{
    auth::{AuthenticatePayload, ImplicitPositions, RefreshPayload},
    session::{
        AttachPayload, CreateSessionPayload, HistoryLines, HistoryPayload, InputPayload,
        OptionalSize, RequiredSize, ResizePayload, SessionRef, SignalPayload, Window,
    },
    topic::{PresencePayload, PublishPayload, SubscribePayload, TopicRef},
};
use crate::{ErrorCode, MessageId, message::ErrorBody};

/// The envelope of each message: `{"id"?, "type", "payload"?}`.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// The client's id for the message, echoed as `reply_to`.
    #[serde(default)]
    pub id: Option<MessageId>,
    /// The message type.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// The payload as raw JSON; [`parse`] reads it.
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// Parses the envelope of a text message.
    ///
    /// # Errors
    /// `malformed_json`, `missing_field` or `invalid_field`; the message names the wrong field.
    pub fn parse(text: &'a str) -> Result<Self, ErrorBody> {
        if !payload::is_object(text) {
            return Err(ErrorCode::MalformedJson.into());
        }

        // Malformed JSON keeps the line and column; a wrong field gets its name instead.
        serde_json::from_str(text).map_err(|error| {
            if error.classify() == serde_json::error::Category::Data {
                payload::explain::<Envelope<'_>>(text, &error)
            } else {
                ErrorBody::new(ErrorCode::MalformedJson, error.to_string())
            }
        })
    }
}

/// A built-in message with its parsed payload.
#[derive(Debug)]
#[expect(missing_docs, reason = "the variants are the types of docs/protocol.md")]
pub enum Request<'a> {
    Authenticate(AuthenticatePayload),
    Refresh(RefreshPayload),
    Ping,
    Heartbeat,
    Subscribe(SubscribePayload),
    Unsubscribe(TopicRef),
    ListSubscriptions,
    Publish(PublishPayload<'a>),
    Presence(PresencePayload),
    CreateSession(CreateSessionPayload),
    Attach(AttachPayload),
    Detach(SessionRef),
    Input(InputPayload),
    Resize(ResizePayload),
    Signal(SignalPayload),
    History(HistoryPayload),
    CloseSession(SessionRef),
    ReviveSession(SessionRef),
}

/// A payload whose fields are all ignored.
#[derive(Deserialize)]
struct AnyPayload {}

/// Parses the payload of a built-in type; returns `Ok(None)` for any other type.
///
/// ```
/// use rejoin_protocol::message::{Envelope, Request, parse};
///
/// let envelope = Envelope::parse(r#"{"id":"1","type":"ping"}"#)?;
/// assert!(matches!(parse(&envelope)?, Some(Request::Ping)));
///
/// let envelope = Envelope::parse(r#"{"type":"subscribe","payload":{}}"#)?;
/// assert_eq!(parse(&envelope).unwrap_err().message, "missing field `topic`");
/// # Ok::<(), rejoin_protocol::message::ErrorBody>(())
/// ```
///
/// # Errors
/// `missing_field` or `invalid_field`; the message names the field.
pub fn parse<'a>(envelope: &Envelope<'a>) -> Result<Option<Request<'a>>, ErrorBody> {
    use payload::read;

    // A missing payload counts as empty, so that the error names the missing field.
    let payload = envelope.payload.map_or("{}", RawValue::get);
    Ok(Some(match &*envelope.kind {
        "authenticate" => Request::Authenticate(read(payload)?),
        "refresh" => Request::Refresh(read(payload)?),
        "ping" => read::<AnyPayload>(payload).map(|_| Request::Ping)?,
        "heartbeat" => read::<AnyPayload>(payload).map(|_| Request::Heartbeat)?,
        "subscribe" => Request::Subscribe(read(payload)?),
        "unsubscribe" => Request::Unsubscribe(read(payload)?),
        "list_subscriptions" => read::<AnyPayload>(payload).map(|_| Request::ListSubscriptions)?,
        "publish" => Request::Publish(read(payload)?),
        "presence" => Request::Presence(read(payload)?),
        "create_session" => Request::CreateSession(read(payload)?),
        "attach" => Request::Attach(read(payload)?),
        "detach" => Request::Detach(read(payload)?),
        "input" => Request::Input(read(payload)?),
        "resize" => Request::Resize(read(payload)?),
        "signal" => Request::Signal(read(payload)?),
        "history" => Request::History(read(payload)?),
        "close_session" => Request::CloseSession(read(payload)?),
        "revive_session" => Request::ReviveSession(read(payload)?),
        _ => return Ok(None),
    }))
}

/// Returns `true` if a type is built in, so that no handler may register it.
#[must_use]
pub fn is_built_in(kind: &str) -> bool {
    // Without a payload most built-in types fail to parse, but only other types give `Ok(None)`.
    let envelope = Envelope { id: None, kind: kind.into(), payload: None };
    !matches!(parse(&envelope), Ok(None))
}
