//! Events for everyone, for users, for devices and for session lists.

use std::convert::Infallible;

use rejoin_protocol::{
    DeviceId, Position, TopicName, UserId,
    message::{ErrorBody, MessageBody, stream_message},
};

use crate::{
    connection::Connection,
    hub::{
        Hub,
        implicit_streams::{ALL, DEVICE, ImplicitStreamKey, SESSIONS, USER},
        topic_stream,
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
        let Ok(_) = publish(&self.stream, &self.topic, event, || Ok::<_, Infallible>(())).await;
    }
}

impl Hub {
    /// Emits an event to all connections of a user, including those that reconnect while it is
    /// retained.
    ///
    /// Returns the position after the event. Cancel safe: the event is emitted or not.
    ///
    /// # Errors
    /// `overloaded` if the user has too many streams that are new or read, or once the hub stops.
    pub async fn emit_to_user(
        &self,
        user: &UserId,
        event: MessageBody<'_>,
    ) -> Result<Position, ErrorBody> {
        self.emit(ImplicitStreamKey::User(user.clone()), event).await
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
        self.emit(ImplicitStreamKey::Device(user.clone(), device.clone()), event).await
    }

    /// Emits an event to all connections, including those that reconnect while it is retained.
    ///
    /// # Errors
    /// `overloaded` once the hub stops.
    pub async fn broadcast(&self, event: MessageBody<'_>) -> Result<Position, ErrorBody> {
        let all = TopicName::new(ALL).expect("a valid name");
        let everyone = self.shared.implicit_streams.everyone();
        publish(everyone, &all, event, || self.shared.gate.check()).await
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

    async fn emit(
        &self,
        key: ImplicitStreamKey,
        event: MessageBody<'_>,
    ) -> Result<Position, ErrorBody> {
        let topic = key.topic();
        let stream = self.implicit_stream(key)?;
        let position = publish(&stream, &topic, event, || self.shared.gate.check()).await?;
        self.shared.metrics.emitted.inc();
        Ok(position)
    }

    fn implicit_stream(&self, key: ImplicitStreamKey) -> Result<Stream, ErrorBody> {
        let stream = self.shared.implicit_streams.get_or_create(key, &self.shared.connections);
        stream.inspect_err(|_| self.shared.metrics.rate_limited("topics"))
    }
}

/// Appends an event, unless `check` refuses it under the stream's lock.
async fn publish<E>(
    stream: &Stream,
    topic: &TopicName,
    event: MessageBody<'_>,
    check: impl Fn() -> Result<(), E>,
) -> Result<Position, E> {
    // The time of the call, even if the append has to wait.
    let time = now_ms();
    let text = |position| {
        check()?;
        Ok(stream_message(topic, position, event, time))
    };
    stream.publish(text).await
}
