//! Connections that behave well, and how long they wait for what is theirs.

use std::time::Duration;

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::client::Endpoint;
use crate::clock;
use crate::crowd::{Crowd, End, Heard, Peer};
use crate::data::Stamp;
use crate::frame;
use crate::report;
use crate::said::{Message, Said};
use crate::server::Server;

const PUBLISH_EVERY: Duration = Duration::from_millis(50);
const PING_EVERY: Duration = Duration::from_secs(1);
const COME_EVERY: Duration = Duration::from_millis(500);
/// The longest wait before looking what is due.
const TURN: Duration = Duration::from_millis(5);
/// Without anything for so long, the rest never comes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The id of a ping begins like this, and goes on with the time when it was sent.
const PING: &str = "t";

/// What was measured in one phase, by the time when it was begun.
pub(super) struct Sample {
    since: u64,
    pub(super) deliveries: Histogram<u64>,
    pub(super) pings: Histogram<u64>,
    /// How long new connections took that came through.
    pub(super) newcomers: Histogram<u64>,
    pub(super) came: u64,
    pub(super) refused: u64,
    /// Messages that never came.
    pub(super) missed: u64,
    /// Connections that ended.
    pub(super) lost: u64,
}

/// The subscribers, then the one who publishes, then the newcomer.
pub(super) struct Victims {
    crowd: Crowd,
    endpoint: Endpoint,
    state: State,
    publish_due: u64,
    ping_due: u64,
    come_due: u64,
    pinged: usize,
    published: u64,
}

struct State {
    token: String,
    count: usize,
    there: usize,
    /// The message that each must get next.
    next: Vec<u64>,
    /// When the newcomer began to connect, while it is on its way.
    coming_since: Option<u64>,
    newcomer_has_come: bool,
    samples: Vec<Sample>,
}

impl Victims {
    /// Connects them and waits until all are there.
    pub(super) fn new(server: &Server, count: usize) -> anyhow::Result<Self> {
        let now = clock::now();
        let state = State {
            token: server.token()?.to_owned(),
            count,
            there: 0,
            next: vec![0; count],
            coming_since: None,
            newcomer_has_come: false,
            samples: Vec::new(),
        };
        let mut victims = Self {
            crowd: Crowd::new()?,
            endpoint: server.endpoint("/ws"),
            state,
            publish_due: now,
            ping_due: now,
            come_due: now,
            pinged: 0,
            published: 0,
        };
        for number in 0..=count {
            victims.crowd.connect(number, &victims.endpoint)?;
        }
        while victims.state.there <= count {
            victims.turn(PATIENCE)?;
            ensure!(clock::now() < now + clock::span(PATIENCE), "the server lets nobody in");
        }
        Ok(victims)
    }

    /// What is begun from here on counts by itself.
    pub(super) fn begin_phase(&mut self) -> anyhow::Result<()> {
        self.state.samples.push(Sample {
            since: clock::now(),
            deliveries: report::latencies()?,
            pings: report::latencies()?,
            newcomers: report::latencies()?,
            came: 0,
            refused: 0,
            missed: 0,
            lost: 0,
        });
        Ok(())
    }

    /// Publishes, pings and listens for so long.
    pub(super) fn run(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = clock::now() + clock::span(time);
        while clock::now() < until {
            self.publish();
            self.ping();
            self.come()?;
            let due = self.publish_due.min(self.ping_due).min(self.come_due);
            let wait = Duration::from_nanos(due.saturating_sub(clock::now()));
            self.turn(wait.min(TURN))?;
        }
        Ok(())
    }

    fn publish(&mut self) {
        let now = clock::now();
        if now < self.publish_due {
            return;
        }
        self.publish_due += clock::span(PUBLISH_EVERY);
        let stamp = Stamp { time: now, number: self.published }.write();
        let text = String::from_utf8_lossy(&stamp);
        let message = format!(
            r#"{{"id":"m","type":"publish","payload":{{"topic":"bench","data":"{text}"}}}}"#
        );
        if let Some(peer) = self.crowd.peer(self.state.count) {
            peer.send(frame::TEXT, message.as_bytes());
            self.published += 1;
        }
    }

    /// One after the other, evenly over the time.
    fn ping(&mut self) {
        let now = clock::now();
        if now < self.ping_due {
            return;
        }
        self.ping_due += clock::span(PING_EVERY) / self.state.count.max(1) as u64;
        self.pinged = (self.pinged + 1) % self.state.count;
        if let Some(peer) = self.crowd.peer(self.pinged) {
            peer.ask(&format!("{PING}{now}"), "ping", &json!({}));
        }
    }

    fn come(&mut self) -> anyhow::Result<()> {
        let number = self.state.count + 1;
        if std::mem::take(&mut self.state.newcomer_has_come) {
            self.crowd.leave(number);
        }
        let now = clock::now();
        if now < self.come_due || self.state.coming_since.is_some() {
            return Ok(());
        }
        self.come_due = now + clock::span(COME_EVERY);
        self.state.coming_since = Some(now);
        if let Some(sample) = self.state.sample(now) {
            sample.came += 1;
        }
        self.crowd.connect(number, &self.endpoint)
    }

    fn turn(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let state = &mut self.state;
        let ended = self
            .crowd
            .turn(timeout, &mut |number, peer, heard| state.hear(number, peer, &heard))?;
        for (number, end) in ended {
            self.state.lost(number, end)?;
        }
        Ok(())
    }

    /// The two phases; what did not arrive until now is missed.
    pub(super) fn into_samples(mut self) -> anyhow::Result<[Sample; 2]> {
        let missed =
            self.state.next.iter().map(|next| self.published.saturating_sub(*next)).sum::<u64>();
        if let Some(sample) = self.state.samples.last_mut() {
            sample.missed += missed;
        }
        self.state.samples.try_into().map_err(|_| anyhow::anyhow!("there are two phases"))
    }
}

impl State {
    /// The phase in which something was begun.
    fn sample(&mut self, time: u64) -> Option<&mut Sample> {
        self.samples.iter_mut().rev().find(|sample| sample.since <= time)
    }

    fn hear(&mut self, number: usize, peer: &mut Peer, heard: &Heard<'_>) -> anyhow::Result<()> {
        let text = match heard {
            Heard::Opened => {
                peer.ask("a", "authenticate", &json!({"token": self.token}));
                return Ok(());
            }
            Heard::Pong => return Ok(()),
            Heard::Text(text) => text,
        };
        let now = clock::now();
        let said = Said::read(text)?;
        match (said.kind, said.reply_to) {
            ("auth_result", _) if number < self.count => {
                peer.ask("s", "subscribe", &json!({"topic": "bench"}));
            }
            ("auth_result", _) if number == self.count => self.there += 1,
            ("auth_result", _) => {
                let since = self.coming_since.take().unwrap_or(now);
                self.newcomer_has_come = true;
                if let Some(sample) = self.sample(since) {
                    sample.newcomers.saturating_record(now.saturating_sub(since));
                }
            }
            ("ack", Some("s")) => self.there += 1,
            ("message", _) => self.take(number, &said.payload()?, now)?,
            ("pong", Some(id)) => {
                let sent = id.strip_prefix(PING).and_then(|time| time.parse().ok()).unwrap_or(now);
                if let Some(sample) = self.sample(sent) {
                    sample.pings.saturating_record(now.saturating_sub(sent));
                }
            }
            ("error", _) => bail!("one that behaves was told {}", String::from_utf8_lossy(text)),
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self, number: usize, message: &Message<'_>, now: u64) -> anyhow::Result<()> {
        let Some(stamp) = message.text().and_then(Stamp::read) else { bail!("a strange message") };
        let expected = std::mem::replace(&mut self.next[number], stamp.number + 1);
        ensure!(stamp.number >= expected, "message {} came twice", stamp.number);
        if let Some(sample) = self.sample(stamp.time) {
            sample.deliveries.saturating_record(now.saturating_sub(stamp.time));
            sample.missed += stamp.number - expected;
        }
        Ok(())
    }

    fn lost(&mut self, number: usize, end: End) -> anyhow::Result<()> {
        ensure!(number != self.count, "the one who publishes was {end}");
        let is_member = number < self.count;
        let newcomer = (number > self.count).then(|| self.coming_since.take()).flatten();
        let Some(sample) = self.sample(newcomer.unwrap_or(clock::now())) else {
            bail!("one that behaves was {end} before anything happened")
        };
        if is_member {
            sample.lost += 1;
        } else {
            sample.refused += u64::from(newcomer.is_some());
        }
        Ok(())
    }
}
