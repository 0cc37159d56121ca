//! Topics of a hub: lookups with rights, subscriptions and publishes.

use std::time::Duration;

use futures_util::FutureExt as _;
use rejoin_protocol::{
    ErrorCode, Position, RequestKey, TopicName,
    message::{ErrorBody, topic_message},
};
use serde_json::value::RawValue;

use crate::{
    access::{Authority, Identity, TopicRight},
    connection::Connection,
    hub::{
        Hub,
        durable::{Confirm, PublishProgress},
        topic::{Durability, Subscription, Topic},
        topic_stream,
    },
    stream::Start,
    time::now_ms,
};

/// The interval at which expired frames of idle streams are dropped.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// A message to publish.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// The topic.
    pub topic: &'a TopicName,
    /// Any JSON.
    pub data: &'a RawValue,
    /// The idempotency key.
    pub key: Option<&'a RequestKey>,
}

impl Hub {
    /// Returns a topic for a caller with `right`. Creates it if it does not exist.
    ///
    /// # Errors
    /// `forbidden`, `unknown_topic` for a reserved name, or `too_many_topics`.
    pub fn topic(
        &self,
        name: &TopicName,
        identity: &Identity,
        right: TopicRight,
    ) -> Result<Topic, ErrorBody> {
        check_topic(name, identity, right)?;
        self.shared.topics.get_or_create(name, &identity.user)
    }

    /// Returns a topic for a caller with `right`, if it exists.
    ///
    /// # Errors
    /// `forbidden`, or `unknown_topic` for a reserved name.
    pub fn existing_topic(
        &self,
        name: &TopicName,
        identity: &Identity,
        right: TopicRight,
    ) -> Result<Option<Topic>, ErrorBody> {
        check_topic(name, identity, right)?;
        Ok(self.shared.topics.get(name))
    }

    /// Returns the first `max` topics after `after` for a caller with `right`, sorted by name.
    #[must_use]
    pub fn topics(
        &self,
        identity: &Identity,
        right: TopicRight,
        after: Option<&TopicName>,
        max: usize,
    ) -> Vec<Topic> {
        self.shared.topics.page(after, max, |name| identity.caps.allows_topic(name, right))
    }

    /// Returns the number of topics.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.shared.topics.count()
    }

    /// Subscribes a connection, and returns the start of its reader.
    ///
    /// Implicit streams have the reserved names `@all`, `@user`, `@device` and `@sessions`. There
    /// is no subscription to one that does not exist yet: its creation starts the readers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use std::sync::Arc;
    /// # use rejoin_core::*;
    /// # use rejoin_protocol::{StreamNumber, Subject, TopicName, UserId, Verdict};
    /// # #[derive(Debug)] struct Shard;
    /// # impl Wake for Shard {
    /// #     fn stream_advanced(&self, _stream: StreamNumber) {}
    /// #     fn outbox_filled(&self, _slot: usize) {}
    /// # }
    /// # let encode = |_: PayloadKind, parts: &[&[u8]]| parts.concat().into();
    /// # let config = HubConfig::new(encode, MemoryTerminals::new(), Arc::new(MemoryScreens));
    /// # let hub = Hub::new(config, &Shutdown::new());
    /// let ann = Identity::new(UserId::new("ann").unwrap(), Caps::user());
    /// let outbox = Arc::new(Outbox::new(Arc::new(Shard), 0));
    /// let connection = Connection::new(ann.clone(), ClientInfo::default(), outbox, encode);
    ///
    /// let news = TopicName::new("news").unwrap();
    /// let (start, subscription) = hub.subscribe(&connection, &news, None).unwrap();
    /// assert_eq!(start.verdict, Verdict::Fresh);
    ///
    /// let presence = hub.presence(&ann, &Subject::Topic(news)).unwrap();
    /// assert_eq!((presence.users, presence.connections), (1, 1));
    /// drop(subscription);
    /// # }
    /// ```
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
            let (start, stream) = self.start_implicit(connection, name, position)?;
            let subscription = stream.map(|stream| Subscription { stream, _presence: None });
            return Ok((start, subscription));
        }

        let topic = self.topic(name, &connection.identity(), TopicRight::Subscribe)?;
        // Before the presence, so that the subscriber reads the messages of those who see it join.
        let start = topic.stream().start_now(position);
        let presence = topic.presence().enter(connection);
        let stream = topic.stream().clone();
        Ok((start, Some(Subscription { stream, _presence: Some(presence) })))
    }

    /// Publishes to a topic as soon as the fan-out has room. Returns the position after it.
    ///
    /// A retry with the same `key` by the same user within five minutes gets the same position and
    /// publishes nothing. Cancel safe: the message is published or not. The message of a durable
    /// topic is on disk when the call returns, and with a key it is published even if the call is
    /// cancelled.
    ///
    /// # Errors
    /// As [`topic`](Self::topic); `rate_limited` for too many keys; `overloaded` once the hub
    /// stops, or if the message of a durable topic cannot be stored; the error of
    /// [`Authority::check`] at the moment of the publish.
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
            let text = |position| self.message_text(name, position, data, authority);
            if topic.durability() == Durability::Journal {
                // Counted when it is stored.
                let id = key.map(|key| (identity.user.clone(), name.clone(), key.clone()));
                return self.store(topic.journal_stream(), id, text).await;
            }
            let position = topic.stream().publish(text).await?;
            self.shared.metrics.published.inc();
            Ok(position)
        };

        let Some(key) = key else { return publish().await };

        // The first request fills the cell. Concurrent retries wait for it. A cancelled one
        // leaves it empty for the next.
        let result = self.shared.published.result(&identity.user, (name.clone(), key.clone()));
        let result = result.map_err(|error| {
            self.shared.metrics.rate_limited("keys");
            ErrorBody::new(ErrorCode::RateLimited, error.to_string())
        })?;
        result.get_or_try_init(publish).await.copied()
    }

    /// Publishes if nothing has to be waited for.
    ///
    /// The result of a message to a durable topic is passed to the function that `confirm`
    /// returns, once the message is on disk.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn try_publish(
        &self,
        message: &NewMessage<'_>,
        authority: &dyn Authority,
        confirm: impl FnOnce() -> Confirm,
    ) -> Result<PublishProgress, ErrorBody> {
        let NewMessage { topic: name, data, key } = *message;
        let identity = authority.identity();
        let topic = self.topic(name, &identity, TopicRight::Publish)?;

        if topic.durability() == Durability::Memory {
            // A publish that is dropped before its end has published nothing.
            let position = self.publish(name, authority, data, key).now_or_never().transpose()?;
            return Ok(position.map_or(PublishProgress::Full, PublishProgress::Done));
        }

        // Retries with a key wait for each other.
        if key.is_some() {
            return Ok(PublishProgress::Full);
        }
        let text = |position| self.message_text(name, position, data, authority);
        self.try_store(&topic.journal_stream(), text, confirm)
    }

    /// Returns the text of a message. Called under the stream's lock: the last checks before the
    /// effect.
    fn message_text(
        &self,
        topic: &TopicName,
        position: Position,
        data: &RawValue,
        authority: &dyn Authority,
    ) -> Result<String, ErrorBody> {
        let time = now_ms();
        authority.check_at(time)?;
        self.shared.gate.check()?;
        Ok(topic_message(topic, position, data, time))
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
        self.shared.implicit_streams.sweep();
        self.record_dropped();
        self.shared.budgets.sweep();
        self.shared.online.sweep();
        self.shared.published.expire();
        self.shared.topics.sweep();
    }
}

fn check_topic(name: &TopicName, identity: &Identity, right: TopicRight) -> Result<(), ErrorBody> {
    if name.is_reserved() {
        return Err(topic_stream::reserved(name));
    }

    if !identity.caps.allows_topic(name, right) {
        let sentence = format!("the token does not allow this with the topic `{name}`");
        return Err(ErrorBody::new(ErrorCode::Forbidden, sentence));
    }

    Ok(())
}
