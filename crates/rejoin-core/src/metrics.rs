//! The metrics of a hub and its gateway, as OpenMetrics text.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry},
};
use rejoin_protocol::CloseCode;

use crate::lock::{Mutex, level::LEAF};

/// A label and its value.
type Label = [(&'static str, &'static str); 1];
/// An HTTP status.
type StatusLabel = [(&'static str, u16); 1];
/// A close code.
type CodeLabel = [(&'static str, u16); 1];
/// The kind and the status of a session.
type SessionLabels = [(&'static str, &'static str); 2];

/// The metrics of a hub and its gateway.
pub struct Metrics {
    registry: Mutex<Registry, LEAF>,
    /// Authenticated connections.
    pub connections: Gauge,
    /// Connections that were authenticated.
    pub connections_total: Counter,
    /// Connections that the server refused or closed, by reason.
    pub refused: Family<Label, Counter>,
    /// Closed WebSockets, by [close code](CloseCode::code).
    pub closed: Family<CodeLabel, Counter>,
    /// Messages received from clients.
    pub messages_received: Counter,
    /// Bytes received from clients.
    pub bytes_received: Counter,
    /// Frames and replies written to sockets.
    pub messages_sent: Counter,
    /// Bytes that sockets accepted.
    pub bytes_sent: Counter,
    /// Frames that were not delivered to a reader, by reason.
    pub frames_dropped: Family<Label, Counter>,
    /// The time to write new frames to all readers of a stream in one shard.
    broadcast: Histogram,
    /// The longest broadcast, in seconds.
    broadcast_max: Gauge<f64, AtomicU64>,
    /// Snapshots sent to new readers and to readers that fell behind.
    pub snapshots_sent: Counter,
    /// Refused tokens and tickets, by reason.
    pub auth_failures: Family<Label, Counter>,
    /// Refusals because of a limit, by limit.
    pub rate_limited: Family<Label, Counter>,
    /// Pings sent to silent peers.
    pub pings_sent: Counter,
    /// Connections closed because the peer was silent.
    pub heartbeats_missed: Counter,
    /// Sockets closed by force before they had accepted all pending bytes.
    pub sockets_cut: Counter,
    /// Messages published to topics.
    pub published: Counter,
    /// Events emitted to users, devices, connections and everyone.
    pub emitted: Counter,
    /// HTTP requests, by status.
    pub http_requests: Family<StatusLabel, Counter>,
    /// Events dropped because the event handler was too slow.
    pub events_dropped: Counter,
    /// Webhook deliveries, by outcome.
    pub webhooks: Family<Label, Counter>,
    /// Topics.
    pub topics: Gauge,
    /// Sessions, by kind and status.
    pub sessions: Family<SessionLabels, Gauge>,
}

/// The reason why a frame was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Retention had dropped the frame, and the reader got a notice.
    Retention,
    /// The reader got a snapshot instead.
    Snapshot,
    /// The topic's slow readers get the newest frame only.
    Latest,
    /// The connection was closed because it was too slow.
    Slow,
    /// The connection closed before the frame was written.
    Closed,
    /// A queued reply was dropped with the connection.
    Outbox,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("rejoin");
        let mut add = Names(&mut registry);

        // 50 µs to 1.6 s, each bound twice the previous one.
        let broadcast = Histogram::new(exponential_buckets(50e-6, 2.0, 16));
        add.0.register(
            "broadcast_seconds",
            "Time to send the new frames of a stream to all its readers in one shard",
            broadcast.clone(),
        );

        // Clones share their value with the registry.
        let metrics = Self {
            connections: add.name("connections", "Authenticated connections"),
            connections_total: add
                .name("connections_opened", "Connections authenticated since the start"),
            refused: add.name("connections_refused", "Connections refused or closed, by reason"),
            closed: add.name("connections_closed", "WebSockets closed, by close code"),
            messages_received: add.name("messages_received", "Messages received from clients"),
            bytes_received: add.name("bytes_received", "Bytes received from clients"),
            messages_sent: add.name("messages_sent", "Frames and replies sent to clients"),
            bytes_sent: add.name("bytes_sent", "Bytes sent to clients"),
            frames_dropped: add.name("frames_dropped", "Frames not delivered, by reason"),
            broadcast,
            broadcast_max: add.name("broadcast_max_seconds", "Longest broadcast since the start"),
            snapshots_sent: add.name("snapshots_sent", "Snapshots sent to readers"),
            auth_failures: add.name("auth_failures", "Tokens and tickets refused, by reason"),
            rate_limited: add.name("rate_limited", "Messages and requests refused, by limit"),
            pings_sent: add.name("pings_sent", "Pings sent to silent peers"),
            heartbeats_missed: add
                .name("heartbeats_missed", "Connections closed because the client was silent"),
            sockets_cut: add.name("sockets_cut", "Sockets closed before all output was sent"),
            published: add.name("published", "Messages published to topics"),
            emitted: add.name("emitted", "Events emitted to users, devices and connections"),
            http_requests: add.name("http_requests", "HTTP requests, by status"),
            events_dropped: add
                .name("events_dropped", "Events dropped because the event handler was too slow"),
            webhooks: add.name("webhooks", "Webhook deliveries, by outcome"),
            topics: add.name("topics", "Topics"),
            sessions: add.name("sessions", "Sessions, by kind and status"),
            registry: Mutex::default(),
        };

        *metrics.registry.lock() = registry;
        metrics
    }
}

/// A counter whose value another part of the process holds.
struct Observed {
    name: &'static str,
    help: &'static str,
    count: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counter = ConstCounter::new((self.count)());
        let kind = counter.metric_type();
        let metric = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        counter.encode(metric)
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Creates and registers metrics.
struct Names<'a>(&'a mut Registry);

impl Names<'_> {
    fn name<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }
}

impl Metrics {
    /// Counts frames that were not delivered to a reader.
    pub fn frames_dropped(&self, reason: DropReason, count: u64) {
        // An increment by 0 would create a sample without any dropped frame.
        if count > 0 {
            self.frames_dropped.get_or_create(&[("reason", reason.label())]).inc_by(count);
        }
    }

    /// Records the time to write new frames to all readers of a stream in one shard.
    pub fn broadcast_took(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        self.broadcast.observe(seconds);
        // The bits of positive floats have the order of the floats.
        self.broadcast_max.inner().fetch_max(seconds.to_bits(), Ordering::Relaxed);
    }

    /// Counts a connection that the server refused or closed.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts an HTTP request by the status of its response.
    pub fn http_request(&self, status: u16) {
        self.http_requests.get_or_create(&[("status", status)]).inc();
    }

    /// Counts a closed WebSocket.
    pub fn closed(&self, code: CloseCode) {
        self.closed.get_or_create(&[("code", code.code())]).inc();
    }

    /// Counts a refused token or ticket.
    pub fn auth_failed(&self, reason: &'static str) {
        self.auth_failures.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a refusal because of a limit.
    pub fn rate_limited(&self, what: &'static str) {
        self.rate_limited.get_or_create(&[("what", what)]).inc();
    }

    /// Counts a webhook delivery by its outcome.
    pub fn webhook(&self, outcome: &'static str) {
        self.webhooks.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Adds a counter whose value `count` returns whenever the metrics are read.
    pub fn observe_counter(
        &self,
        name: &'static str,
        help: &'static str,
        count: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let observed = Observed { name, help, count: Box::new(count) };
        self.registry.lock().register_collector(Box::new(observed));
    }

    /// Returns the metrics as OpenMetrics text 1.0.0.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock()).expect("writing to a string succeeds");
        text
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

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
