//! A client that follows one stream, until the server is killed or all retained messages are read.

use anyhow::{Context as _, bail};
use rejoin_protocol::Position;
use serde_json::{Value, json};

use super::findings::{Finding, Findings};
use super::ledger::Message;
use super::publishers::DEVICE;
use crate::connection::Connection;
use crate::endpoint::Endpoint;

/// The place from which a subscriber reads.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) verdict: String,
    pub(super) reason: Option<String>,
    pub(super) missed: Option<u64>,
    pub(super) position: Position,
    replayed: u64,
}

/// A subscription over a connection of its own.
pub(super) struct Subscriber {
    connection: Connection,
    pub(super) stream: String,
    pub(super) start: Start,
}

/// Messages in the order of their arrival.
pub(super) struct Received {
    pub(super) messages: Vec<Message>,
    /// The position after the last message or gap.
    pub(super) position: Position,
    /// Messages and gaps that do not begin where the one before ended.
    pub(super) holes: Vec<String>,
}

impl Subscriber {
    /// Connects and subscribes, as a device if the stream is that of a user or device.
    pub(super) fn open(
        endpoint: &Endpoint,
        stream: &str,
        position: Option<Position>,
    ) -> anyhow::Result<Self> {
        // Without a token, so that this request names the device.
        let mut connection = Connection::open(&Endpoint { token: None, ..endpoint.clone() })?;
        let authenticate = json!({"token": endpoint.token, "device_id": DEVICE});
        connection.request("authenticate", &authenticate)?;
        let position = position.map(|position| position.to_string());
        let subscribe = json!({"topic": stream, "position": position});
        let answer = connection.request("subscribe", &subscribe)?;
        let start = Start::read(&answer).with_context(|| format!("{stream}: {answer}"))?;
        Ok(Self { connection, stream: stream.to_owned(), start })
    }

    /// Reads until the server is gone.
    ///
    /// # Errors
    /// The server sends an error, or nothing for too long.
    pub(super) fn follow(mut self) -> anyhow::Result<Received> {
        let mut received = Received::at(self.start.position);
        loop {
            match self.connection.next_frame() {
                Ok(frame) => received.take(&self.stream, &frame.message()?)?,
                Err(_) if self.connection.has_ended() => return Ok(received),
                // A stream without messages: the connection is still open.
                Err(_) => {}
            }
        }
    }

    /// Reads the messages that existed at the subscription.
    ///
    /// # Errors
    /// The server ends before.
    pub(super) fn read_replayed(mut self) -> anyhow::Result<Received> {
        let mut received = Received::at(self.start.position);
        while (received.messages.len() as u64) < self.start.replayed {
            let frame = self.connection.next_frame()?;
            received.take(&self.stream, &frame.message()?)?;
        }
        Ok(received)
    }
}

impl Start {
    fn read(answer: &Value) -> anyhow::Result<Self> {
        let text = |field: &str| answer[field].as_str().map(str::to_owned);
        Ok(Self {
            verdict: text("verdict").context("no verdict")?,
            reason: text("reason"),
            missed: answer["missed"].as_u64(),
            position: text("position").context("no position")?.parse()?,
            replayed: answer["replayed"].as_u64().unwrap_or_default(),
        })
    }

    /// Checks the answer to a position of an earlier subscription.
    ///
    /// Only a stream that dropped messages since may report a gap, with their number.
    pub(super) fn check(&self, stream: &str, asked: Position, findings: &mut Findings) {
        let is_right = match self.verdict.as_str() {
            "resumed" => self.position == asked,
            "gap" => {
                self.reason.as_deref() == Some("retention")
                    && self.position.epoch == asked.epoch
                    && self.missed == self.position.offset.checked_sub(asked.offset)
            }
            _ => false,
        };
        findings.expect(is_right, Finding::WrongVerdict, || {
            format!("{stream}: {self:?} for the position {asked}")
        });
    }
}

impl Received {
    fn at(position: Position) -> Self {
        Self { messages: Vec::new(), position, holes: Vec::new() }
    }

    fn take(&mut self, stream: &str, message: &Value) -> anyhow::Result<()> {
        let payload = &message["payload"];
        if payload["topic"] != stream {
            return Ok(());
        }
        let position = payload["position"].as_str().context("a message has no position")?;
        let position: Position = position.parse()?;
        let expected = match message["type"].as_str() {
            Some("message") => {
                let text = payload["data"].as_str().context("other data")?.to_owned();
                self.messages.push(Message { position, text });
                self.position.offset + 1
            }
            Some("gap") => {
                let missed = payload["missed"].as_u64().context("a gap has no number")?;
                self.position.offset + missed
            }
            other => bail!("unexpected: {other:?}"),
        };
        if (Position { offset: expected, ..self.position }) != position {
            self.holes.push(format!("{stream}: {} is followed by {message}", self.position));
        }
        self.position = position;
        Ok(())
    }
}
