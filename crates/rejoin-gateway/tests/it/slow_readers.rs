//! Slow readers: they delay no other client, and catch up or receive a gap.

use std::time::Duration;

use futures_util::SinkExt;
use rejoin_core::{Caps, Identity};
use rejoin_protocol::UserId;
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::MaybeTlsStream;

use crate::support::TestServer;

/// Returns data of 50 kB, of which a few messages fill an unread socket.
fn large() -> Value {
    Value::from("x".repeat(50_000))
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_receives_a_gap_later() {
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

    // Then it reads: the contents of its socket, a gap, and the retained rest.
    let (mut received, mut missed) = (0, 0);
    while received + missed < COUNT {
        let message = stuck.next_json().await;
        match message["type"].as_str().unwrap() {
            "message" => received += 1,
            "gap" => missed += message["payload"]["missed"].as_u64().unwrap(),
            other => panic!("{other}"),
        }
    }

    assert_eq!(received + missed, COUNT);
    assert!(missed > 0, "the subscriber was never behind");
}

#[tokio::test]
async fn sockets_that_break_during_a_broadcast_affect_no_others() {
    let one_shard = |config: &mut rejoin_gateway::GatewayConfig| {
        config.shards = std::num::NonZeroUsize::MIN;
    };
    let server = TestServer::start_with(one_shard, |gateway| gateway).await;
    let topic = rejoin_protocol::TopicName::new("long").unwrap();
    for broken in [1, 5, 40] {
        let mut clients = Vec::new();
        let admin = UserId::new("admin").unwrap();
        let admin = Identity::new(admin, Caps::admin());
        for _ in 0..300 {
            let mut client = server.log_in("ann").await;
            client.ask("subscribe", json!({ "topic": "long" })).await;
            clients.push(client);
        }

        for client in clients.drain(..broken) {
            // Resets the connection. The server has not noticed it when the broadcast begins.
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
async fn a_peer_that_never_reads_its_replies_is_closed() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let configure = |config: &mut rejoin_gateway::GatewayConfig| config.reply_timeout = TIMEOUT;
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut client = server.log_in("ann").await;

    // Unread replies fill the socket and then the outbox. The server then stops reading, so the
    // client cannot send.
    let ping = json!({ "type": "ping" }).to_string();
    let start = Instant::now();
    while server.hub.connection_count() > 0 {
        let sent = client.socket.send(ping.as_str().into());

        // A blocked send ends with the connection at the latest.
        if timeout(Duration::from_millis(20), sent).await.is_ok_and(|sent| sent.is_err()) {
            break;
        }
    }

    while server.hub.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(start.elapsed() >= TIMEOUT, "the connection was closed before its deadline");
}

#[tokio::test]
async fn a_connection_with_a_full_downlink_can_still_send() {
    let server = TestServer::start().await;
    let mut slow = server.log_in("ann").await;
    slow.ask("subscribe", json!({ "topic": "long" })).await;
    let mut publisher = server.log_in("ann").await;
    let mut listener = server.log_in("ann").await;
    listener.ask("subscribe", json!({ "topic": "other" })).await;

    // More than the sockets hold, and more than one turn of catching up.
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
