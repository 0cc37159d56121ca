//! The publisher of a target: paced, or as fast as the server accepts messages.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;

use super::POLL;
use crate::client_pool::{Client, ClientPool, publish_request};
use crate::clock::{self, Watchdog};
use crate::frame;
use crate::server::Server;
use crate::stamp::Stamp;
use crate::topics::Topics;

/// Bytes of frames per write in a flood. Small, so that each stamp is close to the write.
const CHUNK_BYTES: usize = 8 * 1024;

/// The rate of publishing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// One message per interval.
    Every(Duration),
    /// A message as soon as the socket accepts it.
    Flood,
}

/// A connection that publishes, in a pool of its own.
pub(super) struct Publisher {
    pool: ClientPool,
    topics: Topics,
    /// Set if the server takes `publish` messages. The bare loop takes only the data.
    speaks_rejoin: bool,
    /// Set if the server acknowledges each message.
    is_acknowledged: bool,
    /// The times of the unacknowledged messages, oldest first.
    unacknowledged: VecDeque<u64>,
    last_ack: Vec<u8>,
    /// The number of the next message.
    next: u64,
}

impl Publisher {
    pub(super) fn new(server: &Server, topics: Topics) -> anyhow::Result<Self> {
        let mut pool = ClientPool::new()?;
        pool.connect_all(&[server.publisher()])?;
        Ok(Self {
            pool,
            topics,
            speaks_rejoin: server.speaks_rejoin(),
            is_acknowledged: server.acknowledges(),
            unacknowledged: VecDeque::new(),
            last_ack: Vec::new(),
            next: 0,
        })
    }

    /// Returns the last acknowledgement.
    pub(super) fn last_ack(&self) -> Option<&str> {
        let text = str::from_utf8(&self.last_ack).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// Sends this many messages and waits for their acknowledgements, or until `stop` is set.
    pub(super) fn publish(
        &mut self,
        pace: Pace,
        messages: u64,
        stop: &AtomicBool,
        acks: &mut Histogram<u64>,
    ) -> anyhow::Result<()> {
        let end = self.next + messages;
        let mut due = clock::now();
        let mut watchdog = Watchdog::new();
        while !stop.load(Ordering::Relaxed) {
            let is_written = self.send_due(pace, end, &mut due)?;
            if is_written && self.next == end && self.unacknowledged.is_empty() {
                return Ok(());
            }

            let timeout = match pace {
                _ if self.next == end => POLL,
                Pace::Every(_) => clock::until(due, POLL),
                // Not blocked: takes acknowledgements that have arrived, then sends the next chunk.
                Pace::Flood if is_written => Duration::ZERO,
                Pace::Flood => POLL,
            };
            self.receive(timeout, acks)?;
            watchdog.check(self.next + self.unacknowledged.len() as u64, "acknowledgements")?;
        }
        Ok(())
    }

    /// Sends the messages that are due. Returns whether the socket has accepted all bytes.
    fn send_due(&mut self, pace: Pace, end: u64, due: &mut u64) -> anyhow::Result<bool> {
        let mut is_due = match pace {
            Pace::Every(_) => clock::now() >= *due,
            Pace::Flood => self.client()?.unsent_bytes() < CHUNK_BYTES,
        };
        while is_due && self.next < end {
            let time = clock::now();
            // Stamped before it is queued, so that the latency includes the client's own queue.
            let message = self.message(time);
            if self.is_acknowledged {
                self.unacknowledged.push_back(time);
            }
            self.next += 1;
            let client = self.client()?;
            client.queue(frame::TEXT, message.as_bytes());

            is_due = match pace {
                Pace::Every(interval) => {
                    // Not from now: a delayed message does not lower the rate.
                    *due += clock::span(interval);
                    false
                }
                Pace::Flood => client.unsent_bytes() < CHUNK_BYTES,
            };
        }

        let client = self.client()?;
        client.flush();
        Ok(client.is_writable())
    }

    fn client(&mut self) -> anyhow::Result<&mut Client> {
        self.pool.client(0).context("the publisher is disconnected")
    }

    /// Returns the next message.
    fn message(&self, time: u64) -> String {
        let topic = self.topics.topic_of(self.next);
        let data = Stamp { time, number: self.next }.write();
        if self.speaks_rejoin {
            publish_request(&self.next.to_string(), &Topics::name(topic), &data)
        } else {
            Topics::tag(topic) + &data
        }
    }

    /// Waits for acknowledgements and records their latencies.
    fn receive(&mut self, timeout: Duration, acks: &mut Histogram<u64>) -> anyhow::Result<()> {
        for (_, frame) in self.pool.poll_frames(timeout)? {
            let payload = frame.payload();
            if has_type(payload, "error") {
                bail!("a publish failed: {}", String::from_utf8_lossy(payload));
            }

            if has_type(payload, "ack") {
                let time = self.unacknowledged.pop_front();
                let time = time.context("more acknowledgements than messages")?;
                acks.saturating_record(frame.time.saturating_sub(time));
                self.last_ack.clear();
                self.last_ack.extend_from_slice(payload);
            }
        }
        Ok(())
    }
}

/// Returns whether a message has a type, without the cost of parsing it.
fn has_type(payload: &[u8], name: &str) -> bool {
    let wanted = format!(r#""type":"{name}""#);
    payload.windows(wanted.len()).any(|window| window == wanted.as_bytes())
}
