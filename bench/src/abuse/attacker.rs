//! The attacker: a number of connections, and a rate at which they act.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::client_pool::{Client, ClientPool, Event};
use crate::clock::{self, Budget};
use crate::endpoint::Endpoint;
use crate::frame;
use crate::report::Counts;

const POLL: Duration = Duration::from_millis(5);
/// The time after the attack to read what paused connections have not read.
const READ_OUT: Duration = Duration::from_secs(1);
/// The id of each published message. Acknowledgements are only counted.
const PUBLISH: &str = "p";

/// The behaviour of an attacker's connections. The default does nothing.
pub(super) trait Attack: Send {
    /// Handles the authentication of a connection.
    fn on_ready(&mut self, _number: usize, _client: &mut Client) {}

    /// Performs one operation on a connection that is ready.
    fn act(&mut self, _number: usize, _client: &mut Client, _counts: &mut Counts) {}

    /// Handles a message from the server.
    fn on_message(&mut self, _message: &Value, _client: &mut Client) {}
}

/// The connections and the rates of an attack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Connections to hold. One that ends is opened again.
    connections: usize,
    opens_per_second: u32,
    /// The first connections, which act in turn.
    actors: usize,
    acts_per_second: u32,
    opening: Opening,
}

/// The start of an attacker's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Authenticated,
    /// Authenticated, with permessage-deflate.
    Compressed,
    /// Upgraded and never authenticated.
    Silent,
    /// The first half of an upgrade request.
    HalfRequest,
}

impl Plan {
    /// Returns a plan that holds authenticated connections.
    pub(super) fn hold(connections: usize, opens_per_second: u32) -> Self {
        let (actors, acts_per_second, opening) = (0, 0, Opening::Authenticated);
        Self { connections, opens_per_second, actors, acts_per_second, opening }
    }

    /// Makes the first connections act, at a rate for all of them together.
    pub(super) fn act(self, actors: usize, acts_per_second: u32) -> Self {
        Self { actors, acts_per_second, ..self }
    }

    pub(super) fn opening(self, opening: Opening) -> Self {
        Self { opening, ..self }
    }
}

/// An attack over WebSockets in progress.
pub(super) struct Attacker {
    endpoint: Endpoint,
    attack: Box<dyn Attack>,
    plan: Plan,
    pool: ClientPool,
    /// Numbers of connections to open.
    missing: Vec<usize>,
    /// Connections that may act, by number.
    is_ready: Vec<bool>,
    next_actor: usize,
    counts: Counts,
}

impl Attacker {
    pub(super) fn new(
        mut endpoint: Endpoint,
        plan: Plan,
        attack: Box<dyn Attack>,
    ) -> anyhow::Result<Self> {
        match plan.opening {
            Opening::Compressed => endpoint = endpoint.with_deflate(),
            Opening::Silent => endpoint.token = None,
            Opening::Authenticated | Opening::HalfRequest => {}
        }
        Ok(Self {
            endpoint,
            attack,
            plan,
            pool: ClientPool::new()?,
            // Popped from the end, so that connections open in the order of their numbers.
            missing: (0..plan.connections).rev().collect(),
            is_ready: vec![false; plan.connections],
            next_actor: 0,
            counts: Counts::default(),
        })
    }

    /// Attacks until `stop` is set. Returns counts of events, and the CPU time of the attack.
    pub(super) fn run(mut self, stop: &AtomicBool) -> anyhow::Result<(Counts, Duration)> {
        let mut opens = Budget::new(self.plan.opens_per_second);
        let mut acts = Budget::new(self.plan.acts_per_second);
        while !stop.load(Ordering::Relaxed) {
            while !self.missing.is_empty() && opens.take() {
                self.open()?;
            }
            while acts.take() {
                self.act();
            }
            self.poll()?;
        }

        // Excludes the read-out, which is not part of the attack.
        let cpu = clock::thread_cpu();
        self.pool.resume_reading()?;
        let end = clock::after(READ_OUT);
        while clock::now() < end {
            self.poll()?;
        }
        self.counts.add_many("still connected", self.pool.len() as u64);
        Ok((self.counts, cpu))
    }

    fn open(&mut self) -> anyhow::Result<()> {
        let Some(number) = self.missing.pop() else { return Ok(()) };

        self.counts.add("opened");
        if self.plan.opening != Opening::HalfRequest {
            return self.pool.connect(number, &self.endpoint);
        }

        // No response makes it ready: half a request has none.
        self.is_ready[number] = true;
        let upgrade = self.endpoint.upgrade();
        self.pool.connect_with(number, &self.endpoint, &upgrade.as_bytes()[..upgrade.len() / 2])
    }

    fn act(&mut self) {
        let number = self.next_actor;
        self.next_actor = (number + 1) % self.plan.actors.max(1);
        // One that is not ready loses its turn, so that the others keep their rate.
        if self.is_ready[number]
            && let Some(client) = self.pool.client(number)
        {
            self.attack.act(number, client, &mut self.counts);
        }
    }

    fn poll(&mut self) -> anyhow::Result<()> {
        for (number, event) in self.pool.poll(POLL)? {
            match event {
                Event::Opened => self.counts.add("upgraded"),
                Event::Frame(frame) if frame.opcode == frame::PONG => self.counts.add("pongs"),
                Event::Frame(frame) => self.receive(number, &frame.message()?),
                Event::Ended(end) => {
                    self.counts.add(&end.to_string());
                    self.is_ready[number] = false;
                    self.missing.push(number);
                }
            }
        }
        Ok(())
    }

    /// Counts a message by its meaning for the attack, and passes it to the attack.
    fn receive(&mut self, number: usize, message: &Value) {
        let kind = message["type"].as_str().unwrap_or_default();
        match kind {
            "ack" if message["reply_to"] == PUBLISH => self.counts.add("accepted"),
            "error" => self.counts.add(message["payload"]["code"].as_str().unwrap_or(kind)),
            "gap" => self.counts.add("gaps"),
            _ => {}
        }

        let Some(client) = self.pool.client(number) else { return };

        if kind == "auth_result" {
            self.is_ready[number] = true;
            self.attack.on_ready(number, client);
        }
        self.attack.on_message(message, client);
    }
}

/// Publishes a message if the socket has accepted the ones before.
pub(super) fn publish(client: &mut Client, topic: &str, data: &str, counts: &mut Counts) {
    if !client.is_writable() {
        counts.add("held back");
        return;
    }
    client.publish(PUBLISH, topic, data);
    counts.add("published");
}
