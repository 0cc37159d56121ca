//! One subscriber: its position, and the messages that it received.

use serde_json::Value;

use crate::stamp::Stamp;

/// A client that subscribes to the topic.
#[derive(Debug, Default)]
pub(super) struct Subscriber {
    pub(super) is_subscribed: bool,
    pub(super) position: Option<String>,
    /// The time of the reconnect that the server asked for.
    pub(super) reconnect_at: Option<u64>,
    /// Failed attempts since the last subscription.
    pub(super) failures: u32,
    /// The number of the next message.
    pub(super) next: u64,
    pub(super) received: u64,
    pub(super) repeated: u64,
}

impl Subscriber {
    /// Counts a message and keeps its position.
    pub(super) fn receive(&mut self, payload: &Value) -> anyhow::Result<()> {
        self.position = payload["position"].as_str().map(str::to_owned);
        self.count(Stamp::of(payload)?.number);
        Ok(())
    }

    fn count(&mut self, number: u64) {
        if number < self.next {
            // A skipped message that arrives late is out of order, which is as wrong as twice.
            self.repeated += 1;
            return;
        }

        self.next = number + 1;
        self.received += 1;
    }

    /// Handles the reply to a subscription. Returns its verdict with its reason.
    pub(super) fn subscribed(&mut self, ack: &Value) -> String {
        self.is_subscribed = true;
        self.failures = 0;
        self.position = ack["position"].as_str().map(str::to_owned);
        let verdict = ack["verdict"].as_str().unwrap_or("no verdict");
        match ack["reason"].as_str() {
            Some(reason) => format!("{verdict} ({reason})"),
            None => verdict.to_owned(),
        }
    }

    /// Counts the messages before `end` that did not arrive.
    pub(super) fn missed(&self, end: u64) -> u64 {
        // Each received message is counted once, so the others are missed.
        end.saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_missing_and_repeated_messages_are_counted() {
        let mut subscriber = Subscriber::default();

        for number in [0, 1, 1, 4] {
            subscriber.count(number);
        }

        assert_eq!((subscriber.received, subscriber.repeated, subscriber.next), (3, 1, 5));
        assert_eq!(subscriber.missed(7), 4);
    }
}
