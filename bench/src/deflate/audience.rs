//! Subscribers and their publisher: a message is sent when all have the one before it.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rejoin_websocket::{Decoder, Event, Side};

use super::Form;
use crate::client::Connection;
use crate::frame;
use crate::swarm::{Received, Swarm};

/// Without any delivery for so long, the rest is lost.
const PATIENCE: u32 = 20;
const TURN: Duration = Duration::from_secs(1);
const MAX_MESSAGE_BYTES: usize = 1 << 20;

pub(super) struct Audience {
    members: Swarm,
    publisher: Connection,
    /// Whether the publisher has to say what it is that it sends, and is answered.
    speaks_rejoin: bool,
    form: Form,
}

/// What one message has come to.
struct Arrivals {
    form: Form,
    /// The frame that came first; all others must be the same.
    frame: Vec<u8>,
    has_it: Vec<bool>,
    missing: usize,
}

impl Audience {
    pub(super) fn new(
        members: Vec<Connection>,
        publisher: Connection,
        speaks_rejoin: bool,
        form: Form,
    ) -> anyhow::Result<Self> {
        Ok(Self { members: Swarm::new(members)?, publisher, speaks_rejoin, form })
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Bytes that were delivered, headers of frames included.
    pub(super) fn bytes(&self) -> u64 {
        self.members.bytes
    }

    /// Publishes a document, and waits until each member has got it, once and right.
    pub(super) fn tell(&mut self, document: &str) -> anyhow::Result<()> {
        if self.speaks_rejoin {
            let payload = format!(r#"{{"topic":"bench","data":{document}}}"#);
            self.publisher.ask_json("publish", &payload)?;
        } else {
            self.publisher.say(document)?;
        }
        let count = self.members.len();
        let (form, has_it) = (self.form, vec![false; count]);
        let mut arrivals = Arrivals { form, frame: Vec::new(), has_it, missing: count };
        let mut quiet_turns = 0;
        while arrivals.missing > 0 {
            let before = arrivals.missing;
            self.members.turn(TURN, &mut |received| arrivals.take(received))?;
            quiet_turns = if arrivals.missing == before { quiet_turns + 1 } else { 0 };
            if quiet_turns == PATIENCE {
                bail!("{} of {count} deliveries never came", arrivals.missing);
            }
        }
        arrivals.check(document)
    }
}

impl Arrivals {
    fn take(&mut self, received: &Received<'_>) -> anyhow::Result<()> {
        ensure!(received.opcode == frame::TEXT, "something else than a message came");
        let form = if received.is_compressed { Form::Compressed } else { Form::Plain };
        ensure!(form == self.form, "a message came {form:?} and not {:?}", self.form);
        ensure!(!self.has_it[received.member], "member {} got it twice", received.member);
        if self.frame.is_empty() {
            self.frame.extend_from_slice(received.frame);
        }
        ensure!(self.frame == received.frame, "member {} got something else", received.member);
        self.has_it[received.member] = true;
        self.missing -= 1;
        Ok(())
    }

    /// Whether what all of them got is what was published.
    fn check(&mut self, document: &str) -> anyhow::Result<()> {
        let mut decoder = Decoder::new(Side::Client, MAX_MESSAGE_BYTES).with_deflate();
        let mut feed = decoder.feed(&mut self.frame);
        let Some(Event::Text(text)) = feed.next()? else { bail!("not a text message") };
        let at = text.find(document).context("the message is not what was published")?;
        ensure!(text.get(..at).is_some_and(|before| before.ends_with("\"data\":")), "not its data");
        Ok(())
    }
}
