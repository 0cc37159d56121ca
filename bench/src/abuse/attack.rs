//! The attacks, by name.

mod terminal;

use std::fmt;
use std::time::Duration;

use rejoin_websocket::{MessageKind, deflate, encode};
use serde_json::json;

use super::flood::Flood;
use super::raid::{Opening, Plan, publish};
use crate::clock;
use crate::crowd::Peer;
use crate::frame::{self, Header};
use crate::report::Counts;
use crate::said::Said;
use terminal::{MIRROR, Print, Terminal};

/// A topic that only attackers use.
const FLOOD: &str = "flood";
/// What a fragment holds, or a message that never ends: nearly what a message may have.
const HOARD_BYTES: usize = 60_000;
/// What a bomb inflates to, from about a thousandth of that.
const BOMB_BYTES: usize = 60_000_000;
/// Half-open handshakes say nothing at first, and then a byte a second.
const SILENCE: Duration = Duration::from_secs(5);
const TOPICS: u64 = 100_000;

/// What misbehaving is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    NeverRead,
    HalfOpen,
    Pings,
    Fragments,
    Bomb,
    Storm,
    Topics,
    Trickle,
    NeverLogIn,
    Repeats,
    Screens,
    Links,
    Colours,
    Resizes,
    Emits,
    Keys,
}

/// The attacker of one kind.
pub(super) enum Attacker {
    /// WebSockets.
    Raid(Box<dyn Attack>),
    /// Requests over HTTP.
    Flood(Flood),
}

/// One way to misbehave.
pub(super) trait Attack: Send {
    fn plan(&self) -> Plan;

    /// A connection was let in.
    fn enter(&mut self, _number: usize, _peer: &mut Peer) {}

    /// The turn of a connection that was let in: one operation.
    fn act(&mut self, _number: usize, _peer: &mut Peer, _what: &mut Counts) {}

    /// A connection was told something.
    fn hear(&mut self, _said: &Said<'_>, _peer: &mut Peer) {}
}

impl Kind {
    /// What the server's limits need for it.
    pub(super) fn limits(self) -> &'static str {
        match self {
            Self::Storm => "messages_per_second = 100\n",
            _ => "",
        }
    }

    /// More sections of the configuration.
    pub(super) fn settings(self) -> &'static str {
        match self {
            Self::Repeats | Self::Screens | Self::Links | Self::Colours | Self::Resizes => MIRROR,
            _ => "",
        }
    }

    /// Whether it lasts until a time-out of 30 s.
    pub(super) fn is_timed_out(self) -> bool {
        matches!(self, Self::Fragments | Self::Trickle)
    }

    pub(super) fn attacker(self) -> Attacker {
        let terminal = |print| Box::new(Terminal::new(print)) as Box<dyn Attack>;
        Attacker::Raid(match self {
            Self::NeverRead => Box::new(NeverRead { data: "x".repeat(1000) }),
            Self::HalfOpen => Box::new(HalfOpen { since: clock::now() }),
            Self::Pings => Box::new(Pings),
            Self::Fragments => Box::new(Fragments),
            Self::Bomb => Box::new(Bomb { message: bomb() }),
            Self::Storm => Box::new(Storm),
            Self::Topics => Box::new(Topics { next: 0 }),
            Self::Trickle => Box::new(Trickle::new()),
            Self::NeverLogIn => Box::new(NeverLogIn),
            Self::Repeats => terminal(Print::Repeats),
            Self::Screens => terminal(Print::Screens),
            Self::Links => terminal(Print::Links),
            Self::Colours => terminal(Print::Colours),
            Self::Resizes => terminal(Print::Resizes),
            Self::Emits => return Attacker::Flood(Flood::Emits),
            Self::Keys => return Attacker::Flood(Flood::Keys),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeverRead => {
                "1,000 that subscribe to 2,000 messages of 1 kB a second and never read"
            }
            Self::HalfOpen => "5,000 half-open handshakes, after 5 s a byte a second each",
            Self::Pings => "100 that ping, 500 a second each",
            Self::Fragments => "500 that begin a message of 60 kB and never end it",
            Self::Bomb => "50 bombs a second, each of 60 kB that inflate to 60 MB",
            Self::Storm => "20 that publish 1,000 a second each, 100 allowed",
            Self::Topics => "one that uses 100,000 topics",
            Self::Trickle => "500 that send a message of 60 kB by a byte a second",
            Self::NeverLogIn => "12,000 WebSockets that never log in",
            Self::Repeats => "3 terminals that repeat a cell with 64 marks 65,535 times",
            Self::Screens => "3 terminals of 1,000 × 500 that change screens",
            Self::Links => "3 terminals with a new link of 6 kB in each cell",
            Self::Colours => "3 terminals of 1,000 × 500 with a colour of its own in each cell",
            Self::Resizes => "the same, resized between 1,000 and 2 columns each time",
            Self::Emits => "events of 60 kB to devices that do not exist",
            Self::Keys => "wrong requests of 60 kB, each with a new idempotency key",
        })
    }
}

/// Those who subscribe and do not read; the first one publishes.
struct NeverRead {
    data: String,
}

impl Attack for NeverRead {
    fn plan(&self) -> Plan {
        let opening = Opening::Proper;
        Plan {
            connections: 1001,
            opens_per_second: 1000,
            actors: 1,
            acts_per_second: 2000,
            opening,
        }
    }

    fn enter(&mut self, number: usize, peer: &mut Peer) {
        if number > 0 {
            peer.ask("s", "subscribe", &json!({"topic": FLOOD}));
        }
    }

    fn act(&mut self, _number: usize, peer: &mut Peer, what: &mut Counts) {
        publish(peer, FLOOD, &self.data, what);
    }

    fn hear(&mut self, said: &Said<'_>, peer: &mut Peer) {
        if said.reply_to == Some("s") {
            peer.stop_reading();
        }
    }
}

/// Those who never say what they want.
struct HalfOpen {
    since: u64,
}

impl Attack for HalfOpen {
    fn plan(&self) -> Plan {
        let opening = Opening::HalfRequest;
        let (connections, acts_per_second) = (5000, 5000);
        Plan { connections, opens_per_second: 1000, actors: 5000, acts_per_second, opening }
    }

    fn act(&mut self, _number: usize, peer: &mut Peer, _what: &mut Counts) {
        if clock::now() > self.since + clock::span(SILENCE) {
            peer.send_bytes(b"x");
        }
    }
}

/// Those who ping.
struct Pings;

impl Attack for Pings {
    fn plan(&self) -> Plan {
        let opening = Opening::Proper;
        let acts_per_second = 50_000;
        Plan { connections: 100, opens_per_second: 100, actors: 100, acts_per_second, opening }
    }

    fn act(&mut self, _number: usize, peer: &mut Peer, what: &mut Counts) {
        if peer.is_free() {
            peer.send(frame::PING, b"are you there?");
            what.add("pings");
        } else {
            what.add("held back");
        }
    }
}

/// Those who begin and never end.
struct Fragments;

impl Attack for Fragments {
    fn plan(&self) -> Plan {
        let opening = Opening::Proper;
        Plan { connections: 500, opens_per_second: 500, actors: 0, acts_per_second: 0, opening }
    }

    fn enter(&mut self, _number: usize, peer: &mut Peer) {
        let mut out = Vec::new();
        frame::write_masked_fragment(&mut out, &[b'x'; HOARD_BYTES]);
        peer.send_bytes(&out);
    }
}

/// Those whose messages are a thousand times what they seem.
struct Bomb {
    message: Vec<u8>,
}

impl Attack for Bomb {
    fn plan(&self) -> Plan {
        let opening = Opening::Compressed;
        Plan { connections: 20, opens_per_second: 100, actors: 20, acts_per_second: 50, opening }
    }

    fn act(&mut self, _number: usize, peer: &mut Peer, what: &mut Counts) {
        if peer.is_free() {
            peer.send_bytes(&self.message);
            what.add("bombs");
        }
    }
}

/// A frame that inflates to much more than a message may have.
fn bomb() -> Vec<u8> {
    let plain = encode(MessageKind::Text, &[&vec![b' '; BOMB_BYTES]]);
    let compressed = deflate(&plain).expect("spaces compress");
    let payload = Header::read(&compressed).map(|header| &compressed[header.start..]);
    let mut out = Vec::new();
    frame::write_masked_compressed(&mut out, payload.expect("a whole frame"));
    out
}

/// Those who publish ten times what they may.
struct Storm;

impl Attack for Storm {
    fn plan(&self) -> Plan {
        let opening = Opening::Proper;
        Plan { connections: 20, opens_per_second: 20, actors: 20, acts_per_second: 20_000, opening }
    }

    fn act(&mut self, _number: usize, peer: &mut Peer, what: &mut Counts) {
        publish(peer, FLOOD, "a storm", what);
    }
}

/// One who uses topic after topic.
struct Topics {
    next: u64,
}

impl Attack for Topics {
    fn plan(&self) -> Plan {
        let opening = Opening::Proper;
        Plan { connections: 1, opens_per_second: 1, actors: 1, acts_per_second: 15_000, opening }
    }

    fn act(&mut self, _number: usize, peer: &mut Peer, what: &mut Counts) {
        if self.next < TOPICS && peer.is_free() {
            publish(peer, &format!("t.{}", self.next), "one more", what);
            self.next += 1;
        }
    }
}

/// Those who take their time.
struct Trickle {
    frame: Vec<u8>,
    /// How much of it each connection has sent.
    sent: Vec<usize>,
}

impl Trickle {
    const CONNECTIONS: usize = 500;

    fn new() -> Self {
        let mut frame = Vec::new();
        frame::write_masked(&mut frame, frame::TEXT, &[b' '; HOARD_BYTES]);
        Self { frame, sent: vec![0; Self::CONNECTIONS] }
    }
}

impl Attack for Trickle {
    fn plan(&self) -> Plan {
        Plan {
            connections: Self::CONNECTIONS,
            opens_per_second: 500,
            actors: Self::CONNECTIONS,
            acts_per_second: 500,
            opening: Opening::Proper,
        }
    }

    fn enter(&mut self, number: usize, _peer: &mut Peer) {
        self.sent[number] = 0;
    }

    fn act(&mut self, number: usize, peer: &mut Peer, what: &mut Counts) {
        let sent = &mut self.sent[number];
        if let Some(byte) = self.frame.get(*sent..=*sent) {
            peer.send_bytes(byte);
            *sent += 1;
            what.add("bytes");
        }
    }
}

/// Those who are let in and say nothing.
struct NeverLogIn;

impl Attack for NeverLogIn {
    fn plan(&self) -> Plan {
        let opening = Opening::Silent;
        Plan { connections: 12_000, opens_per_second: 3000, actors: 0, acts_per_second: 0, opening }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_fits_into_a_message_and_what_it_inflates_to_does_not() {
        let bomb = bomb();
        assert!(bomb.len() < 65_536, "{}", bomb.len());
        let header = Header::read(&bomb).unwrap();
        assert!(header.is_compressed && header.is_final && header.mask.is_some());
        assert_eq!(header.end, bomb.len());
    }
}
