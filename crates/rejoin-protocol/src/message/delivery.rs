//! What is published or emitted, as it is delivered: laid out by hand, its data as it came.

use serde_json::value::RawValue;

use crate::{EventName, Position, TopicName};

/// The text of a topic's `message`; `data` is passed on as it is.
#[must_use]
pub fn topic_message(topic: &TopicName, position: Position, data: &RawValue, time: u64) -> String {
    stream_message(topic, position, MessageBody { name: None, data }, time)
}

/// What is emitted: data, and what it is about.
#[derive(Clone, Copy, Debug)]
pub struct MessageBody<'a> {
    /// Its name; what is published to a topic has none.
    pub name: Option<&'a EventName>,
    /// Any JSON, passed on as it is.
    pub data: &'a RawValue,
}

/// The text of a `message` that has a place in a stream.
#[must_use]
pub fn stream_message(
    topic: &TopicName,
    position: Position,
    event: MessageBody<'_>,
    time: u64,
) -> String {
    message(topic, Some(position), event, time)
}

/// The text of a `message` to one connection, which is in no stream: its topic is `@connection`.
#[must_use]
pub fn direct_message(event: MessageBody<'_>, time: u64) -> String {
    let topic = TopicName::new("@connection").expect("a valid name");
    message(&topic, None, event, time)
}

fn message(
    topic: &TopicName,
    position: Option<Position>,
    event: MessageBody<'_>,
    time: u64,
) -> String {
    const FIXED_BYTES: usize = 140;
    let data = event.data.get();
    let mut text = String::with_capacity(FIXED_BYTES + topic.as_str().len() + data.len());
    // The bytes of topics and names of events need no escaping: the text is laid out by hand.
    text.push_str(r#"{"type":"message","payload":{"topic":""#);
    text.push_str(topic.as_str());
    text.push('"');
    if let Some(position) = position {
        text.push_str(r#","position":""#);
        position.append_to(&mut text);
        text.push('"');
    }
    if let Some(name) = event.name {
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
