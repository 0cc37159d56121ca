//! Handlers of programs that embed the gateway.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rejoin_core::{BoxFuture, Connection};
use rejoin_gateway::{Gateway, GatewayConfig, MessageHandler, Reply};
use rejoin_protocol::{CloseCode, ErrorCode, UserId, message::ErrorBody};
use serde_json::{Value, json, value::RawValue};
use tokio::sync::Notify;

use crate::support::TestServer;

/// A handler that replies with the user and the payload.
struct Echo;

impl MessageHandler for Echo {
    fn handle<'a>(
        &'a self,
        connection: &'a Connection,
        payload: Option<&'a RawValue>,
    ) -> BoxFuture<'a, Result<Option<Reply>, ErrorBody>> {
        Box::pin(async move {
            let payload = payload.map_or("null", RawValue::get);
            let payload: Value = serde_json::from_str(payload).expect("the payload is JSON");
            match payload.as_str() {
                Some("nothing") => Ok(None),
                Some("fail") => Err(ErrorBody::new(ErrorCode::Forbidden, "not for you")),
                Some("panic") => panic!("requested by the test"),
                _ => Ok(Some(Reply {
                    kind: "echoed".to_owned(),
                    payload: json!({ "from": connection.user(), "payload": payload }),
                })),
            }
        })
    }
}

#[tokio::test]
async fn a_handler_replies_to_its_message_type() {
    let server =
        TestServer::start_with(|_| {}, |gateway| gateway.handle("echo", Echo).unwrap()).await;
    let mut client = server.log_in("ann").await;

    let answer = client.ask("echo", json!({ "x": 1 })).await;
    assert_eq!(answer["type"], "echoed");
    assert_eq!(answer["payload"], json!({ "from": "ann", "payload": { "x": 1 } }));

    let refused = client.ask("echo", json!("fail")).await;
    assert_eq!(refused["payload"]["code"], "forbidden");
    assert_eq!(refused["payload"]["message"], "not for you");

    client.send(json!({ "type": "echo", "payload": "nothing" }).to_string()).await;
    assert_eq!(client.ask("ping", json!({})).await["type"], "pong");
}

#[tokio::test]
async fn a_message_type_has_at_most_one_handler() {
    let server = TestServer::start().await;
    let config = GatewayConfig::new(server.key.verifier());
    let gateway = Gateway::new(server.hub.clone(), config).handle("echo", Echo).unwrap();
    let error = gateway.handle("echo", Echo).unwrap_err();
    assert!(error.to_string().contains("`echo`"), "{error}");

    let config = GatewayConfig::new(server.key.verifier());
    assert!(Gateway::new(server.hub.clone(), config).handle("subscribe", Echo).is_err());
}

#[tokio::test]
async fn a_panicking_handler_keeps_the_connection() {
    let server =
        TestServer::start_with(|_| {}, |gateway| gateway.handle("echo", Echo).unwrap()).await;
    let mut client = server.log_in("ann").await;

    let answer = client.ask("echo", json!("panic")).await;

    assert_eq!(answer["payload"]["code"], "internal", "{answer}");
    assert_eq!(client.ask("echo", json!("hello")).await["payload"]["payload"], "hello");
}

/// A handler that waits for the test, and counts its calls.
struct Slow {
    calls: Arc<AtomicUsize>,
    release: Arc<Notify>,
}

impl MessageHandler for Slow {
    fn handle<'a>(
        &'a self,
        _connection: &'a Connection,
        _payload: Option<&'a RawValue>,
    ) -> BoxFuture<'a, Result<Option<Reply>, ErrorBody>> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::Relaxed);
            self.release.notified().await;
            Ok(None)
        })
    }
}

#[tokio::test]
async fn a_slow_handler_delays_only_its_own_connection() {
    let (calls, release) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
    let slow = Slow { calls: Arc::clone(&calls), release: Arc::clone(&release) };
    // One I/O thread for both connections, so that a blocked one would block the other.
    let one_shard = |config: &mut GatewayConfig| {
        config.shards = NonZeroUsize::MIN;
    };
    let handle = |gateway: Gateway| gateway.handle("slow", slow).unwrap();
    let server = TestServer::start_with(one_shard, handle).await;

    let mut waiting = server.log_in("ann").await;
    for _ in 0..3 {
        waiting.send(json!({ "type": "slow" }).to_string()).await;
    }
    let mut other = server.log_in("bob").await;
    while calls.load(Ordering::Relaxed) == 0 {
        assert_eq!(other.ask("ping", json!({})).await["type"], "pong");
    }

    release.notify_one();
    while calls.load(Ordering::Relaxed) == 1 {
        assert_eq!(other.ask("ping", json!({})).await["type"], "pong");
    }

    // The third message waits for the second one, and is not executed after the close.
    let ann = UserId::new("ann").unwrap();
    server.hub.disconnect(CloseCode::Disconnected, |it| *it.user() == ann);
    assert_eq!(waiting.until_closed().await.1, Some(4504));
    release.notify_one();
    assert_eq!(other.ask("ping", json!({})).await["type"], "pong");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}
