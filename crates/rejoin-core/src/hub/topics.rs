//! Topics: streams by name, there as soon as they are used and gone when nothing is left of them.

use std::{sync::Arc, time::Duration};

use rejoin_protocol::{
    ErrorCode, Position, StreamNumber, TopicName,
    message::{ErrorBody, Gap, ServerMessage, text, topic_message},
};
use serde_json::value::RawValue;

use crate::{
    access::{Caps, TopicRight},
    hub::{ALL, Hub},
    stream::{GapNotice, Lag, Retention, SlowReader, Stream, StreamConfig},
    time::now_ms,
    wire::{Encode, Kind},
};

/// How often frames that grew too old are dropped from topics where nothing happens.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// How long an empty topic keeps its epoch, so that who comes back hears "nothing was missed".
const TOPIC_LINGER: Duration = Duration::from_secs(3600);

impl Hub {
    /// The stream of a topic that the caller may use in this way.
    ///
    /// # Errors
    /// `forbidden`, or `unknown_topic` for a reserved name.
    pub fn topic(
        &self,
        topic: &TopicName,
        caps: &Caps,
        right: TopicRight,
    ) -> Result<Stream, ErrorBody> {
        if topic.is_reserved() {
            let may = right == TopicRight::Subscribe && topic.as_str() == ALL;
            return if may { Ok(self.shared.everyone.clone()) } else { Err(reserved(topic)) };
        }
        if !caps.allows_topic(topic, right) {
            let sentence = format!("the token does not allow this with the topic `{topic}`");
            return Err(ErrorBody::new(ErrorCode::Forbidden, sentence));
        }
        Ok(self.topic_stream(topic))
    }

    /// Publishes to a topic, as soon as the fan-out has room; returns the position after it.
    ///
    /// Cancel safe: it is published or not.
    ///
    /// # Errors
    /// `forbidden`, or `unknown_topic` for a reserved name.
    pub async fn publish(
        &self,
        topic: &TopicName,
        caps: &Caps,
        data: &RawValue,
    ) -> Result<Position, ErrorBody> {
        let stream = self.topic(topic, caps, TopicRight::Publish)?;
        Ok(publish_to(&stream, topic, data).await)
    }

    /// Publishes to every connection there is, and to those that come back (B10).
    pub async fn broadcast(&self, data: &RawValue) -> Position {
        let all = TopicName::new(ALL).expect("a valid name");
        publish_to(&self.shared.everyone, &all, data).await
    }

    /// The stream that each connection reads.
    #[must_use]
    pub fn everyone(&self) -> &Stream {
        &self.shared.everyone
    }

    pub(super) async fn sweep_until_shutdown(&self) {
        let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.sweep(),
                () = self.shared.shutdown.begun() => return,
            }
        }
    }

    /// Drops frames that are too old, and topics that nobody uses and nothing is left of.
    fn sweep(&self) {
        self.shared.everyone.expire();
        self.shared.topics.write().retain(|_, stream| {
            let spent = stream.expire().is_some_and(|quiet| quiet > TOPIC_LINGER);
            !(spent && stream.is_unshared())
        });
    }

    fn topic_stream(&self, topic: &TopicName) -> Stream {
        if let Some(stream) = self.shared.topics.read().get(topic) {
            return stream.clone();
        }
        let mut topics = self.shared.topics.write();
        let make = || stream(topic, self.rule(topic), self.next_stream(), self.encode());
        topics.entry(topic.clone()).or_insert_with(make).clone()
    }

    fn rule(&self, topic: &TopicName) -> (Retention, SlowReader) {
        let matches = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => topic.as_str().starts_with(prefix),
            None => topic.as_str() == pattern,
        };
        let rule = self.shared.config.topics.iter().find(|rule| matches(&rule.pattern));
        rule.map_or_else(default_rule, |rule| (rule.retention, rule.slow_reader))
    }
}

/// What a topic keeps, and what its slow readers get, if no rule says so.
pub(super) fn default_rule() -> (Retention, SlowReader) {
    (Retention::default(), SlowReader::default())
}

async fn publish_to(stream: &Stream, topic: &TopicName, data: &RawValue) -> Position {
    let time = now_ms();
    stream.publish(|position| topic_message(topic, position, data, time)).await
}

fn reserved(topic: &TopicName) -> ErrorBody {
    let sentence =
        format!("`{topic}` is not a topic that you can use; names with `@` are reserved");
    ErrorBody::new(ErrorCode::UnknownTopic, sentence)
}

/// A topic's stream: it has no owner task, its lock is its turn.
pub(super) fn stream(
    topic: &TopicName,
    (retention, policy): (Retention, SlowReader),
    number: StreamNumber,
    encode: Encode,
) -> Stream {
    let name = topic.clone();
    let gap = move |notice: GapNotice| {
        let gap = Gap {
            topic: name.clone(),
            missed: notice.missed,
            reason: notice.reason,
            position: notice.position,
        };
        encode(Kind::Text, &[text(None, &ServerMessage::Gap(gap)).as_bytes()])
    };
    let lag = Lag::Gap { policy, encode: Arc::new(gap) };
    Stream::new(StreamConfig { number, retention, lag, encode })
}
