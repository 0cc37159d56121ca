//! The metrics of webhooks.

use prometheus_client::metrics::{counter::Counter, family::Family};
use rejoin_core::{MetricGroup, Registrar};

/// The metrics of all webhooks of one hub.
#[derive(Debug)]
pub struct WebhookMetrics {
    /// Deliveries and calls, by outcome.
    pub outcomes: Family<[(&'static str, &'static str); 1], Counter>,
}

impl MetricGroup for WebhookMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        Self { outcomes: registrar.create("webhooks", "Webhook deliveries, by outcome") }
    }
}

impl WebhookMetrics {
    /// Counts a delivery or a call with this outcome.
    pub(crate) fn count(&self, outcome: &'static str) {
        self.count_many(outcome, 1);
    }

    /// Counts so many deliveries with this outcome.
    pub(crate) fn count_many(&self, outcome: &'static str, count: u64) {
        self.outcomes.get_or_create(&[("outcome", outcome)]).inc_by(count);
    }
}
