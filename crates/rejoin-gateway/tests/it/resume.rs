//! Resuming: a reconnected client receives exactly the missing messages.

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, TestServer};

#[tokio::test]
async fn a_resumed_subscriber_receives_exactly_the_missing_messages() {
    let server = TestServer::start().await;
    let mut publisher = server.log_in("ann").await;
    let mut away = server.log_in("ann").await;
    away.ask("subscribe", json!({ "topic": "news" })).await;
    publisher.ask("publish", json!({ "topic": "news", "data": 0 })).await;
    let position = away.next_json().await["payload"]["position"].clone();
    drop(away);
    for number in 1..=3 {
        publisher.ask("publish", json!({ "topic": "news", "data": number })).await;
    }
    let mut back = server.log_in("ann").await;
    let ack = back.ask("subscribe", json!({ "topic": "news", "position": position })).await;

    assert_eq!(
        (&ack["payload"]["verdict"], &ack["payload"]["replayed"]),
        (&"resumed".into(), &3.into())
    );

    for number in 1..=3 {
        assert_eq!(back.next_json().await["payload"]["data"], number);
    }
}

#[tokio::test]
async fn a_position_older_than_retention_gets_a_sized_gap() {
    let server = TestServer::start().await;
    let mut publisher = server.log_in("ann").await;
    let first = publisher.ask("publish", json!({ "topic": "short", "data": 0 })).await;
    for number in 1..=10 {
        publisher.ask("publish", json!({ "topic": "short", "data": number })).await;
    }
    let mut back = server.log_in("ann").await;
    let position = &first["payload"]["position"];
    let ack = back.ask("subscribe", json!({ "topic": "short", "position": position })).await;
    let payload = &ack["payload"];

    assert_eq!(payload["verdict"], "gap");
    assert_eq!(payload["reason"], "retention");
    assert_eq!((&payload["missed"], &payload["replayed"]), (&6.into(), &4.into()));

    for number in 7..=10 {
        assert_eq!(back.next_json().await["payload"]["data"], number);
    }
}

/// Reads `count` messages. Appends their data to `seen` and updates `position`.
async fn collect(client: &mut Client, seen: &mut Vec<u64>, position: &mut Value, count: usize) {
    for _ in 0..count {
        let message = client.next_json().await;
        if message["type"] == "message" {
            seen.push(message["payload"]["data"].as_u64().unwrap());
            *position = message["payload"]["position"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_disconnects_under_load_cause_no_gap_or_repeat() {
    const DISCONNECTS: usize = 100;
    let server = TestServer::start().await;
    let mut publisher = server.log_in("ann").await;
    let mut client = server.log_in("ann").await;
    let ack = client.ask("subscribe", json!({ "topic": "long" })).await;
    let mut position = ack["payload"]["position"].clone();
    let (stop_tx, stop) = tokio::sync::watch::channel(false);
    let load = server.hub.shutdown().spawn(async move {
        let mut number = 0u64;
        while !*stop.borrow() {
            publisher.ask("publish", json!({ "topic": "long", "data": number })).await;
            number += 1;
        }

        number
    });

    let mut seen = Vec::new();

    // Disconnects after a number of messages that differs between runs.
    let mut cuts = TestRunner::default();
    for _ in 0..DISCONNECTS {
        let count = (0usize..40).new_tree(&mut cuts).unwrap().current();
        collect(&mut client, &mut seen, &mut position, count).await;

        // Without a close frame: messages on their way are lost.
        drop(client);
        client = server.log_in("ann").await;
        let subscribe = json!({ "topic": "long", "position": position });
        let ack = client.ask("subscribe", subscribe).await;

        assert_eq!(ack["payload"]["verdict"], "resumed", "{ack}");
    }

    stop_tx.send(true).unwrap();
    let published = load.await.unwrap();
    while (seen.len() as u64) < published {
        collect(&mut client, &mut seen, &mut position, 1).await;
    }
    assert_eq!(seen, (0..published).collect::<Vec<_>>());
}

#[tokio::test]
async fn ping_and_close_frames_are_answered() {
    let server = TestServer::start().await;
    let mut client = server.log_in("ann").await;
    client.send(Message::Ping("are you there".into())).await;
    assert_eq!(client.next().await.unwrap(), Message::Pong("are you there".into()));

    client.send(Message::Close(None)).await;
    assert_eq!(client.until_closed().await.1, Some(1000));

    while server.hub.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
}
