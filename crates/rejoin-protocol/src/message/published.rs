//! The `message` that delivers published and emitted data.

use serde_json::value::RawValue;

use crate::{EventName, Position, TopicName};

/// Returns the text of a topic's `message`.
///
/// `data` is copied verbatim. `time` is in milliseconds since the Unix epoch.
#[must_use]
pub fn topic_message(topic: &TopicName, position: Position, data: &RawValue, time: u64) -> String {
    stream_message(topic, position, MessageBody { name: None, data }, time)
}

/// The body of a `message`: data and the name of an event.
#[derive(Clone, Copy, Debug)]
pub struct MessageBody<'a> {
    /// The event's name; `None` for data published to a topic.
    pub name: Option<&'a EventName>,
    /// Any JSON, copied verbatim.
    pub data: &'a RawValue,
}

/// Returns the text of a `message` that has a position in a stream.
///
/// `time` is in milliseconds since the Unix epoch.
#[must_use]
pub fn stream_message(
    topic: &TopicName,
    position: Position,
    body: MessageBody<'_>,
    time: u64,
) -> String {
    message(topic, Some(position), body, time)
}

/// Returns the text of a `message` to one connection, outside any stream.
///
/// Its topic is `@connection` and it has no position. `time` is in milliseconds since the Unix
/// epoch.
#[must_use]
pub fn direct_message(body: MessageBody<'_>, time: u64) -> String {
    let topic = TopicName::new("@connection").expect("the name is valid");
    message(&topic, None, body, time)
}

fn message(
    topic: &TopicName,
    position: Option<Position>,
    body: MessageBody<'_>,
    time: u64,
) -> String {
    // Enough for everything but the topic and the data, so the text is allocated once.
    const FIXED_BYTES: usize = 140;

    // Written without a serializer for speed. That is safe because topics and event names contain
    // no character that JSON escapes, and because `data` is valid JSON.
    let data = body.data.get();
    let mut text = String::with_capacity(FIXED_BYTES + topic.as_str().len() + data.len());

    text.push_str(r#"{"type":"message","payload":{"topic":""#);
    text.push_str(topic.as_str());
    text.push('"');

    if let Some(position) = position {
        text.push_str(r#","position":""#);
        position.append_to(&mut text);
        text.push('"');
    }

    if let Some(name) = body.name {
        text.push_str(r#","event":""#);
        text.push_str(name.as_str());
        text.push('"');
    }

    text.push_str(r#","data":"#);
    text.push_str(data);
    text.push_str(r#","time":"#);
    text.push_str(itoa::Buffer::new().format(time));
    text.push_str("}}");

    text
}
