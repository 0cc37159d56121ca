//! Events for everyone, for users, for devices and for session lists.

use std::convert::Infallible;

use rejoin_protocol::{
    DeviceId, Position, TopicName, UserId,
    message::{ErrorBody, MessageBody, stream_message},
};

use crate::{
    backend::StreamOwner,
    connection::Connection,
    hub::{
        Hub,
        implicit_streams::{ALL, DEVICE, ImplicitStreamKey, SESSIONS, USER},
        topic::Durability,
        topic_stream::{self, JournalStream},
    },
    stream::{Start, Stream},
    time::now_ms,
};

/// The stream of a user's session list.
#[derive(Debug)]
pub(super) struct SessionList {
    topic: TopicName,
    stream: Stream,
}

impl SessionList {
    pub(super) async fn publish(&self, event: MessageBody<'_>) {
        // No gate: session lists are not saved.
        let text = event_text(&self.topic, event, || Ok::<_, Infallible>(()));
        let Ok(_) = self.stream.publish(text).await;
    }
}

impl Hub {
    /// Emits an event to all connections of a user, including those that reconnect while it is
    /// retained.
    ///
    /// Returns the position after the event. Cancel safe: the event is emitted or not. If events are
    /// durable, it may be emitted after the cancellation.
    ///
    /// # Errors
    /// `overloaded` if the user has too many streams that are new or read, or once the hub stops.
    pub async fn emit_to_user(
        &self,
        user: &UserId,
        event: MessageBody<'_>,
    ) -> Result<Position, ErrorBody> {
        let owner = StreamOwner::User { user: user.clone() };
        self.emit(ImplicitStreamKey::User(user.clone()), owner, event).await
    }

    /// Emits an event to all connections of one of a user's devices.
    ///
    /// Returns the position after the event. Cancel safe, as [`emit_to_user`](Self::emit_to_user).
    ///
    /// # Errors
    /// As [`emit_to_user`](Self::emit_to_user).
    pub async fn emit_to_device(
        &self,
        user: &UserId,
        device: &DeviceId,
        event: MessageBody<'_>,
    ) -> Result<Position, ErrorBody> {
        let (user, device) = (user.clone(), device.clone());
        let owner = StreamOwner::Device { user: user.clone(), device: device.clone() };
        self.emit(ImplicitStreamKey::Device(user, device), owner, event).await
    }

    /// Emits an event to all connections, including those that reconnect while it is retained.
    ///
    /// # Errors
    /// `overloaded` once the hub stops.
    pub async fn broadcast(&self, event: MessageBody<'_>) -> Result<Position, ErrorBody> {
        let all = TopicName::new(ALL).expect("a valid name");
        let stream = self.shared.implicit_streams.everyone().clone();
        self.emit_to(JournalStream { owner: StreamOwner::Everyone, stream }, &all, event).await
    }

    /// Returns the stream of a user's session list, if a connection has subscribed to it.
    pub(super) fn session_list(&self, user: &UserId) -> Option<SessionList> {
        let key = ImplicitStreamKey::Sessions(user.clone());
        let stream = self.shared.implicit_streams.get(&key)?;
        Some(SessionList { topic: key.topic(), stream })
    }

    /// Starts a reader of the implicit stream that a connection names.
    ///
    /// # Errors
    /// `unknown_topic` if the connection has no such stream.
    pub(super) fn start_implicit(
        &self,
        connection: &Connection,
        topic: &TopicName,
        position: Option<Position>,
    ) -> Result<(Start, Option<Stream>), ErrorBody> {
        let streams = &self.shared.implicit_streams;
        let key = match topic.as_str() {
            ALL => {
                let stream = streams.everyone().clone();
                return Ok((stream.start_now(position), Some(stream)));
            }
            SESSIONS => {
                // Created by the subscription: a list without a subscriber needs no events.
                let key = ImplicitStreamKey::Sessions(connection.user().clone());
                let stream = self.implicit_stream(key)?;
                return Ok((stream.start_now(position), Some(stream)));
            }
            USER => Some(ImplicitStreamKey::of_user(connection)),
            DEVICE => ImplicitStreamKey::of_device(connection),
            _ => None,
        };

        let key = key.ok_or_else(|| topic_stream::reserved(topic))?;
        Ok(streams.start(&key, position))
    }

    /// Emits an event to the stream of a user or a device.
    async fn emit(
        &self,
        key: ImplicitStreamKey,
        owner: StreamOwner,
        event: MessageBody<'_>,
    ) -> Result<Position, ErrorBody> {
        let topic = key.topic();
        let stream = self.implicit_stream(key)?;
        self.emit_to(JournalStream { owner, stream }, &topic, event).await
    }

    async fn emit_to(
        &self,
        target: JournalStream,
        topic: &TopicName,
        event: MessageBody<'_>,
    ) -> Result<Position, ErrorBody> {
        let check = || self.shared.gate.check();
        if self.shared.config.emit_durability == Durability::Journal {
            // Counted when it is stored.
            return self.store(target, None, event_text(topic, event, check)).await;
        }

        let position = target.stream.publish(event_text(topic, event, check)).await?;
        self.shared.metrics.emitted.inc();
        Ok(position)
    }

    fn implicit_stream(&self, key: ImplicitStreamKey) -> Result<Stream, ErrorBody> {
        let stream = self.shared.implicit_streams.get_or_create(key, &self.shared.connections);
        self.record_dropped();
        stream.inspect_err(|_| self.shared.metrics.rate_limited("topics"))
    }

    /// Records the implicit streams that were dropped in the journal, which has their messages.
    pub(super) fn record_dropped(&self) {
        let dropped = self.shared.implicit_streams.take_dropped();
        if self.shared.config.emit_durability == Durability::Journal {
            self.shared.durable.push_dropped(dropped);
        }
    }
}

/// Returns the function that makes an event's text, unless `check` refuses it under the stream's
/// lock.
fn event_text<E>(
    topic: &TopicName,
    event: MessageBody<'_>,
    check: impl Fn() -> Result<(), E>,
) -> impl Fn(Position) -> Result<String, E> {
    // The time of the call, even if the append has to wait.
    let time = now_ms();
    move |position| {
        check()?;
        Ok(stream_message(topic, position, event, time))
    }
}
