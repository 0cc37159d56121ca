//! Clients that reconnect as the protocol requires: at the announced time, from their position.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use super::curve::Curve;
use super::publisher::Publisher;
use super::subscriber::Subscriber;
use crate::client_pool::{ClientPool, End, Event};
use crate::clock::{self, Watchdog};
use crate::connection::Endpoint;
use crate::report::Counts;

/// The longest poll, so that the end of the server is noticed in time.
const POLL: Duration = Duration::from_millis(5);
/// Clients that connect in parallel at the start.
const IN_FLIGHT: usize = 64;
/// The bounds of the random delay before an unannounced reconnect; it doubles per failure.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// The publisher does not spread its reconnects, because the subscribers wait for its messages.
const PUBLISHER_BACKOFF: Duration = Duration::from_millis(100);
const MILLISECOND: u64 = 1_000_000;

/// The subscribers and the publisher, and the times of their reconnects.
pub(super) struct Reconnects {
    pool: ClientPool,
    endpoint: Endpoint,
    /// A token for each subscriber, then one for the publisher.
    tokens: Vec<String>,
    subscribers: Vec<Subscriber>,
    pub(super) publisher: Publisher,
    /// The number of subscribers that are subscribed.
    subscribed: usize,
    /// The next reconnects: their times and the clients' numbers, earliest first.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    random: fastrand::Rng,
    /// The time of the stop. Before it, no connection may end.
    stopped: Option<u64>,
    pub(super) curve: Curve,
    pub(super) verdicts: Counts,
    /// Counts of how connections ended after the stop.
    pub(super) ends: Counts,
}

/// The deliveries to all subscribers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) deliveries: u64,
    pub(super) missed: u64,
    pub(super) repeated: u64,
}

impl Reconnects {
    pub(super) fn new(endpoint: Endpoint, tokens: Vec<String>, rate: u32) -> anyhow::Result<Self> {
        let count = tokens.len().saturating_sub(1);
        Ok(Self {
            pool: ClientPool::new()?,
            endpoint,
            tokens,
            subscribers: (0..count).map(|_| Subscriber::default()).collect(),
            publisher: Publisher::new(rate),
            subscribed: 0,
            due: BinaryHeap::new(),
            random: fastrand::Rng::with_seed(1),
            stopped: None,
            curve: Curve::default(),
            verdicts: Counts::default(),
            ends: Counts::default(),
        })
    }

    /// Connects all clients, a few at a time.
    pub(super) fn connect_all(&mut self) -> anyhow::Result<()> {
        let publisher = self.subscribers.len();
        let mut watchdog = Watchdog::new();

        // The publisher is last, so that each subscriber receives the first message.
        for number in 0..=publisher {
            while self.pool.len() - self.subscribed >= IN_FLIGHT
                || (number == publisher && self.missing() > 0)
            {
                self.poll()?;
                watchdog.check(self.subscribed as u64, "subscriptions")?;
            }
            self.connect(number)?;
        }
        Ok(())
    }

    fn connect(&mut self, number: usize) -> anyhow::Result<()> {
        let endpoint = self.endpoint.clone().with_token(&self.tokens[number]);
        self.pool.connect(number, &endpoint)
    }

    /// Allows connections to end from now on.
    pub(super) fn expect_restart(&mut self, now: u64) {
        self.stopped = Some(now);
        // The previous verdicts are those of the first subscriptions.
        self.verdicts = Counts::default();
    }

    /// Returns the number of subscribers that are not subscribed.
    pub(super) fn missing(&self) -> usize {
        self.subscribers.len() - self.subscribed
    }

    /// Publishes, starts reconnects that are due, and receives.
    pub(super) fn poll(&mut self) -> anyhow::Result<()> {
        let publisher = self.subscribers.len();
        if let Some(client) = self.pool.client(publisher) {
            self.publisher.publish(client);
        }
        while let Some(&Reverse((due, number))) = self.due.peek()
            && due <= clock::now()
        {
            self.due.pop();
            // The curve shows the subscribers only.
            if number != publisher {
                let stopped = self.stopped.unwrap_or(0);
                self.curve.attempts.push(clock::now() - stopped);
            }
            self.connect(number)?;
        }

        for (number, event) in self.pool.poll(POLL)? {
            match event {
                Event::Opened => {}
                Event::Frame(frame) => self.receive(number, &frame.message()?)?,
                Event::Ended(end) => self.disconnected(number, end)?,
            }
        }
        Ok(())
    }

    fn disconnected(&mut self, number: usize, end: End) -> anyhow::Result<()> {
        let now = clock::now();
        let Some(stopped) = self.stopped else { bail!("connection {number} ended: {end}") };
        let Some(subscriber) = self.subscribers.get_mut(number) else {
            self.publisher.disconnected();
            self.due.push(Reverse((now + clock::span(PUBLISHER_BACKOFF), number)));
            return Ok(());
        };

        if end == End::Unreachable {
            self.curve.refused.push(now - stopped);
        } else {
            self.ends.add(&end.to_string());
        }
        self.subscribed -= usize::from(std::mem::take(&mut subscriber.is_subscribed));
        // Unannounced ends back off exponentially with full jitter.
        let due = subscriber.reconnect_at.take().unwrap_or_else(|| {
            let limit = FIRST_BACKOFF * 2u32.saturating_pow(subscriber.failures);
            subscriber.failures += 1;
            now + self.random.u64(..clock::span(limit.min(LONGEST_BACKOFF)))
        });
        self.due.push(Reverse((due, number)));
        Ok(())
    }

    /// Stops the publisher, and waits until each subscriber has all messages or none arrive.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.publisher.is_finished = true;
        let mut watchdog = Watchdog::new();
        while !self.is_complete() && watchdog.check(self.tally().deliveries, "deliveries").is_ok() {
            self.poll()?;
        }
        Ok(())
    }

    fn receive(&mut self, number: usize, message: &Value) -> anyhow::Result<()> {
        let (kind, payload) = (message["type"].as_str().unwrap_or_default(), &message["payload"]);
        let Some(subscriber) = self.subscribers.get_mut(number) else {
            match kind {
                "auth_result" => self.publisher.is_ready = true,
                _ => self.publisher.receive(message),
            }
            return Ok(());
        };

        match kind {
            "auth_result" => {
                // Resumes from the last message, or starts with the newest one.
                let mut payload = json!({"topic": "bench"});
                if let Some(position) = &subscriber.position {
                    payload["position"] = json!(position);
                }
                if let Some(client) = self.pool.client(number) {
                    client.request("subscribe", "subscribe", &payload);
                }
            }
            "ack" => {
                self.verdicts.add(&subscriber.subscribed(payload));
                self.subscribed += 1;
                self.curve.returned.extend(self.stopped.map(|stopped| clock::now() - stopped));
            }
            "message" => subscriber.receive(payload)?,
            "gap" => self.verdicts.add("a gap later"),
            // Without a delay in its announcement, the server does not want the client back.
            "closing" => {
                if let Some(after) = payload["reconnect_after_ms"].as_u64() {
                    // Spread over the announced window, as `docs/protocol.md` asks of clients.
                    let window = payload["window_ms"].as_u64().unwrap_or(0) * MILLISECOND;
                    let delay = after * MILLISECOND + self.random.u64(..=window);
                    subscriber.reconnect_at = Some(clock::now() + delay);
                }
            }
            "error" => bail!("client {number} received {message}"),
            _ => {}
        }
        Ok(())
    }

    /// Sums the deliveries so far.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for subscriber in &self.subscribers {
            tally.deliveries += subscriber.received;
            tally.missed += subscriber.missed(self.publisher.next, &self.publisher.unknown);
            tally.repeated += subscriber.repeated;
        }
        tally
    }

    fn is_complete(&self) -> bool {
        let end = self.publisher.next;
        self.publisher.is_silent()
            && self.subscribers.iter().all(|one| one.is_subscribed && one.next >= end)
    }
}
