//! The section `limits`: how much there may be, and how fast.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use rejoin_core::HubLimits;
use rejoin_gateway::{Rate, Rates};
use rejoin_protocol::limits as protocol;
use serde::Deserialize;

use crate::config::value::{self, ByteSize, Count, Interval, Limit};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Limits {
    pub(crate) max_connections: Count,
    pub(crate) max_message_bytes: ByteSize,
    pub(crate) auth_timeout: Interval,
    #[serde(deserialize_with = "value::heartbeat")]
    pub(crate) heartbeat: Interval,
    /// The longest time over which clients come back after a stop.
    pub(crate) drain_window: Interval,
    pub(crate) max_handshakes: Count,
    pub(crate) connections_per_ip: PerWindow,
    pub(crate) max_connections_per_user: Limit,
    /// Of one connection.
    messages_per_second: Limit,
    /// Of one connection.
    bytes_per_second: Limit,
    /// Of one connection, with its attachments.
    pub(crate) max_subscriptions: Count,
    max_topics: Count,
    max_topics_per_user: Count,
    /// Of messages that the topics of one user's making keep.
    max_retained_bytes_per_user: ByteSize,
    max_sessions_per_user: Count,
    /// How long somebody may be away before others are told that they left.
    #[serde(deserialize_with = "value::grace")]
    pub(crate) presence_grace: Duration,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table such as { count = 60, window = \"60s\" }"
)]
pub(crate) struct PerWindow {
    count: Limit,
    window: Interval,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: Count::new(1000),
            max_message_bytes: ByteSize::new(protocol::DEFAULT_MAX_MESSAGE_BYTES),
            auth_timeout: Interval::from_secs(10),
            heartbeat: Interval::from_secs(30),
            drain_window: Interval::from_secs(30),
            max_handshakes: Count::new(1024),
            connections_per_ip: PerWindow::default(),
            max_connections_per_user: Limit::new(0),
            messages_per_second: Limit::new(0),
            bytes_per_second: Limit::new(0),
            max_subscriptions: Count::new(1000),
            max_topics: Count::new(100_000),
            max_topics_per_user: Count::new(10_000),
            max_retained_bytes_per_user: ByteSize::new(256 * 1024 * 1024),
            max_sessions_per_user: Count::new(200),
            presence_grace: Duration::from_secs(10),
        }
    }
}

impl Default for PerWindow {
    fn default() -> Self {
        Self { count: Limit::new(60), window: Interval::from_secs(60) }
    }
}

impl PerWindow {
    /// The rate, if there is a limit.
    pub(crate) fn rate(self) -> Option<Rate> {
        self.count.get().map(|count| Rate::new(count, self.window.get()))
    }
}

impl Limits {
    /// How fast one connection may send.
    pub(crate) fn rates(&self) -> Rates {
        let messages = self.messages_per_second.get().map(|count| Rate::new(count, SECOND));
        let bytes = self.bytes_per_second.get().map(|count| {
            // The longest message fits at once; what is sent in the end is as much a second.
            let longest = u32::try_from(self.max_message_bytes.get().get()).unwrap_or(u32::MAX);
            let burst = NonZeroU32::new(longest).map_or(count, |longest| longest.max(count));
            let window = SECOND.mul_f64(f64::from(burst.get()) / f64::from(count.get()));
            Rate::new(burst, window)
        });
        Rates { messages, bytes }
    }

    /// How much there may be in the hub.
    pub(crate) fn of_hub(&self) -> HubLimits {
        let per_user = self.max_connections_per_user.get();
        HubLimits {
            connections_per_user: per_user.and_then(|count| NonZeroUsize::try_from(count).ok()),
            topics: self.max_topics.get().get(),
            topics_per_user: self.max_topics_per_user.get().get(),
            retained_bytes_per_user: self.max_retained_bytes_per_user.get().get() as u64,
            sessions_per_user: self.max_sessions_per_user.get().get(),
        }
    }
}
