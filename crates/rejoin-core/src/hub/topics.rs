//! Topics: streams by name, there as soon as they are used and gone when nothing is left of them.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use rejoin_protocol::{
    ErrorCode, Position, RequestKey, StreamNumber, Subject, TopicName, UserId,
    message::{ErrorBody, Gap, ServerMessage, text, topic_message},
};
use serde_json::value::RawValue;

use crate::{
    access::{Authority, Identity, TopicRight},
    connection::Connection,
    hub::{Hub, implicit_streams::LINGER},
    presence::{Place, PresenceContext, Stay},
    stream::{GapNotice, LagPolicy, Retention, SlowReaderPolicy, Start, Stream, StreamConfig},
    time::now_ms,
    wire::{Encode, PayloadKind},
};

/// How often frames that grew too old are dropped from topics where nothing happens.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// All topics that are there.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: HashMap<TopicName, Topic>,
    /// How many topics a user made by using their names first; no zeros.
    made: HashMap<UserId, usize>,
}

/// A handle to a topic.
#[derive(Clone)]
pub struct Topic {
    shared: Arc<Shared>,
}

struct Shared {
    name: TopicName,
    stream: Stream,
    place: Arc<Place>,
    maker: UserId,
}

/// A connection's subscription; dropping it ends its presence in the topic.
#[derive(Debug)]
pub struct Subscription {
    stream: Stream,
    _stay: Option<Stay>,
}

impl Topic {
    pub(super) fn new(
        name: TopicName,
        stream: Stream,
        maker: UserId,
        tools: &Arc<PresenceContext>,
    ) -> Self {
        let place = Place::new(Subject::Topic(name.clone()), Arc::clone(tools));
        Self { shared: Arc::new(Shared { name, stream, place, maker }) }
    }

    /// The user who used it first.
    pub(super) fn maker(&self) -> &UserId {
        &self.shared.maker
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &TopicName {
        &self.shared.name
    }

    /// Its stream.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.shared.stream
    }

    /// How many connections subscribe to it.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.shared.place.connections()
    }

    /// Where its subscribers are present.
    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.shared.place
    }
}

impl Subscription {
    /// What is read.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }
}

impl Topics {
    pub(super) fn insert(&mut self, topic: Topic) {
        *self.made.entry(topic.maker().clone()).or_default() += 1;
        self.by_name.insert(topic.name().clone(), topic);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values()
    }

    /// Drops what is too old from all topics; returns those that nothing is left of.
    fn expire(&self) -> Vec<TopicName> {
        let spent = self.by_name.iter().filter(|(_, topic)| topic.is_spent());
        spent.map(|(name, _)| name.clone()).collect()
    }

    /// Forgets a topic if nobody uses it: nobody has a handle to it, reads it or is told who is
    /// in it.
    fn forget(&mut self, name: &TopicName) {
        let Some(topic) = self.by_name.get(name).filter(|topic| topic.is_unused()) else { return };
        let maker = &topic.shared.maker;
        if let Some(made) = self.made.get_mut(maker) {
            *made -= 1;
            if *made == 0 {
                self.made.remove(maker);
            }
        }
        self.by_name.remove(name);
    }
}

impl Topic {
    fn is_spent(&self) -> bool {
        self.shared.place.sweep();
        self.shared.stream.expire().is_some_and(|quiet| quiet > LINGER)
    }

    fn is_unused(&self) -> bool {
        let Shared { stream, place, .. } = &*self.shared;
        // Nobody gets a handle meanwhile: that takes the lock under which this is called.
        let is_held = Arc::strong_count(&self.shared) > 1 || Arc::strong_count(place) > 1;
        !is_held && stream.is_unshared() && place.is_unused() && self.is_spent()
    }
}

impl Hub {
    /// A topic that the caller may use in this way; it is made if it is not there.
    ///
    /// # Errors
    /// `forbidden`, `unknown_topic` for a reserved name, or `too_many_topics`.
    pub fn topic(
        &self,
        name: &TopicName,
        identity: &Identity,
        right: TopicRight,
    ) -> Result<Topic, ErrorBody> {
        self.check_topic(name, identity, right)?;
        self.make_topic(name, &identity.user)
    }

    /// A topic that is there and that the caller may use in this way.
    ///
    /// # Errors
    /// `forbidden`, or `unknown_topic` for a reserved name.
    pub fn existing_topic(
        &self,
        name: &TopicName,
        identity: &Identity,
        right: TopicRight,
    ) -> Result<Option<Topic>, ErrorBody> {
        self.check_topic(name, identity, right)?;
        Ok(self.shared.topics.read().by_name.get(name).cloned())
    }

    /// The topics that are there and that the caller may use in this way, sorted, after `after`.
    #[must_use]
    pub fn topics(
        &self,
        identity: &Identity,
        right: TopicRight,
        after: Option<&TopicName>,
        max: usize,
    ) -> Vec<Topic> {
        let topics = self.shared.topics.read();
        let mut first = std::collections::BTreeMap::new();
        for (name, topic) in &topics.by_name {
            if after.is_none_or(|after| name > after) && identity.caps.allows_topic(name, right) {
                first.insert(name, topic);
                if first.len() > max {
                    first.pop_last();
                }
            }
        }
        first.into_values().cloned().collect()
    }

    /// How many topics are there.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.shared.topics.read().by_name.len()
    }

    /// Begins a connection's subscription, and says from where. Own streams have the reserved
    /// names `@all`, `@user`, `@device` and `@sessions`; one to which nothing was emitted yet
    /// is read as soon as something is.
    ///
    /// # Errors
    /// As [`topic`](Self::topic).
    pub fn subscribe(
        &self,
        connection: &Connection,
        name: &TopicName,
        position: Option<Position>,
    ) -> Result<(Start, Option<Subscription>), ErrorBody> {
        if name.is_reserved() {
            let (start, stream) = self.start_own(connection, name, position)?;
            return Ok((start, stream.map(|stream| Subscription { stream, _stay: None })));
        }
        let topic = self.topic(name, &connection.identity(), TopicRight::Subscribe)?;
        let start = topic.stream().start_now(position);
        let stay = topic.place().enter(connection);
        Ok((start, Some(Subscription { stream: topic.stream().clone(), _stay: Some(stay) })))
    }

    /// Publishes to a topic, as soon as the fan-out has room; returns the position after it.
    ///
    /// With a `key`, a retry by the same user within five minutes is answered and not published
    /// again. Cancel safe: it is published or not.
    ///
    /// # Errors
    /// As [`topic`](Self::topic); `rate_limited` for too many keys; `overloaded` once the hub
    /// stops; and the error of [`Authority::check`] at the moment of the publish.
    pub async fn publish(
        &self,
        name: &TopicName,
        authority: &dyn Authority,
        data: &RawValue,
        key: Option<&RequestKey>,
    ) -> Result<Position, ErrorBody> {
        let identity = authority.identity();
        let topic = self.topic(name, &identity, TopicRight::Publish)?;
        let publish = async || {
            let text = |position| {
                let time = now_ms();
                authority.check_at(time)?;
                self.shared.gate.check()?;
                Ok::<_, ErrorBody>(topic_message(name, position, data, time))
            };
            let position = topic.stream().publish(text).await?;
            self.shared.metrics.published.inc();
            Ok(position)
        };
        let Some(key) = key else { return publish().await };
        let result = self.shared.published.result(&identity.user, (name.clone(), key.clone()));
        let result = result.map_err(|error| {
            self.shared.metrics.rate_limited("keys");
            ErrorBody::new(ErrorCode::RateLimited, error.to_string())
        })?;
        result.get_or_try_init(publish).await.copied()
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

    fn sweep(&self) {
        self.sweep_own_streams();
        self.shared.budgets.sweep();
        self.shared.everyone_place.sweep();
        self.shared.published.forget();
        // The long look lets others publish; then only what is to go is looked at again.
        let spent = self.shared.topics.read().expire();
        if spent.is_empty() {
            return;
        }
        let mut topics = self.shared.topics.write();
        spent.iter().for_each(|name| topics.forget(name));
        self.count_topics(&topics);
    }

    fn check_topic(
        &self,
        name: &TopicName,
        identity: &Identity,
        right: TopicRight,
    ) -> Result<(), ErrorBody> {
        if name.is_reserved() {
            return Err(reserved(name));
        }
        if !identity.caps.allows_topic(name, right) {
            let sentence = format!("the token does not allow this with the topic `{name}`");
            return Err(ErrorBody::new(ErrorCode::Forbidden, sentence));
        }
        Ok(())
    }

    fn make_topic(&self, name: &TopicName, maker: &UserId) -> Result<Topic, ErrorBody> {
        if let Some(topic) = self.shared.topics.read().by_name.get(name) {
            return Ok(topic.clone());
        }
        let limits = &self.shared.config.limits;
        let mut topics = self.shared.topics.write();
        if let Some(topic) = topics.by_name.get(name) {
            return Ok(topic.clone());
        }
        let made = topics.made.get(maker).copied().unwrap_or_default();
        if made >= limits.topics_per_user || topics.by_name.len() >= limits.topics {
            self.shared.metrics.rate_limited("topics");
            return Err(ErrorCode::TooManyTopics.into());
        }
        let budget = self.shared.budgets.of(maker);
        let stream = Stream::with_budget(self.topic_config(name), budget);
        let topic = Topic::new(name.clone(), stream, maker.clone(), &self.shared.tools);
        topics.insert(topic.clone());
        self.count_topics(&topics);
        Ok(topic)
    }

    /// What a topic's stream is made from.
    pub(super) fn topic_config(&self, name: &TopicName) -> StreamConfig {
        let number = self.shared.tools.next_stream();
        config(name, self.rule(name), number, self.encode())
    }

    fn count_topics(&self, topics: &Topics) {
        let count = i64::try_from(topics.by_name.len()).unwrap_or(i64::MAX);
        self.shared.metrics.topics.set(count);
    }

    fn rule(&self, name: &TopicName) -> (Retention, SlowReaderPolicy) {
        let matches = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => name.as_str().starts_with(prefix),
            None => name.as_str() == pattern,
        };
        let rule = self.shared.config.topics.iter().find(|rule| matches(&rule.pattern));
        rule.map_or_else(default_rule, |rule| (rule.retention, rule.slow_reader))
    }
}

/// What a topic keeps, and what its slow readers get, if no rule says so.
pub(super) fn default_rule() -> (Retention, SlowReaderPolicy) {
    (Retention::default(), SlowReaderPolicy::default())
}

pub(super) fn reserved(topic: &TopicName) -> ErrorBody {
    let sentence =
        format!("`{topic}` is not a topic that you can use; names with `@` are reserved");
    ErrorBody::new(ErrorCode::UnknownTopic, sentence)
}

/// What a topic's stream is made from: it has no owner task, its lock is its turn.
pub(super) fn config(
    topic: &TopicName,
    (retention, policy): (Retention, SlowReaderPolicy),
    number: StreamNumber,
    encode: Encode,
) -> StreamConfig {
    let name = topic.clone();
    let gap = move |notice: GapNotice| {
        let gap = Gap {
            topic: name.clone(),
            missed: notice.missed,
            reason: notice.reason,
            position: notice.position,
        };
        encode(PayloadKind::Text, &[text(None, &ServerMessage::Gap(gap)).as_bytes()])
    };
    let lag = LagPolicy::Gap { policy, encode: Arc::new(gap) };
    StreamConfig { number, retention, lag, encode }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
