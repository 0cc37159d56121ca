//! Well-behaved clients, and the delays that they experience.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::client_pool::{ClientPool, End, Event, Frame};
use crate::clock::{self, Budget};
use crate::endpoint::Endpoint;
use crate::report;
use crate::server::Server;
use crate::stamp::Stamp;

const PUBLISHES_PER_SECOND: u32 = 20;
/// Newcomers that connect per second, one at a time.
const NEWCOMERS_PER_SECOND: u32 = 2;
/// The longest poll, which bounds the delay of the next publish or ping.
const POLL: Duration = Duration::from_millis(5);
/// The prefix of a ping's id; the time of the ping follows.
const PING: &str = "t";

/// The measurements of one phase. Each counts for the phase in which it was started.
pub(super) struct Sample {
    started: u64,
    pub(super) deliveries: Histogram<u64>,
    pub(super) pings: Histogram<u64>,
    /// Times of newcomers from the first packet to their authentication.
    pub(super) arrivals: Histogram<u64>,
    /// Newcomers that started to connect.
    pub(super) attempts: u64,
    /// Newcomers that were not authenticated.
    pub(super) refused: u64,
    /// Messages that did not arrive.
    pub(super) missed: u64,
    /// Connections that ended.
    pub(super) lost: u64,
}

/// The clients: `count` subscribers, then a publisher, then a newcomer.
pub(super) struct Victims {
    pool: ClientPool,
    endpoint: Endpoint,
    count: usize,
    /// The number of the next message of each subscriber.
    next: Vec<u64>,
    /// The start of the newcomer's connection until it is authenticated.
    newcomer: Option<u64>,
    samples: Vec<Sample>,
    publishes: Budget,
    pings: Budget,
    newcomers: Budget,
    /// The subscriber that pinged last.
    pinged: usize,
    published: u64,
}

impl Victims {
    /// Connects the clients and waits until all are ready.
    pub(super) fn connect(server: &Server, count: u32) -> anyhow::Result<Self> {
        let pings = Budget::new(count);
        let count = usize::try_from(count)?;
        let mut victims = Self {
            pool: ClientPool::new()?,
            endpoint: server.endpoint("/ws"),
            count,
            next: vec![0; count],
            newcomer: None,
            samples: Vec::new(),
            publishes: Budget::new(PUBLISHES_PER_SECOND),
            pings,
            newcomers: Budget::new(NEWCOMERS_PER_SECOND),
            pinged: 0,
            published: 0,
        };

        let subscribe = json!({"topic": "bench"});
        let mut endpoints =
            vec![victims.endpoint.clone().with_request("subscribe", subscribe); count];
        endpoints.push(victims.endpoint.clone());
        victims.pool.connect_all(&endpoints)?;
        Ok(victims)
    }

    /// Starts a phase, whose measurements have a sample of their own.
    pub(super) fn start_phase(&mut self) -> anyhow::Result<()> {
        self.samples.push(Sample {
            started: clock::now(),
            deliveries: report::latencies()?,
            pings: report::latencies()?,
            arrivals: report::latencies()?,
            attempts: 0,
            refused: 0,
            missed: 0,
            lost: 0,
        });
        Ok(())
    }

    /// Returns the sample of the phase that includes this time.
    fn sample(&mut self, time: u64) -> anyhow::Result<&mut Sample> {
        let sample = self.samples.iter_mut().rev().find(|sample| sample.started <= time);
        sample.context("an event belongs to no phase")
    }

    /// Publishes, pings and receives for this time.
    pub(super) fn run(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = clock::after(time);
        while clock::now() < end {
            if self.publishes.take() {
                self.publish();
            }
            while self.pings.take() {
                self.ping();
            }

            if self.newcomer.is_none() && self.newcomers.take() {
                // Replaces the last newcomer, whose socket is closed thereby.
                let now = clock::now();
                self.newcomer = Some(now);
                self.sample(now)?.attempts += 1;
                self.pool.connect(self.count + 1, &self.endpoint)?;
            }
            self.poll()?;
        }
        Ok(())
    }

    fn publish(&mut self) {
        let data = Stamp { time: clock::now(), number: self.published }.write();
        if let Some(client) = self.pool.client(self.count) {
            client.publish("m", "bench", &data);
            self.published += 1;
        }
    }

    /// Pings from the next subscriber, so that the pings are spread evenly over time.
    fn ping(&mut self) {
        self.pinged = (self.pinged + 1) % self.count;
        if let Some(client) = self.pool.client(self.pinged) {
            client.request(&format!("{PING}{}", clock::now()), "ping", &json!({}));
        }
    }

    fn poll(&mut self) -> anyhow::Result<()> {
        for (number, event) in self.pool.poll(POLL)? {
            match event {
                Event::Opened => {}
                Event::Frame(frame) => self.receive(number, &frame)?,
                Event::Ended(end) => self.disconnected(number, end)?,
            }
        }
        Ok(())
    }

    fn receive(&mut self, number: usize, frame: &Frame) -> anyhow::Result<()> {
        let message = frame.message()?;

        match message["type"].as_str().unwrap_or_default() {
            // Of the newcomer: the others are authenticated before the first phase.
            "auth_result" => {
                if let Some(started) = self.newcomer.take() {
                    let latency = frame.time.saturating_sub(started);
                    self.sample(started)?.arrivals.saturating_record(latency);
                }
            }
            "message" => {
                let stamp = Stamp::of(&message["payload"])?;
                let expected = std::mem::replace(&mut self.next[number], stamp.number + 1);
                ensure!(stamp.number >= expected, "message {} was delivered twice", stamp.number);

                let sample = self.sample(stamp.time)?;
                sample.deliveries.saturating_record(frame.time.saturating_sub(stamp.time));
                // Counts gaps within the stream here, and those at its end in `into_samples`.
                sample.missed += stamp.number - expected;
            }
            "pong" => {
                let sent = message["reply_to"]
                    .as_str()
                    .and_then(|id| id.strip_prefix(PING))
                    .and_then(|time| time.parse().ok());
                let sent = sent.context("a pong has an unknown id")?;
                self.sample(sent)?.pings.saturating_record(frame.time.saturating_sub(sent));
            }
            "error" => bail!("a well-behaved client received {message}"),
            _ => {}
        }
        Ok(())
    }

    fn disconnected(&mut self, number: usize, end: End) -> anyhow::Result<()> {
        // Without the publisher, no delivery could be measured.
        ensure!(number != self.count, "the publisher's connection ended: {end}");
        if number < self.count {
            self.sample(clock::now())?.lost += 1;
        } else if let Some(started) = self.newcomer.take() {
            self.sample(started)?.refused += 1;
        }
        Ok(())
    }

    /// Returns the samples of the two phases. Messages that have not arrived by now are missed.
    pub(super) fn into_samples(mut self) -> anyhow::Result<[Sample; 2]> {
        let missed = |next: &u64| self.published.saturating_sub(*next);
        let missed = self.next.iter().map(missed).sum::<u64>();
        if let Some(sample) = self.samples.last_mut() {
            sample.missed += missed;
        }
        self.samples.try_into().map_err(|_| anyhow!("a measurement has two phases"))
    }
}
