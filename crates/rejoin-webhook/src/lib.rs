//! Webhooks: events of a hub, and messages that are not built in, for programs behind HTTP.
//!
//! Requests are signed as specified by <https://www.standardwebhooks.com>.

mod delivery;
mod events;
mod messages;
mod metrics;
mod target;

pub use events::{EventKind, WebhookEvents};
pub use messages::{Answer, WebhookMessages};
pub use metrics::WebhookMetrics;
pub use target::{Webhook, WebhookError, WebhookSecret, WebhookUrl};
