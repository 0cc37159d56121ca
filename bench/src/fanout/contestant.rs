//! A server with its subscribers and its publisher, and what a run of messages through it costs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use hdrhistogram::Histogram;

use super::publisher::{Pace, Publisher};
use crate::data::{self, Stamp};
use crate::frame;
use crate::server::Server;
use crate::swarm::{Received, Swarm};

/// Without any delivery for so long, the rest is lost.
const PATIENCE: u32 = 20;
const TURN: Duration = Duration::from_secs(1);

/// A server under load.
pub(super) struct Contestant {
    server: Server,
    subscribers: Swarm,
    publisher: Publisher,
    /// The number that each subscriber must receive next.
    next: Vec<u64>,
    envelope: Envelope,
}

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    pub(super) deliveries: u64,
    /// On the wire, to the subscribers.
    pub(super) bytes: u64,
    pub(super) cpu: Duration,
}

/// What is around the data in a delivered message.
#[derive(Debug, Default)]
struct Envelope {
    /// A whole message; empty until the first.
    sample: Vec<u8>,
    /// Bytes after the data; they do not vary, those before it may.
    tail: usize,
}

impl Contestant {
    /// Connects the subscribers and the publisher.
    pub(super) fn new(server: Server, subscribers: usize) -> anyhow::Result<Self> {
        let connections: Vec<_> =
            (0..subscribers).map(|index| server.subscribe(index)).collect::<Result<_, _>>()?;
        Ok(Self {
            subscribers: Swarm::new(connections)?,
            publisher: Publisher::new(server.publisher()?, server.speaks_rejoin())?,
            next: vec![0; subscribers],
            envelope: Envelope::default(),
            server,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.server.name
    }

    /// What stands before and after the data.
    pub(super) fn envelope(&self) -> Option<(String, String)> {
        let Envelope { sample, tail } = &self.envelope;
        let text = std::str::from_utf8(sample).ok()?;
        let end = text.len().checked_sub(*tail)?;
        let prefix = text.get(..end.checked_sub(data::LEN)?)?;
        Some((prefix.to_owned(), text.get(end..)?.to_owned()))
    }

    /// Publishes so many messages and waits until each subscriber has each of them.
    pub(super) fn run(
        &mut self,
        pace: Pace,
        messages: u64,
        latencies: &mut Histogram<u64>,
    ) -> anyhow::Result<Totals> {
        let cpu = self.server.cpu_time()?;
        let bytes = self.subscribers.bytes;
        let deliveries = messages * self.subscribers.len() as u64;
        let Self { subscribers, publisher, next, envelope, .. } = self;
        // Set by the side that fails, so that the other does not wait for it.
        let stop = AtomicBool::new(false);
        let (received, published) = thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                let published = publisher.publish(pace, messages, &stop);
                stop.fetch_or(published.is_err(), Ordering::Relaxed);
                published
            });
            let received = receive(subscribers, deliveries, &stop, &mut |message| {
                let stamp = envelope.open(message)?;
                let expected = &mut next[message.member];
                if stamp.number != *expected {
                    let (got, who) = (stamp.number, message.member);
                    bail!("subscriber {who} received message {got} instead of {expected}");
                }
                *expected += 1;
                latencies.saturating_record(message.time.saturating_sub(stamp.time));
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

/// Takes what comes until it is enough.
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

impl Envelope {
    /// Takes the data out of a message.
    fn open(&mut self, message: &Received<'_>) -> anyhow::Result<Stamp> {
        let payload = message.payload;
        if self.sample.is_empty() {
            self.tail = tail(payload).unwrap_or(0);
        }
        if message.member == 0 {
            self.sample.clear();
            self.sample.extend_from_slice(payload);
        }
        let end = payload.len().saturating_sub(self.tail);
        let data = &payload[end.saturating_sub(data::LEN)..end];
        Stamp::read(data).filter(|_| message.opcode == frame::TEXT).with_context(|| {
            format!("not a published message: {}", String::from_utf8_lossy(payload))
        })
    }
}

/// How many bytes follow the data.
fn tail(payload: &[u8]) -> Option<usize> {
    const BEFORE: &[u8] = b"\"data\":\"";
    let start = payload.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    payload.len().checked_sub(start + data::LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(envelope: &mut Envelope, payload: &[u8]) -> Option<Stamp> {
        let received = Received {
            member: 0,
            opcode: frame::TEXT,
            is_compressed: false,
            payload,
            frame: payload,
            time: 0,
        };
        envelope.open(&received).ok()
    }

    #[test]
    fn data_is_found_in_an_envelope_and_without_one() {
        let stamp = Stamp { time: 5, number: 6 };
        let data = stamp.write();
        assert_eq!(open(&mut Envelope::default(), &data), Some(stamp));
        let mut envelope = Envelope::default();
        for position in ["9", "10"] {
            let wrapped =
                [format!("{{\"p\":{position},\"data\":\"").as_bytes(), &data, b"\",\"t\":1}"]
                    .concat();
            assert_eq!(open(&mut envelope, &wrapped), Some(stamp));
        }
        assert_eq!(open(&mut envelope, b"{\"type\":\"error\"}"), None);
    }
}
