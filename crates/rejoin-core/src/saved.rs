//! What a hub leaves to the next process when it stops as it should.
//!
//! Positions stay good, retained messages are there, and a retry with a key is still harmless.
//! Whoever takes it over must make sure that nobody else does: two lives of one stream would
//! give the same position to different frames.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use rejoin_protocol::{DeviceId, Position, RequestKey, TopicName, UserId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use tokio::time::Instant;

/// All that is left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedHub {
    /// When, in milliseconds since the epoch.
    pub at: u64,
    /// The clock of the own streams' epochs.
    pub epochs: SavedEpochs,
    /// Users to whom something was emitted that is evicted.
    #[serde(default)]
    pub evicted: Vec<SavedEviction>,
    /// The streams of topics, users and devices.
    pub streams: Vec<SavedStream>,
    /// What was published with a key.
    pub keys: Vec<SavedKey>,
}

/// The clock of the own streams' epochs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SavedEpochs {
    /// Where it began.
    pub process: u64,
    /// Where it is.
    pub now: u64,
    /// The last epoch in which anything was emitted that is forgotten.
    pub forgotten: u64,
}

/// A user's stream that was evicted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedEviction {
    /// The user.
    pub user: UserId,
    /// The last epoch in which anything was emitted to it.
    pub epoch: u64,
}

/// A stream's life so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedStream {
    /// Whose it is.
    #[serde(flatten)]
    pub owner: StreamOwner,
    /// The name of its life.
    pub epoch: u64,
    /// Frames that were ever appended, each of one unit.
    pub head: u64,
    /// How long ago the last one was, in milliseconds.
    pub quiet_ms: u64,
    /// What it still holds, oldest first.
    pub frames: Vec<SavedFrame>,
}

/// Whose a stream is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum StreamOwner {
    /// Everyone's.
    Everyone,
    /// A topic's.
    Topic {
        /// Its name.
        name: TopicName,
        /// The user who used it first.
        maker: UserId,
    },
    /// A user's.
    User {
        /// The user.
        user: UserId,
    },
    /// A device's.
    Device {
        /// The user.
        user: UserId,
        /// The device.
        device: DeviceId,
    },
}

/// A frame that a stream holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedFrame {
    /// How old it is, in milliseconds.
    pub age_ms: u64,
    /// As it was encoded.
    #[serde(serialize_with = "write", deserialize_with = "read")]
    pub wire: Bytes,
}

/// A message that was published with a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedKey {
    /// Who published it.
    pub user: UserId,
    /// Where.
    pub topic: TopicName,
    /// The key.
    pub key: RequestKey,
    /// The answer.
    pub position: Position,
    /// How long ago, in milliseconds.
    pub age_ms: u64,
}

/// How long ago, in milliseconds.
pub(crate) fn age_ms(at: Instant) -> u64 {
    u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The time so long ago, or as long ago as the clock knows.
pub(crate) fn instant(age_ms: u64) -> Instant {
    let now = Instant::now();
    now.checked_sub(Duration::from_millis(age_ms)).unwrap_or(now)
}

fn write<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64_STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
}
