//! Clients that publish and emit until the server is killed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fastrand::Rng;
use rejoin_protocol::Position;
use serde_json::{Value, json};

use super::ledger::Message;
use crate::clock;
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::http::HttpClient;

/// Messages that a connection publishes ahead of their acknowledgements.
const BURST: u32 = 16;
/// The pause between two bursts: the checker reads all messages of a run several times.
const PAUSE: Duration = Duration::from_millis(2);
/// The same per message with a key, of which a user may send 10,000 in five minutes.
const PAUSE_WITH_KEYS: Duration = Duration::from_millis(4);
/// The user and the device that receive events.
pub(super) const USER: &str = "u0";
pub(super) const DEVICE: &str = "d1";
/// The longest padding of a message. Long ones make cut writes more likely.
const MAX_PADDING: usize = 600;

/// The request that publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// `publish` messages, several at a time.
    Socket,
    /// The same, each with a `key`.
    SocketKey,
    /// `POST /publish` with the header `Idempotency-Key`.
    HttpHeader,
    /// `POST /publish` with `key`.
    HttpKey,
    /// `POST /users/{user}/emit`.
    EmitToUser,
    /// `POST /users/{user}/devices/{device}/emit`.
    EmitToDevice,
}

/// A message that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) way: Way,
    pub(super) stream: String,
    /// The text, which is the key as well if the way has keys.
    pub(super) text: String,
    /// Set if the message was acknowledged.
    pub(super) position: Option<Position>,
}

/// A publisher of one stream.
pub(super) struct Publisher<'a> {
    pub(super) way: Way,
    pub(super) stream: String,
    /// The start of all its texts.
    pub(super) prefix: String,
    pub(super) endpoint: Endpoint,
    /// Set before the server is killed: a lost connection is expected from then on.
    pub(super) is_killing: &'a AtomicBool,
}

impl Sent {
    /// Returns the message if it was acknowledged.
    pub(super) fn acknowledged(&self) -> Option<Message> {
        Some(Message { position: self.position?, text: self.text.clone() })
    }

    /// Returns whether a retry finds the first request.
    pub(super) fn has_key(&self) -> bool {
        matches!(self.way, Way::SocketKey | Way::HttpHeader | Way::HttpKey)
    }

    /// Returns the name of its publisher.
    pub(super) fn publisher(&self) -> &str {
        self.key().rsplit_once('-').map_or("", |(publisher, _)| publisher)
    }

    /// Sends the message over HTTP, also as a retry of a message over a socket.
    ///
    /// Returns its position; `None` if the server is away or stops.
    ///
    /// # Errors
    /// The server refuses it.
    pub(super) fn post(&self, http: &HttpClient) -> anyhow::Result<Option<Position>> {
        let path = match self.way {
            Way::EmitToUser => format!("/users/{USER}/emit"),
            Way::EmitToDevice => format!("/users/{USER}/devices/{DEVICE}/emit"),
            _ => "/publish".to_owned(),
        };
        let header = (self.way == Way::HttpHeader).then(|| self.key());
        let Ok((status, body)) = http.post(&path, header, &self.payload().to_string()) else {
            return Ok(None);
        };
        // A server that stops refuses until it is gone.
        if status == 503 {
            return Ok(None);
        }
        ensure!(status == 200, "{path}: {status} {body}");
        position(&serde_json::from_str(&body)?).map(Some)
    }

    /// Returns the payload of the request.
    fn payload(&self) -> Value {
        match self.way {
            Way::EmitToUser | Way::EmitToDevice => json!({"event": "chaos", "data": self.text}),
            Way::Socket | Way::HttpHeader => json!({"topic": self.stream, "data": self.text}),
            Way::SocketKey | Way::HttpKey => {
                json!({"topic": self.stream, "data": self.text, "key": self.key()})
            }
        }
    }

    /// Returns the number at the start of the text, which no other message has.
    fn key(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }
}

impl Publisher<'_> {
    /// Publishes until the server is gone. Returns all that was sent.
    ///
    /// # Errors
    /// The server refuses a message, or is gone before it is killed.
    pub(super) fn run(&self, mut random: Rng) -> anyhow::Result<Vec<Sent>> {
        let mut sent = Vec::new();
        match self.way {
            Way::Socket | Way::SocketKey => self.run_over_socket(&mut sent, &mut random),
            _ => self.run_over_http(&mut sent, &mut random),
        }
        .with_context(|| format!("{:?}", self.way))?;
        let is_expected = self.is_killing.load(Ordering::Acquire);
        ensure!(is_expected, "{:?}: the connection ended before the kill", self.way);
        Ok(sent)
    }

    fn run_over_socket(&self, sent: &mut Vec<Sent>, random: &mut Rng) -> anyhow::Result<()> {
        let mut connection = Connection::open(&self.endpoint)?;
        loop {
            let mut waiting = HashMap::new();
            for _ in 0..BURST {
                let message = self.next(sent.len(), random);
                let payload = message.payload().to_string();
                sent.push(message);
                let Ok(id) = connection.send_request("publish", &payload) else { return Ok(()) };
                waiting.insert(id, sent.len() - 1);
            }

            while !waiting.is_empty() {
                let frame = match connection.next_frame() {
                    Ok(frame) => frame,
                    Err(_) if connection.has_ended() => return Ok(()),
                    Err(error) => return Err(error),
                };
                let reply = frame.message()?;
                if reply["payload"]["code"] == "overloaded" {
                    return Ok(());
                }
                ensure!(reply["type"] != "error", "refused: {reply}");
                let index = reply["reply_to"].as_str().and_then(|id| waiting.remove(id));
                if let Some(index) = index {
                    sent[index].position = Some(position(&reply["payload"])?);
                }
            }
            clock::pause(self.pause());
        }
    }

    fn run_over_http(&self, sent: &mut Vec<Sent>, random: &mut Rng) -> anyhow::Result<()> {
        let token = self.endpoint.token.as_deref().context("no token")?;
        let http = HttpClient::new(self.endpoint.address, token);
        loop {
            let mut message = self.next(sent.len(), random);
            message.position = message.post(&http)?;
            let is_acknowledged = message.position.is_some();
            sent.push(message);
            if !is_acknowledged {
                return Ok(());
            }
            clock::pause(self.pause());
        }
    }

    fn pause(&self) -> Duration {
        match self.way {
            Way::SocketKey => PAUSE_WITH_KEYS * BURST,
            Way::HttpHeader | Way::HttpKey => PAUSE_WITH_KEYS,
            _ => PAUSE,
        }
    }

    fn next(&self, number: usize, random: &mut Rng) -> Sent {
        let padding = "x".repeat(random.usize(..MAX_PADDING));
        let text = format!("{}-{number} {padding}", self.prefix);
        Sent { way: self.way, stream: self.stream.clone(), text, position: None }
    }
}

/// Returns the position in an answer.
fn position(answer: &Value) -> anyhow::Result<Position> {
    let text = answer["position"].as_str().with_context(|| format!("no position: {answer}"))?;
    Ok(text.parse()?)
}
