//! The metrics of a hub, and the registry of all metrics of the process, as OpenMetrics text.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    sync::Arc,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
    },
    registry::{Metric, Registry},
};

use crate::lock::{Mutex, level::LEAF};

/// A label and its value.
type Label = [(&'static str, &'static str); 1];
/// The kind and the status of a session.
type SessionLabels = [(&'static str, &'static str); 2];

/// The metrics of a hub, and those that other parts of the process add.
pub struct Metrics {
    registry: Mutex<Groups, LEAF>,
    /// Authenticated connections.
    pub connections: Gauge,
    /// Connections that were authenticated.
    pub connections_total: Counter,
    /// Refusals because of a limit, by limit.
    pub rate_limited: Family<Label, Counter>,
    /// Messages published to topics.
    pub published: Counter,
    /// Events emitted to users, devices, connections and everyone.
    pub emitted: Counter,
    /// Events dropped because the event handler was too slow.
    pub events_dropped: Counter,
    /// Topics.
    pub topics: Gauge,
    /// Sessions, by kind and status.
    pub sessions: Family<SessionLabels, Gauge>,
}

/// The registry, and the groups of metrics that were added to it.
struct Groups {
    registry: Registry,
    by_type: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

/// Metrics that another part of the process adds to those of the hub.
pub trait MetricGroup: Send + Sync + 'static {
    /// Creates the metrics and registers each under its name.
    fn register(registrar: &mut Registrar<'_>) -> Self;
}

/// Registers metrics under the prefix `rejoin_`.
#[derive(Debug)]
pub struct Registrar<'a>(&'a mut Registry);

impl Registrar<'_> {
    /// Creates and registers a metric.
    pub fn create<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add(name, help, M::default())
    }

    /// Registers a metric, and returns it. Clones share their value with the registry.
    pub fn add<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("rejoin");
        let mut add = Registrar(&mut registry);

        // The dashboard and docs/observing.md use these names.
        Self {
            connections: add.create("connections", "Authenticated connections"),
            connections_total: add
                .create("connections_opened", "Connections authenticated since the start"),
            rate_limited: add.create("rate_limited", "Messages and requests refused, by limit"),
            published: add.create("published", "Messages published to topics"),
            emitted: add.create("emitted", "Events emitted to users, devices and connections"),
            events_dropped: add
                .create("events_dropped", "Events dropped because the event handler was too slow"),
            topics: add.create("topics", "Topics"),
            sessions: add.create("sessions", "Sessions, by kind and status"),
            registry: Mutex::new(Groups { registry, by_type: HashMap::new() }),
        }
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

impl Metrics {
    /// Returns the group `G`, which the first call registers.
    ///
    /// Later calls share it: two gateways of one hub count together.
    ///
    /// ```
    /// use prometheus_client::metrics::counter::Counter;
    /// use rejoin_core::{MetricGroup, Metrics, Registrar};
    ///
    /// struct Mail {
    ///     sent: Counter,
    /// }
    ///
    /// impl MetricGroup for Mail {
    ///     fn register(registrar: &mut Registrar<'_>) -> Self {
    ///         Self { sent: registrar.create("mail_sent", "Mails sent") }
    ///     }
    /// }
    ///
    /// let metrics = Metrics::default();
    /// metrics.group::<Mail>().sent.inc();
    /// assert!(metrics.text().contains("rejoin_mail_sent_total 1"));
    /// ```
    pub fn group<G: MetricGroup>(&self) -> Arc<G> {
        let mut groups = self.registry.lock();
        // One turn of the lock: two first calls must not register the names twice.
        let Groups { registry, by_type } = &mut *groups;
        let group = by_type
            .entry(TypeId::of::<G>())
            .or_insert_with(|| Arc::new(G::register(&mut Registrar(registry))));
        Arc::clone(group).downcast().expect("the key is the type")
    }

    /// Counts a refusal because of a limit.
    pub fn rate_limited(&self, what: &'static str) {
        self.rate_limited.get_or_create(&[("what", what)]).inc();
    }

    /// Adds a counter whose value `count` returns whenever the metrics are read.
    pub fn observe_counter(
        &self,
        name: &'static str,
        help: &'static str,
        count: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let observed = Observed { name, help, count: Box::new(count) };
        self.registry.lock().registry.register_collector(Box::new(observed));
    }

    /// Returns the metrics as OpenMetrics text 1.0.0.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().registry).expect("writing to a string succeeds");
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
