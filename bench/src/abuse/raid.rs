//! The attacker's side: so many connections, so many operations a second, and what they met.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::attack::Attack;
use crate::client::Endpoint;
use crate::clock::{self, Budget};
use crate::crowd::{Crowd, Heard, Peer};
use crate::report::Counts;
use crate::said::{Refusal, Said};

const TURN: Duration = Duration::from_millis(5);
/// Time to hear, at the end, what was said to those who did not listen.
const HEAR_OUT: Duration = Duration::from_secs(1);

/// Whom to attack.
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    pub(super) token: String,
}

/// How an attack goes about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Connections that it holds; one that ends is made anew.
    pub(super) connections: usize,
    pub(super) opens_per_second: u32,
    /// Of them, those that act, in turn.
    pub(super) actors: usize,
    pub(super) acts_per_second: u32,
    pub(super) opening: Opening,
}

/// How its connections begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// As anybody's, authenticated.
    Proper,
    /// The same, with compression.
    Compressed,
    /// Without a log-in.
    Silent,
    /// With half a request.
    HalfRequest,
}

/// An attack under way.
pub(super) struct Raid {
    target: Target,
    attack: Box<dyn Attack>,
    plan: Plan,
    crowd: Crowd,
    /// Those that are not connected.
    missing: Vec<usize>,
    /// Those that are let in.
    inside: Vec<bool>,
    next_actor: usize,
    what: Counts,
}

impl Raid {
    pub(super) fn new(target: Target, attack: Box<dyn Attack>) -> anyhow::Result<Self> {
        let plan = attack.plan();
        Ok(Self {
            target: match plan.opening {
                Opening::Compressed => {
                    Target { endpoint: target.endpoint.with_deflate(), ..target }
                }
                Opening::Proper | Opening::Silent | Opening::HalfRequest => target,
            },
            attack,
            plan,
            crowd: Crowd::new()?,
            missing: (0..plan.connections).rev().collect(),
            inside: vec![false; plan.connections],
            next_actor: 0,
            what: Counts::default(),
        })
    }

    /// Attacks until it is to stop; what came of it, and the CPU time that it took.
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
            self.turn()?;
        }
        let cpu = clock::thread_cpu();
        self.crowd.listen_again();
        let until = clock::now() + clock::span(HEAR_OUT);
        while clock::now() < until {
            self.turn()?;
        }
        self.what.add_many("still there", self.crowd.len() as u64);
        Ok((self.what, cpu))
    }

    fn open(&mut self) -> anyhow::Result<()> {
        let Some(number) = self.missing.pop() else { return Ok(()) };
        let endpoint = &self.target.endpoint;
        self.what.add("opened");
        if self.plan.opening == Opening::HalfRequest {
            let request = endpoint.request();
            self.inside[number] = true;
            let (half, _) = request.as_bytes().split_at(request.len() / 2);
            self.crowd.connect_with(number, endpoint, half)
        } else {
            self.crowd.connect(number, endpoint)
        }
    }

    fn act(&mut self) {
        let number = self.next_actor;
        self.next_actor = (number + 1) % self.plan.actors.max(1);
        if self.inside[number]
            && let Some(peer) = self.crowd.peer(number)
        {
            self.attack.act(number, peer, &mut self.what);
        }
    }

    fn turn(&mut self) -> anyhow::Result<()> {
        let Self { crowd, attack, inside, what, target, plan, .. } = self;
        let ended = crowd.turn(TURN, &mut |number, peer, heard| match heard {
            Heard::Opened if plan.opening == Opening::Silent => {
                what.add("let in");
                Ok(())
            }
            Heard::Opened => {
                peer.ask("a", "authenticate", &json!({"token": target.token}));
                Ok(())
            }
            Heard::Pong => {
                what.add("pongs");
                Ok(())
            }
            Heard::Text(text) => {
                hear(text, what)?;
                let said = Said::read(text)?;
                if said.kind == "auth_result" {
                    inside[number] = true;
                    attack.enter(number, peer);
                }
                attack.hear(&said, peer);
                Ok(())
            }
        })?;
        for (number, end) in ended {
            self.what.add(&end.to_string());
            self.inside[number] = false;
            self.missing.push(number);
        }
        Ok(())
    }
}

/// Counts answers, whatever they answer.
fn hear(text: &[u8], what: &mut Counts) -> anyhow::Result<()> {
    let said = Said::read(text)?;
    match said.kind {
        "ack" if said.reply_to.is_some_and(|id| id == PUBLISH) => what.add("accepted"),
        "error" => what.add(said.payload::<Refusal<'_>>()?.code),
        "gap" => what.add("gaps"),
        _ => {}
    }
    Ok(())
}

/// The id of each published message: answers are only counted.
pub(super) const PUBLISH: &str = "p";

/// Publishes something, if the socket has taken what was sent before.
pub(super) fn publish(peer: &mut Peer, topic: &str, data: &str, what: &mut Counts) {
    if !peer.is_free() {
        what.add("held back");
        return;
    }
    let message = format!(
        r#"{{"id":"{PUBLISH}","type":"publish","payload":{{"topic":"{topic}","data":"{data}"}}}}"#
    );
    peer.send(crate::frame::TEXT, message.as_bytes());
    what.add("published");
}
