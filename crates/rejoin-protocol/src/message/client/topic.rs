//! Topics and presence: the payloads of requests.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Position, RequestKey, Subject, TopicName};

/// The payload of `subscribe`.
#[derive(Debug, Deserialize)]
pub struct SubscribePayload {
    /// The topic.
    pub topic: TopicName,
    /// The last position, if the client resumes.
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
pub struct PublishPayload<'a> {
    /// The topic.
    pub topic: TopicName,
    /// Any JSON; subscribers receive it verbatim.
    #[serde(borrow)]
    pub data: &'a RawValue,
    /// The idempotency key.
    ///
    /// A retry with the same key within five minutes is acknowledged but not published again.
    #[serde(default)]
    pub key: Option<RequestKey>,
}

/// The payload of `presence`.
#[derive(Debug, Deserialize)]
pub struct PresencePayload {
    /// The topic, session or user.
    #[serde(flatten)]
    pub subject: Subject,
    /// True to start and false to stop following changes; absent to leave that as it is.
    #[serde(default)]
    pub follow: Option<bool>,
}
