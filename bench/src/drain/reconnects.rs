//! Clients that reconnect as the protocol requires: at the announced time, from their position.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::curve::Curve;
use super::subscriber::Subscriber;
use crate::client_pool::{ClientPool, End, Event};
use crate::clock::{self, Watchdog};
use crate::endpoint::Endpoint;
use crate::report::Counts;

/// The longest poll, so that the end of the server is noticed in time.
const POLL: Duration = Duration::from_millis(5);
/// Clients that connect in parallel at the start.
const IN_FLIGHT: usize = 64;
/// The bounds of the random delay before an unannounced reconnect; it doubles per failure.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
const MILLISECOND: u64 = 1_000_000;

/// The subscribers, and the times of their reconnects.
pub(super) struct Reconnects {
    pool: ClientPool,
    endpoint: Endpoint,
    /// A token for each subscriber.
    tokens: Vec<String>,
    pub(super) subscribers: Vec<Subscriber>,
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

impl Reconnects {
    pub(super) fn new(endpoint: Endpoint, tokens: Vec<String>) -> anyhow::Result<Self> {
        Ok(Self {
            pool: ClientPool::new()?,
            endpoint,
            subscribers: tokens.iter().map(|_| Subscriber::default()).collect(),
            tokens,
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
        let mut watchdog = Watchdog::new();
        while self.missing() > 0 {
            let started = self.pool.len();
            if started < self.subscribers.len().min(self.subscribed + IN_FLIGHT) {
                self.connect(started)?;
            } else {
                self.poll()?;
                watchdog.check(self.subscribed as u64, "subscriptions")?;
            }
        }
        Ok(())
    }

    fn connect(&mut self, number: usize) -> anyhow::Result<()> {
        // Resumes from the last message, or starts with the newest one.
        let mut subscribe = json!({"topic": "bench"});
        if let Some(position) = &self.subscribers[number].position {
            subscribe["position"] = json!(position);
        }

        let endpoint = self.endpoint.clone().with_token(&self.tokens[number]);
        self.pool.connect(number, &endpoint.with_request("subscribe", subscribe))
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

    /// Starts reconnects that are due, and receives.
    pub(super) fn poll(&mut self) -> anyhow::Result<()> {
        while let Some(&Reverse((due, number))) = self.due.peek()
            && due <= clock::now()
        {
            self.due.pop();
            self.curve.attempts += 1;
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
        ensure!(self.stopped.is_some(), "connection {number} ended: {end}");
        if end == End::Unreachable {
            self.curve.refused += 1;
        } else {
            self.ends.add(&end.to_string());
        }
        let subscriber = &mut self.subscribers[number];
        self.subscribed -= usize::from(std::mem::take(&mut subscriber.is_subscribed));
        // Unannounced ends back off exponentially with full jitter.
        let due = subscriber.reconnect_at.take().unwrap_or_else(|| {
            let limit = FIRST_BACKOFF * 2u32.saturating_pow(subscriber.failures);
            subscriber.failures += 1;
            clock::now() + self.random.u64(..clock::span(limit.min(LONGEST_BACKOFF)))
        });
        self.due.push(Reverse((due, number)));
        Ok(())
    }

    /// Waits until each subscriber has this many messages, or no more arrive.
    pub(super) fn receive_all(&mut self, published: u64) -> anyhow::Result<()> {
        let mut watchdog = Watchdog::new();
        while self.subscribers.iter().any(|one| one.next < published)
            && watchdog.check(self.received(), "deliveries").is_ok()
        {
            self.poll()?;
        }
        Ok(())
    }

    fn receive(&mut self, number: usize, message: &Value) -> anyhow::Result<()> {
        let payload = &message["payload"];
        let subscriber = &mut self.subscribers[number];
        match message["type"].as_str().unwrap_or_default() {
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

    /// Returns the number of deliveries so far.
    pub(super) fn received(&self) -> u64 {
        self.subscribers.iter().map(|subscriber| subscriber.received).sum()
    }
}
