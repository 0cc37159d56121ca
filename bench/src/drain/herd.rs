//! Clients as the protocol wants them: told to go they come back in time, each from its position.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use anyhow::{bail, ensure};
use serde_json::json;

use super::curve::Curve;
use super::member::Member;
use super::publisher::Publisher;
use crate::client::Endpoint;
use crate::clock;
use crate::crowd::{Crowd, End, Heard, Peer};
use crate::random::Random;
use crate::report::Counts;
use crate::said::{Closing, Said};

/// Connections on their way at one time when all come for the first time.
const IN_FLIGHT: usize = 64;
/// Without anything for so long, the rest never comes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first and the longest limit of the random wait before another attempt.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);
/// The publisher does not spread its return: it is what others wait for.
const PUBLISHER_BACK_OFF: Duration = Duration::from_millis(100);
const MILLISECOND: u64 = 1_000_000;

/// The clients, and when they come back.
pub(super) struct Herd {
    crowd: Crowd,
    endpoint: Endpoint,
    flock: Flock,
    /// When who is to connect.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    random: Random,
    /// How connections ended after the stop.
    pub(super) ends: Counts,
}

/// What the clients are; the publisher's number is the one after the last member's.
pub(super) struct Flock {
    tokens: Vec<String>,
    members: Vec<Member>,
    pub(super) publisher: Publisher,
    there: usize,
    random: Random,
    /// When the stop was; until then nobody is expected to go.
    began: Option<u64>,
    pub(super) curve: Curve,
    pub(super) verdicts: Counts,
}

/// What has come of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) deliveries: u64,
    pub(super) missed: u64,
    pub(super) repeated: u64,
}

impl Herd {
    pub(super) fn new(endpoint: Endpoint, tokens: Vec<String>, rate: u32) -> anyhow::Result<Self> {
        let count = tokens.len().saturating_sub(1);
        let flock = Flock {
            tokens,
            members: (0..count).map(|_| Member::default()).collect(),
            publisher: Publisher::new(rate),
            there: 0,
            random: Random::new(),
            began: None,
            curve: Curve::default(),
            verdicts: Counts::default(),
        };
        let (due, random) = (BinaryHeap::new(), Random::new());
        Ok(Self { crowd: Crowd::new()?, endpoint, flock, due, random, ends: Counts::default() })
    }

    /// What the clients know.
    pub(super) fn flock(&self) -> &Flock {
        &self.flock
    }

    /// Connects all of them, a few at a time.
    pub(super) fn gather(&mut self) -> anyhow::Result<()> {
        let count = self.flock.members.len();
        let mut came = (self.flock.there, clock::now());
        // Last, so that nothing is published before the last member is there.
        for number in 0..=count {
            while self.crowd.len() - self.flock.there >= IN_FLIGHT
                || (number == count && self.away() > 0)
            {
                self.turn(FIRST_BACK_OFF)?;
                if self.flock.there > came.0 {
                    came = (self.flock.there, clock::now());
                }
                ensure!(clock::now() < came.1 + clock::span(PATIENCE), "nobody comes any more");
            }
            self.crowd.connect(number, &self.endpoint)?;
        }
        Ok(())
    }

    /// From here on connections end, and come back.
    pub(super) fn begin(&mut self, now: u64) {
        self.flock.began = Some(now);
        self.flock.verdicts = Counts::default();
    }

    /// How many members are not in their place.
    pub(super) fn away(&self) -> usize {
        self.flock.members.len() - self.flock.there
    }

    /// Publishes, connects who is due, and takes what comes.
    pub(super) fn turn(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let publisher = self.flock.members.len();
        if let Some(peer) = self.crowd.peer(publisher) {
            self.flock.publisher.publish(peer);
        }
        while let Some(Reverse((at, number))) = self.due.peek().copied() {
            if at > clock::now() {
                break;
            }
            self.due.pop();
            if number != publisher {
                self.flock.curve.attempts.push(clock::now() - self.flock.began.unwrap_or(0));
            }
            self.crowd.connect(number, &self.endpoint)?;
        }
        let flock = &mut self.flock;
        let ended = self.crowd.turn(timeout, &mut |number, peer, heard| match heard {
            Heard::Opened => {
                peer.ask("a", "authenticate", &json!({"token": flock.tokens[number]}));
                Ok(())
            }
            Heard::Text(text) => flock.hear(number, peer, text),
            Heard::Pong => Ok(()),
        })?;
        for (number, end) in ended {
            self.lost(number, end)?;
        }
        Ok(())
    }

    fn lost(&mut self, number: usize, end: End) -> anyhow::Result<()> {
        let now = clock::now();
        let Some(began) = self.flock.began else { bail!("client {number} was {end}") };
        let Some(member) = self.flock.members.get_mut(number) else {
            self.flock.publisher.lost();
            self.due.push(Reverse((now + clock::span(PUBLISHER_BACK_OFF), number)));
            return Ok(());
        };
        if end == End::Unreachable {
            self.flock.curve.refused.push(now - began);
        } else {
            self.ends.add(&end.to_string());
        }
        self.flock.there -= usize::from(std::mem::take(&mut member.is_there));
        let at = member.come_back_at.take().unwrap_or_else(|| {
            let limit = FIRST_BACK_OFF * 2u32.saturating_pow(member.failures);
            member.failures += 1;
            now + self.random.below(clock::span(limit.min(LONGEST_BACK_OFF)))
        });
        self.due.push(Reverse((at, number)));
        Ok(())
    }

    /// Stops publishing and waits until everybody has everything, or nothing comes any more.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.flock.publisher.is_done = true;
        let mut heard = (self.flock.tally().deliveries, clock::now());
        while !self.flock.is_complete() && clock::now() < heard.1 + clock::span(PATIENCE) {
            self.turn(FIRST_BACK_OFF)?;
            let deliveries = self.flock.tally().deliveries;
            if deliveries > heard.0 {
                heard = (deliveries, clock::now());
            }
        }
        Ok(())
    }
}

impl Flock {
    fn hear(&mut self, number: usize, peer: &mut Peer, text: &[u8]) -> anyhow::Result<()> {
        let said = Said::read(text)?;
        let Some(member) = self.members.get_mut(number) else {
            match said.kind {
                "auth_result" => self.publisher.is_there = true,
                _ => self.publisher.answered(&said),
            }
            return Ok(());
        };
        match said.kind {
            "auth_result" => {
                let payload = match &member.position {
                    Some(position) => json!({"topic": "bench", "position": position}),
                    None => json!({"topic": "bench"}),
                };
                peer.ask("s", "subscribe", &payload);
            }
            "ack" => {
                self.verdicts.add(&member.subscribed(&said.payload()?));
                self.there += 1;
                self.curve.returned.extend(self.began.map(|began| clock::now() - began));
            }
            "message" => member.take(&said.payload()?)?,
            "gap" => self.verdicts.add("a gap later"),
            "closing" => {
                let closing: Closing = said.payload()?;
                if let Some(after) = closing.reconnect_after_ms {
                    let part = self.random.below(closing.window_ms * MILLISECOND + 1);
                    member.come_back_at = Some(clock::now() + after * MILLISECOND + part);
                }
            }
            "error" => bail!("client {number} was told {}", String::from_utf8_lossy(text)),
            _ => {}
        }
        Ok(())
    }

    /// What became of the messages until now.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for member in &self.members {
            tally.deliveries += member.received;
            tally.missed += member.missed(self.publisher.next, &self.publisher.unsure);
            tally.repeated += member.repeated;
        }
        tally
    }

    fn is_complete(&self) -> bool {
        let all = |member: &Member| member.is_there && member.has_all_before(self.publisher.next);
        self.publisher.is_silent() && self.members.iter().all(all)
    }
}
