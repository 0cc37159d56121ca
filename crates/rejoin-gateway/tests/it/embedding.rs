//! Programs that embed the gateway.

use rejoin_core::{BoxFuture, Connection};
use rejoin_gateway::{Gateway, GatewayConfig, MessageHandler, Reply};
use rejoin_protocol::{ErrorCode, message::ErrorBody};
use serde_json::{Value, json, value::RawValue};

use crate::support::TestServer;

/// Says who asks, and what.
struct Echo;

impl MessageHandler for Echo {
    fn handle<'a>(
        &'a self,
        connection: &'a Connection,
        payload: Option<&'a RawValue>,
    ) -> BoxFuture<'a, Result<Option<Reply>, ErrorBody>> {
        Box::pin(async move {
            let payload = payload.map_or("null", RawValue::get);
            let payload: Value = serde_json::from_str(payload).expect("JSON was read");
            match payload.as_str() {
                Some("nothing") => Ok(None),
                Some("fail") => Err(ErrorBody::new(ErrorCode::Forbidden, "not for you")),
                _ => Ok(Some(Reply {
                    kind: "echoed".to_owned(),
                    payload: json!({ "from": connection.user(), "said": payload }),
                })),
            }
        })
    }
}

#[tokio::test]
async fn a_handler_answers_its_type() {
    let server =
        TestServer::start_with(|_| {}, |gateway| gateway.handle("echo", Echo).unwrap()).await;
    let mut client = server.log_in("ann").await;
    let answer = client.ask("echo", json!({ "x": 1 })).await;
    assert_eq!(answer["type"], "echoed");
    assert_eq!(answer["payload"], json!({ "from": "ann", "said": { "x": 1 } }));
    let refused = client.ask("echo", json!("fail")).await;
    assert_eq!(refused["payload"]["code"], "forbidden");
    assert_eq!(refused["payload"]["message"], "not for you");
    client.send(json!({ "type": "echo", "payload": "nothing" }).to_string()).await;
    assert_eq!(client.ask("ping", json!({})).await["type"], "pong");
}

#[tokio::test]
async fn a_type_has_one_handler_and_built_in_types_have_none() {
    let server = TestServer::start().await;
    let config = GatewayConfig::new(server.key.verifier());
    let gateway = Gateway::new(server.hub.clone(), config).handle("echo", Echo).unwrap();
    let error = gateway.handle("echo", Echo).unwrap_err();
    assert!(error.to_string().contains("`echo`"), "{error}");
    let config = GatewayConfig::new(server.key.verifier());
    assert!(Gateway::new(server.hub.clone(), config).handle("subscribe", Echo).is_err());
}
