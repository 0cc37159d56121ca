//! The attacks, by name.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum as _;
use rejoin_websocket::{MessageKind, deflate, encode};
use serde_json::{Value, json};

use super::attacker::{Attack, Opening, Plan, publish};
use crate::client_pool::Client;
use crate::clock;
use crate::frame::{self, Header};
use crate::report::Counts;

mod terminal;

use terminal::{MIRROR, Terminals};

/// A topic that only attackers use.
const FLOOD: &str = "flood";
/// Bytes of an incomplete message: a little less than the server's limit for one.
const HOARD_BYTES: usize = 60_000;
/// Inflated bytes of a bomb; about a thousand times its size on the wire.
const BOMB_BYTES: usize = 60_000_000;
/// The time before a half-open handshake sends its first byte.
const SILENCE: Duration = Duration::from_secs(5);
const TOPICS: u64 = 100_000;
/// Connections that send one message byte by byte.
const TRICKLES: usize = 500;

/// The attacks. The tables print the comments of the variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// 1,000 subscribers that never read 2,000 messages of 1 kB a second
    NeverRead,
    /// 5,000 half-open handshakes, each a byte a second after 5 s
    HalfOpen,
    /// 100 connections with 500 pings a second each
    Pings,
    /// 500 unfinished messages of 60 kB
    Fragments,
    /// 50 compressed messages a second of 60 kB that inflate to 60 MB
    Bomb,
    /// 20 connections that publish 1,000 messages a second each, 100 allowed
    Storm,
    /// One connection that uses 100,000 topics
    Topics,
    /// 500 messages of 60 kB, sent by a byte a second
    Trickle,
    /// 12,000 WebSockets that never authenticate
    NeverLogIn,
    /// 3 terminals that repeat a cell with 64 marks 65,535 times
    Repeats,
    /// 3 terminals of 1,000 × 500 that switch screens
    Screens,
    /// 3 terminals with a new link of 6 kB in each cell
    Links,
    /// 3 terminals of 1,000 × 500 with a different colour in each cell
    Colours,
    /// The same terminals, resized between 1,000 and 2 columns each time
    Resizes,
    /// Events of 60 kB to devices that do not exist
    Emits,
    /// Invalid requests of 60 kB, each with a new idempotency key
    Keys,
}

impl Kind {
    /// Returns additional lines for the server's section `limits`, and additional sections.
    pub(super) fn settings(self) -> (&'static str, &'static str) {
        match self {
            Self::Storm => ("messages_per_second = 100\n", ""),
            Self::Repeats | Self::Screens | Self::Links | Self::Colours | Self::Resizes => {
                ("", MIRROR)
            }
            _ => ("", ""),
        }
    }

    /// Returns whether the server ends the attack after 30 s.
    pub(super) fn is_timed_out(self) -> bool {
        matches!(self, Self::Fragments | Self::Trickle)
    }

    /// Returns a new attack over WebSockets, or `None` for one over HTTP.
    pub(super) fn sockets(self) -> Option<(Plan, Box<dyn Attack>)> {
        let (plan, attack): (_, Box<dyn Attack>) = match self {
            Self::NeverRead => (Plan::hold(1001, 1000).act(1, 2000), Box::new(NeverRead)),
            Self::HalfOpen => {
                let plan = Plan::hold(5000, 1000).act(5000, 5000).opening(Opening::HalfRequest);
                (plan, Box::new(half_open()))
            }
            Self::Pings => (Plan::hold(100, 100).act(100, 50_000), Box::new(ping)),
            Self::Fragments => (Plan::hold(500, 500), Box::new(Fragments)),
            Self::Bomb => {
                let plan = Plan::hold(20, 100).act(20, 50).opening(Opening::Compressed);
                (plan, Box::new(send_bombs()))
            }
            Self::Storm => (Plan::hold(20, 20).act(20, 20_000), Box::new(storm)),
            Self::Topics => (Plan::hold(1, 1).act(1, 15_000), Box::new(use_topics())),
            Self::Trickle => {
                let plan = Plan::hold(TRICKLES, 500).act(TRICKLES, 500);
                let mut frame = Vec::new();
                frame::write_masked(&mut frame, frame::TEXT, &[b' '; HOARD_BYTES]);
                (plan, Box::new(Trickle { frame, sent: vec![0; TRICKLES] }))
            }
            Self::NeverLogIn => {
                let plan = Plan::hold(12_000, 3000).opening(Opening::Silent);
                (plan, Box::new(|_: usize, _: &mut Client, _: &mut Counts| {}))
            }
            Self::Repeats | Self::Screens | Self::Links | Self::Colours | Self::Resizes => {
                Terminals::attack(self)
            }
            Self::Emits | Self::Keys => return None,
        };
        Some((plan, attack))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(
            &value.and_then(|value| Some(value.get_help()?.to_string())).unwrap_or_default(),
        )
    }
}

/// A function is an attack that only acts.
impl<F: FnMut(usize, &mut Client, &mut Counts) + Send> Attack for F {
    fn act(&mut self, number: usize, client: &mut Client, counts: &mut Counts) {
        self(number, client, counts);
    }
}

/// Subscribers that stop reading. Connection 0 publishes.
struct NeverRead;

impl Attack for NeverRead {
    fn on_ready(&mut self, number: usize, client: &mut Client) {
        if number > 0 {
            client.request("subscribe", "subscribe", &json!({"topic": FLOOD}));
        }
    }

    fn act(&mut self, _number: usize, client: &mut Client, counts: &mut Counts) {
        publish(client, FLOOD, &"x".repeat(1000), counts);
    }

    fn on_message(&mut self, message: &Value, client: &mut Client) {
        // Stops reading only once subscribed, so that the server has frames for this connection.
        if message["reply_to"] == "subscribe" {
            client.pause_reading();
        }
    }
}

/// Sends the rest of an upgrade request by single bytes.
fn half_open() -> impl FnMut(usize, &mut Client, &mut Counts) {
    let start = clock::after(SILENCE);
    move |_, client, _| {
        // Ends the request's silence without ever completing it.
        if clock::now() > start {
            client.send_bytes(b"x");
        }
    }
}

fn ping(_number: usize, client: &mut Client, counts: &mut Counts) {
    if client.is_writable() {
        client.send(frame::PING, b"are you there?");
        counts.add("pings");
    } else {
        counts.add("held back");
    }
}

/// Messages whose first fragment is the only one.
struct Fragments;

impl Attack for Fragments {
    fn on_ready(&mut self, _number: usize, client: &mut Client) {
        let mut out = Vec::new();
        // The message is never final, so the server must hold it or end the connection.
        frame::write_masked_flags(&mut out, frame::TEXT, &[b'x'; HOARD_BYTES]);
        client.send_bytes(&out);
    }
}

fn send_bombs() -> impl FnMut(usize, &mut Client, &mut Counts) {
    // One bomb for all: compressing 60 MB takes longer than sending it.
    let bomb = bomb();
    move |_, client, counts| {
        if client.is_writable() {
            client.send_bytes(&bomb);
            counts.add("bombs");
        }
    }
}

/// Returns a frame that inflates to much more than the limit of a message.
fn bomb() -> Vec<u8> {
    let plain = encode(MessageKind::Text, &[&vec![b' '; BOMB_BYTES]]);
    let compressed = deflate(&plain).expect("spaces compress");
    let header = Header::read(&compressed).expect("a whole frame");

    let mut out = Vec::new();
    let first = frame::FINAL | frame::COMPRESSED | frame::TEXT;
    frame::write_masked_flags(&mut out, first, &compressed[header.start..]);
    out
}

fn storm(_number: usize, client: &mut Client, counts: &mut Counts) {
    publish(client, FLOOD, "a storm", counts);
}

fn use_topics() -> impl FnMut(usize, &mut Client, &mut Counts) {
    let mut next = 0;
    move |_, client, counts| {
        if next < TOPICS && client.is_writable() {
            publish(client, &format!("t.{next}"), "one more", counts);
            next += 1;
        }
    }
}

/// Messages that are sent byte by byte.
struct Trickle {
    frame: Vec<u8>,
    /// Bytes that each connection has sent.
    sent: Vec<usize>,
}

impl Attack for Trickle {
    fn on_ready(&mut self, number: usize, _client: &mut Client) {
        // A new connection starts the message again.
        self.sent[number] = 0;
    }

    fn act(&mut self, number: usize, client: &mut Client, counts: &mut Counts) {
        let sent = &mut self.sent[number];
        if let Some(byte) = self.frame.get(*sent..=*sent) {
            client.send_bytes(byte);
            *sent += 1;
            counts.add("bytes");
        }
    }
}

#[cfg(test)]
mod tests {
    use rejoin_websocket::{Decoder, Event, Side};

    use super::*;

    #[test]
    fn a_bomb_is_one_small_compressed_frame() {
        let mut bomb = bomb();
        assert!(bomb.len() < 65_536, "{}", bomb.len());

        let mut decoder = Decoder::new(Side::Server, BOMB_BYTES).with_deflate();
        let mut feed = decoder.feed(&mut bomb);
        let inflated = feed.next().unwrap();
        assert!(matches!(inflated, Some(Event::Text(text)) if text.len() == BOMB_BYTES));
    }

    #[test]
    fn each_attack_has_a_description() {
        for kind in Kind::value_variants() {
            assert!(!kind.to_string().is_empty(), "{kind:?}");
        }
    }
}
