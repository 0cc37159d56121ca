//! What a client says.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use crate::{
    DeviceId, DeviceName, ErrorCode, MessageId, Position, ProfileName, RequestKey, Role, SessionId,
    SessionKind, Signal, Subject, TerminalSize, TopicName, WriterId, limits, message::ErrorBody,
};

/// The outside of each message: `{"id"?, "type", "payload"?}`.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// The client's number for it, echoed as `reply_to`.
    #[serde(default)]
    pub id: Option<MessageId>,
    /// What it is.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// What it carries.
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// Reads a text message's outside.
    ///
    /// # Errors
    /// `malformed_json`, `missing_field` or `invalid_field`, with what is wrong and where.
    pub fn parse(text: &'a str) -> Result<Self, ErrorBody> {
        if !is_object(text) {
            return Err(ErrorCode::MalformedJson.into());
        }
        serde_json::from_str(text).map_err(|error| {
            if error.classify() == serde_json::error::Category::Data {
                explain::<Envelope<'_>>(text).unwrap_or_else(|| error_body(&error, ""))
            } else {
                ErrorBody::new(ErrorCode::MalformedJson, error.to_string())
            }
        })
    }
}

/// A built-in message, its payload read.
#[derive(Debug)]
#[expect(missing_docs, reason = "the variants are the types of docs/protocol.md")]
pub enum Request<'a> {
    Authenticate(AuthenticateRequest),
    Refresh(RefreshRequest),
    Ping,
    Heartbeat,
    Subscribe(SubscribeRequest),
    Unsubscribe(TopicRef),
    ListSubscriptions,
    Publish(PublishRequest<'a>),
    Presence(PresenceRequest),
    CreateSession(CreateSessionRequest),
    Attach(AttachRequest),
    Detach(SessionRef),
    Input(InputRequest),
    Resize(ResizeRequest),
    Signal(SignalRequest),
    CloseSession(SessionRef),
}

/// Reads the payload of a built-in type; `Ok(None)` if the type is not built in.
///
/// # Errors
/// `missing_field` or `invalid_field`, naming the field.
pub fn parse<'a>(envelope: &Envelope<'a>) -> Result<Option<Request<'a>>, ErrorBody> {
    let payload = envelope.payload.map_or("{}", RawValue::get);
    Ok(Some(match &*envelope.kind {
        "authenticate" => Request::Authenticate(read(payload)?),
        "refresh" => Request::Refresh(read(payload)?),
        "ping" => read::<Nothing>(payload).map(|Nothing {}| Request::Ping)?,
        "heartbeat" => read::<Nothing>(payload).map(|Nothing {}| Request::Heartbeat)?,
        "subscribe" => Request::Subscribe(read(payload)?),
        "unsubscribe" => Request::Unsubscribe(read(payload)?),
        "list_subscriptions" => {
            read::<Nothing>(payload).map(|Nothing {}| Request::ListSubscriptions)?
        }
        "publish" => Request::Publish(read(payload)?),
        "presence" => Request::Presence(read(payload)?),
        "create_session" => Request::CreateSession(read(payload)?),
        "attach" => Request::Attach(read(payload)?),
        "detach" => Request::Detach(read(payload)?),
        "input" => Request::Input(read(payload)?),
        "resize" => Request::Resize(read(payload)?),
        "signal" => Request::Signal(read(payload)?),
        "close_session" => Request::CloseSession(read(payload)?),
        _ => return Ok(None),
    }))
}

/// Whether a type is built in, so that no handler may take it.
#[must_use]
pub fn is_built_in(kind: &str) -> bool {
    let envelope = Envelope { id: None, kind: kind.into(), payload: None };
    !matches!(parse(&envelope), Ok(None))
}

/// The payload of a message that needs none.
#[derive(Deserialize)]
struct Nothing {}

/// The payload of `authenticate`.
#[derive(Deserialize)]
pub struct AuthenticateRequest {
    /// A JWT.
    pub token: String,
    /// Which device this is; the token's word wins.
    #[serde(default)]
    pub device_id: Option<DeviceId>,
    /// What the person calls it.
    #[serde(default)]
    pub device_name: Option<DeviceName>,
    /// Where the client was in the streams that it reads unasked, if it comes back.
    #[serde(default)]
    pub positions: ImplicitPositions,
}

/// Positions in the streams that each connection reads unasked.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct ImplicitPositions {
    /// In what is said to everyone.
    #[serde(default, rename = "@all")]
    pub all: Option<Position>,
    /// In what is said to the user.
    #[serde(default, rename = "@user")]
    pub user: Option<Position>,
    /// In what is said to the device.
    #[serde(default, rename = "@device")]
    pub device: Option<Position>,
}

/// The payload of `refresh`.
#[derive(Deserialize)]
pub struct RefreshRequest {
    /// A JWT of the same user.
    pub token: String,
}

// The token must not reach a log through `{:?}`.
impl std::fmt::Debug for RefreshRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshRequest").finish_non_exhaustive()
    }
}

// The token must not reach a log through `{:?}`.
impl std::fmt::Debug for AuthenticateRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthenticateRequest")
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

/// The payload of `subscribe`.
#[derive(Debug, Deserialize)]
pub struct SubscribeRequest {
    /// The topic.
    pub topic: TopicName,
    /// Where the client was, if it comes back.
    #[serde(default)]
    pub position: Option<Position>,
}

/// A payload that names a topic.
#[derive(Debug, Deserialize)]
pub struct TopicRef {
    /// The topic.
    pub topic: TopicName,
}

/// The payload of `publish`.
#[derive(Debug, Deserialize)]
pub struct PublishRequest<'a> {
    /// The topic.
    pub topic: TopicName,
    /// Any JSON, passed on as it is.
    #[serde(borrow)]
    pub data: &'a RawValue,
    /// Makes a retry within five minutes harmless: it is answered, and not published again.
    #[serde(default)]
    pub key: Option<RequestKey>,
}

/// The payload of `presence`.
#[derive(Debug, Deserialize)]
pub struct PresenceRequest {
    /// Who or what is asked about.
    #[serde(flatten)]
    pub subject: Subject,
    /// Whether to be told of changes from here on: `true` or `false`; if absent, as it was.
    #[serde(default)]
    pub follow: Option<bool>,
}

/// The payload of `create_session`.
#[derive(Debug, Deserialize)]
pub struct CreateSessionRequest {
    /// Its kind; `terminal` is what can be made by request.
    pub kind: SessionKind,
    /// The profile; `terminal` if none is named.
    #[serde(default)]
    pub profile: Option<ProfileName>,
    /// What the person calls it.
    #[serde(default, deserialize_with = "session_name")]
    pub name: Option<String>,
    /// Its first size.
    #[serde(flatten)]
    pub size: OptionalSize,
    /// Where the program starts.
    #[serde(default)]
    pub cwd: Option<String>,
}

/// The payload of `attach`.
#[derive(Debug, Deserialize)]
pub struct AttachRequest {
    /// The session.
    pub session: SessionId,
    /// Where the client was, if it comes back.
    #[serde(default)]
    pub position: Option<Position>,
    /// What it wants to do.
    #[serde(default)]
    pub role: Role,
    /// Who numbers this client's input; its numbers go on across reconnects.
    #[serde(default)]
    pub writer: Option<WriterId>,
    /// The size that the client can show.
    #[serde(flatten)]
    pub size: OptionalSize,
}

/// A payload that names a session.
#[derive(Debug, Deserialize)]
pub struct SessionRef {
    /// The session.
    pub session: SessionId,
}

/// The payload of `input` in its text form.
#[derive(Debug, Deserialize)]
pub struct InputRequest {
    /// The session.
    pub session: SessionId,
    /// What was typed.
    pub data: String,
    /// Its number, from 1 without holes; makes a retry harmless.
    #[serde(default)]
    pub seq: Option<u64>,
}

/// The payload of `resize`.
#[derive(Debug, Deserialize)]
pub struct ResizeRequest {
    /// The session.
    pub session: SessionId,
    /// The size that the client can show.
    #[serde(flatten)]
    pub size: RequiredSize,
}

/// The payload of `signal`.
#[derive(Debug, Deserialize)]
pub struct SignalRequest {
    /// The session.
    pub session: SessionId,
    /// What its program is sent.
    pub signal: Signal,
}

/// `cols` and `rows`, both or neither.
#[derive(Clone, Copy, Debug, Default)]
pub struct OptionalSize(pub Option<TerminalSize>);

/// `cols` and `rows`.
#[derive(Clone, Copy, Debug)]
pub struct RequiredSize(pub TerminalSize);

#[derive(Deserialize)]
struct SizeFields {
    #[serde(default, deserialize_with = "cells")]
    cols: Option<i64>,
    #[serde(default, deserialize_with = "cells")]
    rows: Option<i64>,
}

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
        Some(name) if name.len() > max || name.chars().any(char::is_control) => {
            Err(de::Error::custom(format!("must be at most {max} bytes, no control characters")))
        }
        name => Ok(name.filter(|name| !name.is_empty())),
    }
}

fn read<'a, T: Deserialize<'a>>(payload: &'a str) -> Result<T, ErrorBody> {
    if !is_object(payload) {
        return Err(ErrorBody::new(ErrorCode::InvalidField, "`payload` must be an object"));
    }
    serde_json::from_str(payload)
        .map_err(|error| explain::<T>(payload).unwrap_or_else(|| error_body(&error, "")))
}

/// Whether a JSON text is an object; serde would take an array's elements for fields.
fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

/// Reads again, slowly, to say which field was wrong.
fn explain<'a, T: Deserialize<'a>>(json: &'a str) -> Option<ErrorBody> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let error = serde_path_to_error::deserialize::<_, T>(&mut deserializer).err()?;
    let path = error.path().to_string();
    Some(error_body(error.inner(), if path == "." { "" } else { &path }))
}

fn error_body(error: &serde_json::Error, path: &str) -> ErrorBody {
    let sentence = error.to_string();
    // The line and column are those of the payload alone, which the client never sees by itself.
    let sentence = sentence.split(" at line ").next().unwrap_or(&sentence);
    let code = if sentence.starts_with("missing field") {
        ErrorCode::MissingField
    } else {
        ErrorCode::InvalidField
    };
    let message =
        if path.is_empty() { sentence.to_owned() } else { format!("`{path}`: {sentence}") };
    ErrorBody::new(code, message)
}
