//! The comparison of messages: what clients saw before a crash, and what the next server has.

use std::collections::BTreeMap;

use anyhow::Context as _;
use rejoin_protocol::Position;
use serde_json::Value;

use super::findings::{Finding, Findings};
use super::ledger::{Ledger, Message};
use super::publishers::{Sent, Way};
use super::subscriber::{Received, Subscriber};
use crate::endpoint::Endpoint;
use crate::http::HttpClient;
use crate::server::{Server, Users};

/// The messages that the lasting topic retains.
const LASTING_FRAMES: u64 = 2000;
/// The messages that a topic retains by default.
const PLAIN_FRAMES: u64 = 256;
/// The messages that a topic of one run retains: more than are published.
const ALL_FRAMES: u64 = 1_000_000;
/// The events that the stream of a user or device retains.
const EVENT_FRAMES: u64 = 256;
/// The acknowledged messages of each publisher that are sent again after the crash.
const RETRIES: usize = 3;

/// Topics: one that lasts and drops old messages, and one that is not durable.
pub(super) const LASTING: &str = "lasting";
pub(super) const PLAIN: &str = "plain";
/// The streams of a user and a device.
pub(super) const EVENTS: [(&str, Way); 2] =
    [("@user", Way::EmitToUser), ("@device", Way::EmitToDevice)];

/// The observations of one run.
pub(super) struct Load {
    /// The server was asked to stop before it was killed.
    pub(super) is_stopped: bool,
    pub(super) sent: Vec<Sent>,
    /// The streams with their positions at the start, and what was received.
    pub(super) received: Vec<(String, Position, Received)>,
}

/// All that is known about the streams of one data directory.
#[derive(Default)]
pub(super) struct Messages {
    ledger: Ledger,
    /// The positions at which the subscribers of lasting streams continue.
    positions: BTreeMap<String, Position>,
}

impl Messages {
    /// Returns the number of acknowledged messages.
    pub(super) fn acknowledged(&self) -> u64 {
        self.ledger.acknowledged
    }

    /// Follows the streams of a run, the lasting ones from the last position.
    pub(super) fn subscribe(
        &self,
        server: &Server,
        streams: &[String],
        findings: &mut Findings,
    ) -> anyhow::Result<Vec<Subscriber>> {
        let open = |stream: &String| {
            let position = self.positions.get(stream).copied();
            let subscriber = Subscriber::open(&endpoint(server, stream)?, stream, position)?;
            if let Some(position) = position {
                subscriber.start.check(stream, position, findings);
            }
            Ok(subscriber)
        };
        streams.iter().map(open).collect()
    }

    /// Compares all messages of a run with what the next server has. Returns the number of
    /// messages that were sent again with their keys.
    pub(super) fn check(
        &mut self,
        server: &Server,
        load: &Load,
        findings: &mut Findings,
    ) -> anyhow::Result<u64> {
        for (stream, _, received) in load.received.iter().filter(|it| it.0 != PLAIN) {
            let record = |message| self.ledger.record(stream, message, findings);
            received.messages.iter().for_each(record);
            received.holes.iter().for_each(|hole| findings.add(Finding::Lost, hole));
        }
        for sent in load.sent.iter().filter(|sent| sent.stream != PLAIN) {
            if let Some(message) = sent.acknowledged() {
                self.ledger.acknowledge(&sent.stream, &message, findings);
            }
        }
        let retried = self.retry(&http(server)?, &load.sent, findings)?;

        for (stream, start, received) in &load.received {
            if stream == PLAIN {
                check_plain(server, load, received.position, findings)?;
            } else {
                self.check_stream(server, stream, &[received.position, *start], findings)?;
            }
        }
        Ok(retried)
    }

    /// Compares the topics of all runs: a later start must not lose what an earlier one kept.
    pub(super) fn check_topics(
        &mut self,
        server: &Server,
        runs: u64,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        for run in 0..runs {
            let topic = topic_of(run);
            let messages = history(&http(server)?, &topic)?;
            self.ledger.compare(&topic, &messages, ALL_FRAMES, findings);
        }
        Ok(())
    }

    /// Sends messages with keys again. Returns their number.
    ///
    /// An acknowledged one must get its position. The others get one now, and keep it.
    fn retry(
        &mut self,
        http: &HttpClient,
        sent: &[Sent],
        findings: &mut Findings,
    ) -> anyhow::Result<u64> {
        let mut count = 0;
        let mut of_publisher: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for sent in sent.iter().rev().filter(|sent| sent.has_key()) {
            let number = of_publisher.entry((&sent.stream, sent.publisher())).or_default();
            *number += usize::from(sent.position.is_some());
            if *number > RETRIES {
                continue;
            }

            for _ in 0..2 {
                let position = sent.post(http)?.context("the server is away")?;
                let message = Message { position, text: sent.text.clone() };
                self.ledger.acknowledge(&sent.stream, &message, findings);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Reads a stream from positions of a run, and all that it retains.
    fn check_stream(
        &mut self,
        server: &Server,
        stream: &str,
        positions: &[Position],
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        let endpoint = endpoint(server, stream)?;
        let frames = frames_of(stream);
        for &position in positions {
            let subscriber = Subscriber::open(&endpoint, stream, Some(position))?;
            subscriber.start.check(stream, position, findings);
            let rest = subscriber.read_replayed().with_context(|| stream.to_owned())?;
            rest.holes.iter().for_each(|hole| findings.add(Finding::Lost, hole));
            // A part of the stream, so that only what follows it must be complete.
            let rest_of_stream = (rest.messages.as_slice(), frames);
            self.ledger.compare_after(stream, position.offset, rest_of_stream, findings);
            self.positions.insert(stream.to_owned(), rest.position);
        }

        if !stream.starts_with('@') {
            let messages = history(&http(server)?, stream)?;
            self.ledger.compare(stream, &messages, frames, findings);
        }
        Ok(())
    }
}

/// Checks that a topic that is not durable reports its loss.
///
/// After a stop it continues instead, and has each acknowledged message.
fn check_plain(
    server: &Server,
    load: &Load,
    position: Position,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let subscriber = Subscriber::open(&endpoint(server, PLAIN)?, PLAIN, Some(position))?;
    let start = &subscriber.start;
    if load.is_stopped && start.position.epoch == position.epoch {
        start.check(PLAIN, position, findings);
        let mut ledger = Ledger::default();
        for message in load.sent.iter().filter(|it| it.stream == PLAIN) {
            if let Some(message) = message.acknowledged() {
                ledger.acknowledge(PLAIN, &message, findings);
            }
        }
        let messages = history(&http(server)?, PLAIN)?;
        ledger.compare(PLAIN, &messages, PLAIN_FRAMES, findings);
        return Ok(());
    }

    let is_right = start.verdict == "gap"
        && start.reason.as_deref() == Some("epoch")
        && start.position.epoch != position.epoch;
    findings.expect(is_right, Finding::WrongVerdict, || format!("{PLAIN}: {start:?}"));
    Ok(())
}

/// Returns the endpoint of a stream's subscribers.
fn endpoint(server: &Server, stream: &str) -> anyhow::Result<Endpoint> {
    let endpoint = server.endpoint("/ws");
    if !stream.starts_with('@') {
        return Ok(endpoint);
    }
    let token = server.tokens(Users::Distinct, 1)?.remove(0);
    Ok(endpoint.with_token(&token))
}

fn http(server: &Server) -> anyhow::Result<HttpClient> {
    Ok(HttpClient::new(server.address, server.token()?))
}

/// Returns the sections of the topics.
pub(super) fn topics() -> String {
    let topic = |name: &str, frames: u64| {
        format!(
            "[topics.\"{name}\"]\ndurable = true\n\
             retain = {{ frames = {frames}, bytes = \"64MiB\", age = \"1h\" }}\n"
        )
    };
    topic("run.*", ALL_FRAMES) + &topic(LASTING, LASTING_FRAMES)
}

pub(super) fn topic_of(run: u64) -> String {
    format!("run.{run}")
}

fn frames_of(stream: &str) -> u64 {
    match stream {
        LASTING => LASTING_FRAMES,
        _ if stream.starts_with('@') => EVENT_FRAMES,
        _ => ALL_FRAMES,
    }
}

/// Returns all messages that a topic retains.
fn history(http: &HttpClient, topic: &str) -> anyhow::Result<Vec<Message>> {
    let (mut messages, mut after) = (Vec::new(), String::new());
    loop {
        let page = http.get(&format!("/topics/{topic}/history?limit=1000{after}"))?;
        let page: Value = serde_json::from_str(&page)?;
        for message in page["messages"].as_array().context("no messages")? {
            let text = |field: &str| message[field].as_str().context("an incomplete message");
            let (position, text) = (text("position")?.parse()?, text("data")?.to_owned());
            messages.push(Message { position, text });
        }
        let Some(next) = page["next"].as_str() else { return Ok(messages) };
        after = format!("&after={next}");
    }
}
