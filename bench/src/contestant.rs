//! A server with its subscribers and its publisher, and the cost of a run of messages through it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use hdrhistogram::Histogram;

use crate::report;
use crate::server::Server;
use crate::swarm::{Received, Swarm};
use crate::topics::Topics;

mod envelope;
mod publisher;
mod rounds;

use envelope::Envelope;
pub(crate) use publisher::Pace;
use publisher::Publisher;
pub(crate) use rounds::{Outcome, measure};

/// Turns without any delivery after which the rest counts as lost.
const PATIENCE: u32 = 20;
const TURN: Duration = Duration::from_secs(1);

/// A server under load.
pub(crate) struct Contestant {
    server: Server,
    topics: Topics,
    subscribers: Swarm,
    publisher: Publisher,
    /// The number that each subscriber must receive next.
    next: Vec<u64>,
    envelope: Envelope,
}

/// The cost of a run.
#[derive(Clone, Copy, Debug)]
struct Totals {
    deliveries: u64,
    /// On the wire, to the subscribers.
    bytes: u64,
    cpu: Duration,
}

/// Times since messages were published, in nanoseconds.
pub(crate) struct Latencies {
    /// Until a subscriber has the message.
    pub(crate) delivery: Histogram<u64>,
    /// Until the publisher has the acknowledgement.
    pub(crate) ack: Histogram<u64>,
}

impl Latencies {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { delivery: report::latencies()?, ack: report::latencies()? })
    }
}

impl Contestant {
    /// Connects this many subscribers for each topic, and the publisher.
    pub(crate) fn new(server: Server, topics: Topics, subscribers: usize) -> anyhow::Result<Self> {
        let count = topics.count() * subscribers;
        let connections: Vec<_> =
            (0..count).map(|index| server.subscribe(index, topics)).collect::<Result<_, _>>()?;
        Ok(Self {
            subscribers: Swarm::new(connections)?,
            publisher: Publisher::new(&server, topics)?,
            next: (0..count as u64).map(|index| topics.topic_of(index) as u64).collect(),
            envelope: Envelope::default(),
            server,
            topics,
        })
    }

    /// Returns the name of the server.
    pub(crate) fn name(&self) -> &'static str {
        self.server.name
    }

    /// Returns the text before and after the data of the last message of the first subscriber.
    pub(crate) fn envelope(&self) -> Option<(String, String)> {
        self.envelope.parts()
    }

    /// Returns the last acknowledgement that the publisher received.
    pub(crate) fn ack(&self) -> Option<&str> {
        self.publisher.last_ack()
    }

    /// Publishes a few messages that are not measured.
    pub(crate) fn warm_up(&mut self, paced: u64, flood: u64) -> anyhow::Result<()> {
        let mut ignored = Latencies::new()?;
        self.run(Pace::Every(Duration::from_millis(10)), paced, &mut ignored)?;
        self.run(Pace::AsFastAsTaken, flood, &mut ignored)?;
        Ok(())
    }

    /// Publishes this many messages and waits until each of their subscribers has each of them.
    fn run(
        &mut self,
        pace: Pace,
        messages: u64,
        latencies: &mut Latencies,
    ) -> anyhow::Result<Totals> {
        let cpu = self.server.cpu_time()?;
        let bytes = self.subscribers.bytes;
        let step = self.topics.count() as u64;
        let deliveries = messages * (self.subscribers.len() as u64 / step);
        let Self { subscribers, publisher, next, envelope, .. } = self;
        let Latencies { delivery, ack } = latencies;
        // Set by the side that fails, so that the other does not wait for it.
        let stop = AtomicBool::new(false);
        let (received, published) = thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                let published = publisher.publish(pace, messages, &stop, ack);
                stop.fetch_or(published.is_err(), Ordering::Relaxed);
                published
            });
            let received = receive(subscribers, deliveries, &stop, &mut |message| {
                let stamp = envelope.open(message)?;
                let expected = &mut next[message.member];
                if stamp.number != *expected {
                    let (got, member) = (stamp.number, message.member);
                    bail!("subscriber {member} received message {got} instead of {expected}");
                }
                *expected += step;
                delivery.saturating_record(message.time.saturating_sub(stamp.time));
                Ok(())
            });
            stop.fetch_or(received.is_err(), Ordering::Relaxed);
            (received, publishing.join())
        });
        let published = published.map_err(|_| anyhow!("the publisher panicked"))?;
        published.and(received).with_context(|| format!("{} failed", self.server.name))?;
        Ok(Totals {
            deliveries,
            bytes: self.subscribers.bytes - bytes,
            cpu: self.server.cpu_time()? - cpu,
        })
    }
}

/// Reads until this many messages have arrived.
fn receive(
    subscribers: &mut Swarm,
    deliveries: u64,
    stop: &AtomicBool,
    check: &mut impl FnMut(&Received<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut count = 0;
    let mut quiet_turns = 0;
    while count < deliveries {
        let before = count;
        subscribers.turn(TURN, &mut |message| {
            count += 1;
            check(message)
        })?;
        quiet_turns = if count == before { quiet_turns + 1 } else { 0 };
        if quiet_turns == PATIENCE {
            bail!("{} of {deliveries} deliveries never came", deliveries - count);
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}
