//! The hub: connections, topics, and the stream of everyone.

use rejoin_core::{Batch, OutboxItem, Progress, Reader, TopicRight};
use rejoin_protocol::{ErrorCode, TopicName, Verdict, message::MessageBody};
use serde_json::value::RawValue;

use crate::support::{connection, hub, identity, limit, register};

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

#[tokio::test]
async fn a_connection_is_registered_until_its_guard_is_dropped() {
    let (hub, _programs, _shutdown) = hub();
    let ann = connection("ann");
    let registration = register(&hub, &ann).unwrap();
    assert_eq!(hub.connection(ann.id()).unwrap().user(), ann.user());
    assert_eq!(hub.connection_count(), 1);
    drop(registration);
    assert!(hub.connection(ann.id()).is_none());
    assert_eq!(hub.connection_count(), 0);
}

#[tokio::test]
async fn a_published_message_has_the_position_that_resumes_after_it() {
    let (hub, _programs, _shutdown) = hub();
    let (ann, news) = (identity("ann"), TopicName::new("news").unwrap());
    let first = hub.publish(&news, &ann, &raw("1"), None).await.unwrap();
    hub.publish(&news, &ann, &raw("2"), None).await.unwrap();
    let topic = hub.topic(&news, &ann, TopicRight::Subscribe).unwrap();
    let stream = topic.stream();
    let start = stream.start(Some(first)).await.unwrap();

    assert_eq!((start.verdict, start.replayed), (Verdict::Resumed, 1));

    let mut batch = Batch::default();

    assert_eq!(stream.read(start.reader, limit(9), &mut batch), Progress::Frames);

    let text = std::str::from_utf8(&batch.frames[0].plain()[1..]).unwrap();

    assert!(text.contains(r#""data":2,"#), "{text}");
}

#[tokio::test]
async fn topics_are_isolated() {
    let (hub, _programs, _shutdown) = hub();
    let ann = identity("ann");
    let (a, b) = (TopicName::new("a").unwrap(), TopicName::new("b").unwrap());
    hub.publish(&a, &ann, &raw("1"), None).await.unwrap();
    let topic = hub.topic(&b, &ann, TopicRight::Subscribe).unwrap();
    let stream = topic.stream();
    let read = stream.read(Reader { next: 0 }, limit(9), &mut Batch::default());

    assert_eq!(read, Progress::UpToDate);
}

#[tokio::test]
async fn publishing_to_a_reserved_topic_is_refused() {
    let (hub, _programs, _shutdown) = hub();
    let ann = identity("ann");
    for name in ["@all", "@user", "@nothing"] {
        let topic = TopicName::new(name).unwrap();
        let error = hub.publish(&topic, &ann, &raw("1"), None).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::UnknownTopic, "{name}");
    }
}

#[tokio::test]
async fn a_broadcast_is_in_the_stream_of_everyone() {
    let (hub, _programs, _shutdown) = hub();
    let ann = connection("ann");
    let _ann = register(&hub, &ann).unwrap();
    let Some(OutboxItem::StartReading { stream, reader, .. }) = ann.outbox().take().pop_front()
    else {
        panic!("the connection reads")
    };

    hub.broadcast(MessageBody { name: None, data: &raw(r#"{"event":"maintenance"}"#) })
        .await
        .unwrap();
    let mut batch = Batch::default();
    stream.read(reader, limit(9), &mut batch);
    let text = std::str::from_utf8(batch.frames[0].plain()).unwrap();

    assert!(text.contains(r#""topic":"@all""#) && text.contains("maintenance"), "{text}");
}

#[tokio::test]
async fn without_the_right_a_topic_is_forbidden() {
    let (hub, _programs, _shutdown) = hub();
    let mut ann = identity("ann");
    ann.caps = serde_json::from_str(r#"{"topics":{"news":["subscribe"]}}"#).unwrap();
    let news = TopicName::new("news").unwrap();

    assert!(hub.topic(&news, &ann, TopicRight::Subscribe).is_ok());

    let error = hub.publish(&news, &ann, &raw("1"), None).await.unwrap_err();

    assert_eq!(error.code, ErrorCode::Forbidden);
}
