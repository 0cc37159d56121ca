//! Topics: replies and gaps.

use serde::Serialize;

use crate::{Position, TopicName, Verdict};

/// The payload of the reply to `subscribe`.
#[derive(Debug, Serialize)]
pub struct SubscribeAck {
    /// The topic.
    pub topic: TopicName,
    /// The result of the subscribe or resume.
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

/// The payload of the reply to `publish`.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize)]
pub struct PublishAck {
    /// The position after the published frame.
    pub position: Position,
}

/// The payload of the reply to `list_subscriptions`.
#[derive(Debug, Serialize)]
pub struct Subscriptions {
    /// The topics, sorted.
    pub subscriptions: Vec<TopicName>,
}

/// The payload of `gap`: frames that a slow subscriber lost.
#[derive(Debug, Serialize)]
pub struct Gap {
    /// The topic.
    pub topic: TopicName,
    /// The number of lost frames.
    pub missed: u64,
    /// The cause of the loss.
    pub reason: &'static str,
    /// The position at which reading continues.
    pub position: Position,
}
