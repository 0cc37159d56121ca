//! The records of the journal.

use rejoin_protocol::{DeviceId, Position, RequestKey, TopicName, UserId};
use serde::{Deserialize, Serialize};

/// A record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalRecord {
    /// A message.
    Message(JournalMessage),
    /// The end of a stream. Follows the stream's messages.
    Head {
        /// The stream.
        stream: StreamOwner,
        /// The position after the last message.
        position: Position,
    },
    /// The result of a publish with an idempotency key. Its message may be gone.
    Key(StoredKey),
    /// The clock that assigns epochs to implicit streams.
    Clock(EpochClock),
    /// The evictions of a user's implicit streams.
    Eviction(Eviction),
    /// An implicit stream was dropped with all its messages. A later message begins a new one.
    Dropped {
        /// The stream.
        stream: StreamOwner,
        /// The epoch of its positions.
        epoch: u64,
        /// The last epoch in which it may have received a message.
        last: u64,
    },
}

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalMessage {
    /// The stream.
    pub stream: StreamOwner,
    /// The position after the message.
    pub position: Position,
    /// The time of the message, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The text that readers receive.
    pub text: String,
    /// The publisher and the idempotency key, if the message has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<(UserId, RequestKey)>,
}

/// The owner of a stream, which identifies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamOwner {
    /// All connections.
    Everyone,
    /// A topic.
    Topic {
        /// The name of the topic.
        name: TopicName,
        /// The user whose first use created the topic.
        creator: UserId,
    },
    /// A user.
    User {
        /// The user.
        user: UserId,
    },
    /// A device of a user.
    Device {
        /// The user.
        user: UserId,
        /// The device.
        device: DeviceId,
    },
}

/// The result of a publish with an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKey {
    /// The publisher.
    pub user: UserId,
    /// The topic.
    pub topic: TopicName,
    /// The key.
    pub key: RequestKey,
    /// The position after the message.
    pub position: Position,
    /// The time of the publish, in milliseconds since the Unix epoch.
    pub at: u64,
}

/// The clock that assigns epochs to implicit streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochClock {
    /// The epoch at which the clock started.
    pub start: u64,
    /// The epoch at the time `at`.
    pub now: u64,
    /// The last epoch in which a forgotten stream received a message.
    pub forgotten: u64,
    /// The time of the record, in milliseconds since the Unix epoch.
    pub at: u64,
}

/// The evicted implicit streams of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eviction {
    /// The user of the stream.
    pub user: UserId,
    /// The last epoch in which an evicted stream of the user received a message.
    pub epoch: u64,
}

impl StreamOwner {
    /// Returns the user who is accountable for the stream.
    pub(crate) fn user(&self) -> Option<&UserId> {
        match self {
            Self::Everyone => None,
            Self::Topic { creator: user, .. } | Self::User { user } | Self::Device { user, .. } => {
                Some(user)
            }
        }
    }
}

impl JournalRecord {
    /// Returns the approximate size in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.bytes(),
            _ => size_of::<Self>(),
        }
    }
}

impl JournalMessage {
    /// Returns the approximate size in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }
}
