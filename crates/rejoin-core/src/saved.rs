//! The state that a stopping hub leaves to the next process.
//!
//! Positions stay valid, retained messages are kept, and a retry with a key is still executed once.
//! A saved state must be restored at most once: two hubs restored from it would give the same
//! position to different frames.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use rejoin_protocol::{DeviceId, Position, RequestKey, TopicName, UserId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use tokio::time::Instant;

use crate::frame::PayloadKind;

/// The state of a hub.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedHub {
    /// The time of the save, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The epoch clock of implicit streams.
    pub epochs: SavedEpochs,
    /// Users with an evicted implicit stream.
    #[serde(default)]
    pub evicted: Vec<SavedEviction>,
    /// The streams of topics, users and devices.
    pub streams: Vec<SavedStream>,
    /// The results of publishes with a key.
    pub keys: Vec<SavedKey>,
}

/// The epoch clock of implicit streams.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SavedEpochs {
    /// The epoch at which the clock started.
    pub process: u64,
    /// The current epoch.
    pub now: u64,
    /// The last epoch in which a forgotten stream received an event.
    pub forgotten: u64,
}

/// An evicted implicit stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedEviction {
    /// The user of the stream.
    pub user: UserId,
    /// The last epoch in which an evicted stream of the user received an event.
    pub epoch: u64,
}

/// A stream with its retained frames.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedStream {
    /// The owner.
    #[serde(flatten)]
    pub owner: StreamOwner,
    /// The epoch of the stream's positions.
    pub epoch: u64,
    /// The number of frames ever appended, each of one unit.
    pub head: u64,
    /// Milliseconds since the last use of the stream.
    pub idle_ms: u64,
    /// The retained frames, oldest first.
    pub frames: Vec<SavedFrame>,
}

/// The owner of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
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

/// A retained frame. The next process encodes it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedFrame {
    /// The age, in milliseconds.
    pub age_ms: u64,
    /// The kind of the payload.
    pub kind: PayloadKind,
    /// The payload.
    #[serde(serialize_with = "write", deserialize_with = "read")]
    pub payload: Bytes,
}

/// The result of a publish with a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedKey {
    /// The publisher.
    pub user: UserId,
    /// The topic.
    pub topic: TopicName,
    /// The key.
    pub key: RequestKey,
    /// The position after the message.
    pub position: Position,
    /// Milliseconds since the publish.
    pub age_ms: u64,
}

/// Returns the milliseconds since `at`.
pub(crate) fn age_ms(at: Instant) -> u64 {
    u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Returns the instant `age_ms` ago; now if the clock does not reach back so far.
pub(crate) fn instant(age_ms: u64) -> Instant {
    let now = Instant::now();
    // A monotonic clock may have started after the saved time.
    now.checked_sub(Duration::from_millis(age_ms)).unwrap_or(now)
}

fn write<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64_STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
}
