//! The section `limits`: bounds on counts, sizes, times and rates.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use rejoin_core::HubLimits;
use rejoin_gateway::{Rate, Rates};
use rejoin_protocol::limits as protocol;
use serde::Deserialize;

use crate::config::quantity::{self, ByteSize, Count, Interval, OptionalCount};

const SECOND: Duration = Duration::from_secs(1);

/// The section `limits`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct LimitsConfig {
    pub(crate) max_connections: Count,
    pub(crate) max_message_bytes: ByteSize,
    pub(crate) auth_timeout: Interval,
    #[serde(deserialize_with = "quantity::heartbeat")]
    pub(crate) heartbeat: Interval,
    /// Longest reconnect delay that clients get at a stop.
    pub(crate) drain_window: Interval,
    pub(crate) max_handshakes: Count,
    pub(crate) connections_per_ip: PerWindow,
    pub(crate) max_connections_per_user: OptionalCount,
    /// Per connection.
    messages_per_second: OptionalCount,
    /// Per connection.
    bytes_per_second: OptionalCount,
    /// Per connection; attachments count as well.
    pub(crate) max_subscriptions: Count,
    max_topics: Count,
    max_topics_per_user: Count,
    /// Retained messages of all topics that one user created.
    max_retained_bytes_per_user: ByteSize,
    max_sessions_per_user: Count,
    /// Logs and kept screens of one user's terminals.
    pub(crate) max_disk_bytes_per_user: ByteSize,
    /// Logs and kept screens of all terminals.
    pub(crate) max_disk_bytes: ByteSize,
    /// Time from the last connection of a member until presence reports that the member left.
    #[serde(deserialize_with = "quantity::presence_grace")]
    pub(crate) presence_grace: Duration,
}

/// A number of events per window of time; 0 means no limit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table such as { count = 60, window = \"60s\" }"
)]
pub(crate) struct PerWindow {
    count: OptionalCount,
    window: Interval,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_connections: Count::new(1000),
            max_message_bytes: ByteSize::new(protocol::DEFAULT_MAX_MESSAGE_BYTES),
            auth_timeout: Interval::from_secs(10),
            heartbeat: Interval::from_secs(30),
            drain_window: Interval::from_secs(30),
            max_handshakes: Count::new(1024),
            connections_per_ip: PerWindow::default(),
            max_connections_per_user: OptionalCount::new(0),
            messages_per_second: OptionalCount::new(0),
            bytes_per_second: OptionalCount::new(0),
            max_subscriptions: Count::new(1000),
            max_topics: Count::new(100_000),
            max_topics_per_user: Count::new(10_000),
            max_retained_bytes_per_user: ByteSize::new(256 * 1024 * 1024),
            max_sessions_per_user: Count::new(200),
            max_disk_bytes_per_user: ByteSize::new(2 * 1024 * 1024 * 1024),
            max_disk_bytes: ByteSize::new(16 * 1024 * 1024 * 1024),
            presence_grace: Duration::from_secs(10),
        }
    }
}

impl Default for PerWindow {
    fn default() -> Self {
        Self { count: OptionalCount::new(60), window: Interval::from_secs(60) }
    }
}

impl PerWindow {
    /// Returns the rate, or `None` without a limit.
    pub(crate) fn rate(self) -> Option<Rate> {
        self.count.get().map(|count| Rate::new(count, self.window.get()))
    }
}

impl LimitsConfig {
    /// Returns the rates of one connection.
    pub(crate) fn rates(&self) -> Rates {
        let messages = self.messages_per_second.get().map(|count| Rate::new(count, SECOND));

        let bytes = self.bytes_per_second.get().map(|count| {
            // A burst must fit the longest message, or that message could never be sent. The
            // window grows with the burst, so that the average rate stays `bytes_per_second`.
            let longest = u32::try_from(self.max_message_bytes.get().get()).unwrap_or(u32::MAX);
            let burst = NonZeroU32::new(longest).map_or(count, |longest| longest.max(count));
            let window = SECOND.mul_f64(f64::from(burst.get()) / f64::from(count.get()));
            Rate::new(burst, window)
        });
        Rates { messages, bytes }
    }

    /// Returns the limits that the hub enforces.
    pub(crate) fn hub_limits(&self) -> HubLimits {
        // 0 in the configuration is `None` in the hub: no limit.
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
