//! Topics: publish and subscribe.

use rejoin_protocol::message::MessageBody;
use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn a_message_reaches_the_subscribers_of_its_topic_only() {
    let server = TestServer::start().await;
    let (mut ann, mut bob, mut eve) =
        (server.log_in("ann").await, server.log_in("bob").await, server.log_in("eve").await);
    let ack = bob.ask("subscribe", json!({ "topic": "news" })).await;
    assert_eq!(ack["payload"]["verdict"], "fresh");

    eve.ask("subscribe", json!({ "topic": "other" })).await;
    let ack = ann.ask("publish", json!({ "topic": "news", "data": { "n": [1, 2.5] } })).await;
    let message = bob.next_json().await;
    assert_eq!(message["type"], "message");
    assert_eq!(message["payload"]["topic"], "news");
    assert_eq!(message["payload"]["data"], json!({ "n": [1, 2.5] }));
    assert_eq!(message["payload"]["position"], ack["payload"]["position"]);

    // A fence: the first message that eve receives was published later, to her topic.
    ann.ask("publish", json!({ "topic": "other", "data": "fence" })).await;
    assert_eq!(eve.next_json().await["payload"]["data"], "fence");
}

#[tokio::test]
async fn an_ended_subscription_receives_nothing() {
    let server = TestServer::start().await;
    let mut ann = server.log_in("ann").await;
    for topic in ["b", "a"] {
        ann.ask("subscribe", json!({ "topic": topic })).await;
    }
    let list = ann.ask("list_subscriptions", json!({})).await;

    assert_eq!(list["payload"]["subscriptions"], json!(["a", "b"]));

    ann.ask("unsubscribe", json!({ "topic": "a" })).await;
    ann.ask("publish", json!({ "topic": "a", "data": "not received" })).await;
    ann.ask("publish", json!({ "topic": "b", "data": "received" })).await;
    let mut messages = Vec::new();

    // A pong is not a fence for streams, so wait for the message itself.
    while messages.is_empty() {
        let message = ann.next_json().await;
        if message["type"] == "message" {
            messages.push(message["payload"]["data"].clone());
        }
    }

    assert_eq!(messages, ["received"]);

    let again = ann.ask("unsubscribe", json!({ "topic": "a" })).await;
    assert_eq!(again["payload"]["code"], "not_subscribed");
}

#[tokio::test]
async fn a_second_subscribe_does_not_duplicate_messages() {
    let server = TestServer::start().await;
    let mut ann = server.log_in("ann").await;
    ann.ask("subscribe", json!({ "topic": "news" })).await;
    ann.ask("subscribe", json!({ "topic": "news" })).await;
    let mut publisher = server.log_in("ann").await;
    for number in 0..3 {
        publisher.ask("publish", json!({ "topic": "news", "data": number })).await;
    }
    for number in 0..3 {
        assert_eq!(ann.next_json().await["payload"]["data"], number);
    }
}

#[tokio::test]
async fn a_broadcast_reaches_every_connection() {
    let server = TestServer::start().await;
    let (mut ann, mut bob) = (server.log_in("ann").await, server.log_in("bob").await);
    let data = serde_json::value::RawValue::from_string(r#""stop at 8""#.to_owned()).unwrap();
    server.hub.broadcast(MessageBody { name: None, data: &data }).await.unwrap();
    for client in [&mut ann, &mut bob] {
        let message = client.next_json().await;
        assert_eq!(message["payload"]["topic"], "@all");
        assert_eq!(message["payload"]["data"], "stop at 8");
    }
}

#[tokio::test]
async fn a_flood_reaches_all_subscribers_completely_and_in_order() {
    const COUNT: u64 = 5_000;
    let server = TestServer::start().await;
    let mut subscribers = Vec::new();
    for _ in 0..20 {
        let mut client = server.log_in("ann").await;
        client.ask("subscribe", json!({ "topic": "long" })).await;
        subscribers.push(client);
    }

    let mut publisher = server.log_in("ann").await;
    let publish = async {
        for number in 0..COUNT {
            let publish =
                json!({ "type": "publish", "payload": { "topic": "long", "data": number } });
            publisher.send(publish.to_string()).await;
        }

        while publisher.next_json().await["payload"]["position"]
            .as_str()
            .is_none_or(|position| !position.ends_with(&format!(".{COUNT}")))
        {}
    };

    let read = async {
        for client in &mut subscribers {
            for number in 0..COUNT {
                assert_eq!(client.next_json().await["payload"]["data"], number);
            }
        }
    };

    tokio::join!(publish, read);
}
