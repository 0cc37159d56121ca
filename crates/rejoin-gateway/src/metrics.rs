//! The metrics of HTTP requests and sockets.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::metrics::{
    counter::Counter,
    family::Family,
    gauge::Gauge,
    histogram::{Histogram, exponential_buckets},
};
use rejoin_core::{MetricGroup, Registrar};
use rejoin_protocol::CloseCode;

/// A label and its value.
type Label = [(&'static str, &'static str); 1];
/// An HTTP status, or a close code.
type NumberLabel = [(&'static str, u16); 1];

/// The metrics that all gateways of one hub share.
pub struct GatewayMetrics {
    /// Connections that the server refused or closed, by reason.
    pub refused: Family<Label, Counter>,
    /// Closed WebSockets, by [close code](CloseCode::code).
    pub closed: Family<NumberLabel, Counter>,
    /// Messages received from clients.
    pub messages_received: Counter,
    /// Bytes received from clients.
    pub bytes_received: Counter,
    /// Frames and replies written to sockets.
    pub messages_sent: Counter,
    /// Bytes that sockets have accepted.
    pub bytes_sent: Counter,
    /// Frames that were not delivered to a reader, by reason.
    pub frames_dropped: Family<Label, Counter>,
    /// The time to write new frames to all readers of a stream in one shard, in seconds.
    broadcast: Histogram,
    /// The duration of the longest broadcast, in seconds.
    broadcast_max: Gauge<f64, AtomicU64>,
    /// Snapshots sent to new readers and to readers that fell behind.
    pub snapshots_sent: Counter,
    /// Refused tokens and tickets, by reason.
    pub auth_failures: Family<Label, Counter>,
    /// Pings sent to silent peers.
    pub pings_sent: Counter,
    /// Connections closed because the peer was silent.
    pub heartbeats_missed: Counter,
    /// Sockets that were cut before they had accepted all pending bytes.
    pub sockets_cut: Counter,
    /// HTTP requests, by status.
    pub http_requests: Family<NumberLabel, Counter>,
}

/// The reason why a frame was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// Retention had dropped the frame, and the reader received a gap notice.
    Retention,
    /// The reader received a snapshot instead.
    Snapshot,
    /// The topic's slow readers receive only the newest frame.
    Latest,
    /// The connection was closed because it was too slow.
    Slow,
    /// The connection closed before the frame was written.
    Closed,
    /// A queued reply was dropped with the connection.
    Outbox,
}

impl MetricGroup for GatewayMetrics {
    fn register(add: &mut Registrar<'_>) -> Self {
        // 50 µs to 1.6 s, each bound twice the previous one.
        let broadcast = Histogram::new(exponential_buckets(50e-6, 2.0, 16));

        Self {
            refused: add.create("connections_refused", "Connections refused or closed, by reason"),
            closed: add.create("connections_closed", "WebSockets closed, by close code"),
            messages_received: add.create("messages_received", "Messages received from clients"),
            bytes_received: add.create("bytes_received", "Bytes received from clients"),
            messages_sent: add.create("messages_sent", "Frames and replies sent to clients"),
            bytes_sent: add.create("bytes_sent", "Bytes sent to clients"),
            frames_dropped: add.create("frames_dropped", "Frames not delivered, by reason"),
            broadcast: add.add(
                "broadcast_seconds",
                "Time to send the new frames of a stream to all its readers in one shard",
                broadcast,
            ),
            broadcast_max: add.create("broadcast_max_seconds", "Longest broadcast since the start"),
            snapshots_sent: add.create("snapshots_sent", "Snapshots sent to readers"),
            auth_failures: add.create("auth_failures", "Tokens and tickets refused, by reason"),
            pings_sent: add.create("pings_sent", "Pings sent to silent peers"),
            heartbeats_missed: add
                .create("heartbeats_missed", "Connections closed because the client was silent"),
            sockets_cut: add.create("sockets_cut", "Sockets closed before all output was sent"),
            http_requests: add.create("http_requests", "HTTP requests, by status"),
        }
    }
}

impl GatewayMetrics {
    /// Counts frames that were not delivered to a reader.
    pub(crate) fn frames_dropped(&self, reason: DropReason, count: u64) {
        // An increment by 0 would create a sample although no frame was dropped.
        if count > 0 {
            self.frames_dropped.get_or_create(&[("reason", reason.label())]).inc_by(count);
        }
    }

    /// Records the time to write new frames to all readers of a stream in one shard.
    pub(crate) fn broadcast_took(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        self.broadcast.observe(seconds);
        // The bit patterns of positive floats sort like the floats.
        self.broadcast_max.inner().fetch_max(seconds.to_bits(), Ordering::Relaxed);
    }

    /// Counts a connection that the server refused or closed.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts an HTTP request by the status of its response.
    pub(crate) fn http_request(&self, status: u16) {
        self.http_requests.get_or_create(&[("status", status)]).inc();
    }

    /// Counts a closed WebSocket.
    pub(crate) fn closed(&self, code: CloseCode) {
        self.closed.get_or_create(&[("code", code.code())]).inc();
    }

    /// Counts a refused token or ticket.
    pub(crate) fn auth_failed(&self, reason: &'static str) {
        self.auth_failures.get_or_create(&[("reason", reason)]).inc();
    }
}

impl DropReason {
    fn label(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Snapshot => "snapshot",
            Self::Latest => "latest",
            Self::Slow => "slow",
            Self::Closed => "closed",
            Self::Outbox => "outbox",
        }
    }
}

impl fmt::Debug for GatewayMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayMetrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rejoin_core::Metrics;

    use super::*;

    #[test]
    fn the_longest_broadcast_and_the_lost_frames_are_written() {
        let metrics = Metrics::default();
        let group = metrics.group::<GatewayMetrics>();
        for millis in [1, 250, 2] {
            group.broadcast_took(Duration::from_millis(millis));
        }
        group.frames_dropped(DropReason::Retention, 2);
        group.frames_dropped(DropReason::Slow, 0);
        // A second gateway counts in the same metrics.
        metrics.group::<GatewayMetrics>().frames_dropped(DropReason::Retention, 3);

        let text = metrics.text();
        for line in [
            "rejoin_broadcast_seconds_count 3",
            "rejoin_broadcast_max_seconds 0.25",
            "rejoin_frames_dropped_total{reason=\"retention\"} 5",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
        assert!(!text.contains("reason=\"slow\""), "{text}");
    }
}
