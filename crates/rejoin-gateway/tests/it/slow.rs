//! Slow readers: they hurt nobody, and catch up or are told.

use std::time::Duration;

use futures_util::SinkExt;
use rejoin_core::{Caps, Identity};
use rejoin_protocol::UserId;
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::MaybeTlsStream;

use crate::support::TestServer;

/// Large enough that a socket nobody reads is full after a few.
fn large() -> Value {
    Value::from("x".repeat(50_000))
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_slows_nobody_and_is_told_of_its_gap() {
    const COUNT: u64 = 1_000;
    let server = TestServer::start().await;
    let mut stuck = server.log_in("ann").await;
    stuck.ask("subscribe", json!({ "topic": "short" })).await;
    let mut reader = server.log_in("ann").await;
    reader.ask("subscribe", json!({ "topic": "short" })).await;
    let mut publisher = server.log_in("ann").await;
    let large = large();
    for _ in 0..COUNT {
        publisher.ask("publish", json!({ "topic": "short", "data": large })).await;
        assert_eq!(reader.next_json().await["payload"]["data"], large);
    }
    // It reads at last: what its socket held, a gap, and what is left. All is accounted for.
    let (mut heard, mut missed) = (0, 0);
    while heard + missed < COUNT {
        let message = stuck.next_json().await;
        match message["type"].as_str().unwrap() {
            "message" => heard += 1,
            "gap" => missed += message["payload"]["missed"].as_u64().unwrap(),
            other => panic!("{other}"),
        }
    }
    assert_eq!(heard + missed, COUNT);
    assert!(missed > 0, "it was never behind");
}

#[tokio::test]
async fn sockets_that_break_in_the_middle_of_a_broadcast_take_nobody_with_them() {
    let one_shard = |config: &mut rejoin_gateway::GatewayConfig| {
        config.shards = std::num::NonZeroUsize::MIN;
    };
    let server = TestServer::start_with(one_shard, |gateway| gateway).await;
    let topic = rejoin_protocol::TopicName::new("long").unwrap();
    for broken in [1, 5, 40] {
        let mut clients = Vec::new();
        let admin = UserId::new("admin").unwrap();
        let admin = Identity::new(admin, Caps::admin());
        // More than one turn of the shard, and as many again.
        for _ in 0..300 {
            let mut client = server.log_in("ann").await;
            client.ask("subscribe", json!({ "topic": "long" })).await;
            clients.push(client);
        }
        for client in clients.drain(..broken) {
            // The line is reset, and nobody had time to notice when the broadcast begins.
            let MaybeTlsStream::Plain(socket) = client.socket.get_ref() else { panic!("no TLS") };
            SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
        for number in 0..3 {
            let data = serde_json::value::to_raw_value(&number).unwrap();
            server.hub.publish(&topic, &admin, &data, None).await.unwrap();
        }
        for client in &mut clients {
            for number in 0..3 {
                assert_eq!(client.next_json().await["payload"]["data"], number);
            }
        }
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_its_replies_is_closed_in_time() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let configure = |config: &mut rejoin_gateway::GatewayConfig| config.reply_timeout = TIMEOUT;
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut client = server.log_in("ann").await;
    // Unread replies fill the socket and then the outbox. Then the server reads nothing more, so
    // that the client cannot send.
    let ping = json!({ "type": "ping" }).to_string();
    let begun = Instant::now();
    while server.hub.connection_count() > 0 {
        let sent = client.socket.send(ping.as_str().into());
        // A send that waits ends with the connection at the latest.
        if timeout(Duration::from_millis(20), sent).await.is_ok_and(|sent| sent.is_err()) {
            break;
        }
    }
    while server.hub.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(begun.elapsed() >= TIMEOUT, "it had time to read");
}

#[tokio::test]
async fn a_connection_whose_downlink_is_full_may_still_send() {
    let server = TestServer::start().await;
    let mut slow = server.log_in("ann").await;
    slow.ask("subscribe", json!({ "topic": "long" })).await;
    let mut publisher = server.log_in("ann").await;
    let mut listener = server.log_in("ann").await;
    listener.ask("subscribe", json!({ "topic": "other" })).await;
    // Much more than the sockets hold, and more than one turn of catching up.
    for _ in 0..200 {
        publisher.ask("publish", json!({ "topic": "long", "data": large() })).await;
    }
    for number in 0..100 {
        let publish = json!({ "topic": "other", "data": number });
        let message = json!({ "type": "publish", "payload": publish }).to_string();
        slow.socket.send(message.into()).await.unwrap();
        assert_eq!(listener.next_json().await["payload"]["data"], number);
    }
}
