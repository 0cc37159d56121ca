//! The publisher before and after the stop. It waits for the reply to each message.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::client_pool::Client;
use crate::clock::{self, Budget};
use crate::stamp::Stamp;

#[derive(Debug)]
pub(super) struct Publisher {
    /// Set while the connection is authenticated.
    pub(super) is_ready: bool,
    /// Set when no further message may be published.
    pub(super) is_finished: bool,
    budget: Budget,
    /// The number of the next message.
    pub(super) next: u64,
    /// The message that waits for its reply.
    pending: Option<u64>,
    /// Messages without a reply, which may or may not have been published.
    pub(super) unknown: BTreeSet<u64>,
}

impl Publisher {
    /// Creates a publisher of this many messages a second.
    pub(super) fn new(rate: u32) -> Self {
        let (budget, unknown) = (Budget::new(rate), BTreeSet::new());
        Self { is_ready: false, is_finished: false, budget, next: 0, pending: None, unknown }
    }

    /// Publishes a message if one is due.
    pub(super) fn publish(&mut self, client: &mut Client) {
        // One message at a time: after a broken connection at most one is unknown.
        let may_publish = self.is_ready && !self.is_finished && self.pending.is_none();
        if !may_publish || !self.budget.take() {
            return;
        }

        let data = Stamp { time: clock::now(), number: self.next }.write();
        client.publish(&self.next.to_string(), "bench", &data);
        self.pending = Some(self.next);
        self.next += 1;
    }

    /// Handles the reply to a message.
    pub(super) fn receive(&mut self, message: &Value) {
        let id = message["reply_to"].as_str().and_then(|id| id.parse().ok());
        if id.is_some() && id == self.pending {
            self.pending = None;
            // A refused message counts as unknown, so that no subscriber has to receive it.
            self.unknown.extend(id.filter(|_| message["type"] == "error"));
        }
    }

    /// Handles the end of the connection.
    pub(super) fn disconnected(&mut self) {
        self.is_ready = false;
        self.unknown.extend(self.pending.take());
    }

    /// Returns whether no message is pending or will follow.
    pub(super) fn is_silent(&self) -> bool {
        self.is_finished && self.pending.is_none()
    }
}
