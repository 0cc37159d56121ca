//! A server with subscribers and a publisher, and the cost of messages through it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};

use crate::client_pool::{ClientPool, Frame};
use crate::clock::Watchdog;
use crate::server::Server;
use crate::topics::Topics;

mod envelope;
mod publisher;
mod rounds;

use envelope::Envelope;
use publisher::{Pace, Publisher};
pub(crate) use rounds::Load;
use rounds::Outcome;

/// The longest poll, so that a failure of the other thread is noticed.
const POLL: Duration = Duration::from_secs(1);
/// Messages published before a measurement: paced, then flooding.
const WARM_UP_PACED: u64 = 50;
const WARM_UP_FLOOD: u64 = 2_000;

/// A server under load.
pub(crate) struct Target {
    server: Server,
    topics: Topics,
    subscribers: ClientPool,
    publisher: Publisher,
    /// The number of the next message of each subscriber.
    next: Vec<u64>,
    envelope: Envelope,
}

impl Target {
    /// Connects the publisher and this many subscribers per topic, and warms the server up.
    pub(crate) fn start(
        server: Server,
        topics: Topics,
        subscribers: usize,
    ) -> anyhow::Result<Self> {
        let count = (topics.count() * subscribers) as u64;
        let endpoint = |number| server.subscriber(topics.topic_of(number));
        let mut pool = ClientPool::new()?;
        pool.connect_all(&(0..count).map(endpoint).collect::<Vec<_>>())?;
        let mut target = Self {
            subscribers: pool,
            publisher: Publisher::new(&server, topics)?,
            next: (0..count).map(|number| topics.topic_of(number) as u64).collect(),
            envelope: Envelope::default(),
            server,
            topics,
        };

        let mut ignored = Outcome::new()?;
        target.run(Pace::Every(Duration::from_millis(10)), WARM_UP_PACED, &mut ignored)?;
        target.run(Pace::Flood, WARM_UP_FLOOD, &mut ignored)?;
        Ok(target)
    }

    /// Returns the text that the server puts before and after the data.
    pub(crate) fn envelope(&self) -> anyhow::Result<(String, String)> {
        self.envelope.parts().context("the server delivered no message")
    }

    /// Returns the last acknowledgement that the publisher received.
    pub(crate) fn last_ack(&self) -> anyhow::Result<&str> {
        self.publisher.last_ack().context("the server acknowledged no message")
    }

    /// Publishes this many messages, and waits until each subscriber has all of its topic.
    ///
    /// # Errors
    /// A message is lost, repeated or out of order.
    fn run(&mut self, pace: Pace, messages: u64, outcome: &mut Outcome) -> anyhow::Result<()> {
        let cpu = self.server.cpu_time()?;
        let bytes = self.subscribers.received_bytes;
        // Each subscriber receives every `step`-th message, those of its topic.
        let step = self.topics.count() as u64;
        let deliveries = messages * (self.subscribers.len() as u64 / step);
        let Self { subscribers, publisher, next, envelope, .. } = self;
        let Outcome { delivery, ack, .. } = outcome;
        // Set by the thread that fails, so that the other does not wait for it.
        let stop = AtomicBool::new(false);

        let (received, published) = thread::scope(|scope| {
            // The publisher has a thread of its own, so that receiving does not delay its stamps.
            let publishing = scope.spawn(|| {
                let published = publisher.publish(pace, messages, &stop, ack);
                stop.fetch_or(published.is_err(), Ordering::Relaxed);
                published
            });
            let received = receive(subscribers, deliveries, &stop, |number, frame| {
                let stamp = envelope.open(number, frame)?;
                let expected = &mut next[number];
                if stamp.number != *expected {
                    let got = stamp.number;
                    bail!("subscriber {number} received message {got} instead of {expected}");
                }

                *expected += step;
                delivery.saturating_record(frame.time.saturating_sub(stamp.time));
                Ok(())
            });
            stop.fetch_or(received.is_err(), Ordering::Relaxed);
            (received, publishing.join())
        });

        let published = published.map_err(|_| anyhow!("the publisher panicked"))?;
        published.and(received).with_context(|| format!("{} failed", self.server.name()))?;
        outcome.bytes += self.subscribers.received_bytes - bytes;
        outcome.add_round(self.server.cpu_time()? - cpu, messages, deliveries);
        Ok(())
    }
}

/// Reads until this many messages have arrived, or `stop` is set.
fn receive(
    subscribers: &mut ClientPool,
    deliveries: u64,
    stop: &AtomicBool,
    mut check: impl FnMut(usize, &Frame) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut count = 0;

    let mut watchdog = Watchdog::new();
    while count < deliveries && !stop.load(Ordering::Relaxed) {
        for (number, frame) in subscribers.poll_frames(POLL)? {
            count += 1;
            check(number, &frame)?;
        }
        watchdog.check(count, "deliveries")?;
    }
    Ok(())
}
