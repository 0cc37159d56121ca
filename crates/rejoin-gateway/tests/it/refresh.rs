//! A new token for an open connection.

use rejoin_gateway::Claims;
use serde_json::json;

use crate::support::{TestServer, claims};

#[tokio::test]
async fn a_refresh_ends_subscriptions_that_the_new_token_forbids() {
    let mut server = TestServer::start().await;
    let mut ann = server.log_in("ann").await;
    let session = ann.create_session().await;
    let _program = server.programs.recv().await.unwrap();
    for topic in ["news", "other"] {
        ann.ask("subscribe", json!({ "topic": topic })).await;
        ann.ask("presence", json!({ "topic": topic, "follow": true })).await;
    }
    ann.ask("attach", json!({ "session": session, "role": "writer" })).await;

    // The new token allows one of the two topics, and no writing.
    let caps = r#"{"topics":{"news":["subscribe","publish"]},"sessions":{"terminal":["attach"]}}"#;
    let caps = Some(serde_json::from_str(caps).unwrap());
    let narrow = Claims { exp: Some(3_900_000_000), caps, ..claims("ann") };
    let token = server.key.sign(&narrow).unwrap();

    let answer = ann.ask("refresh", json!({ "token": token })).await;
    assert_eq!(answer["type"], "auth_result");
    assert_eq!(answer["payload"]["expires_at"], 3_900_000_000_000_u64);
    assert!(answer["payload"]["streams"].is_null());

    let mut ended = Vec::new();
    while ended.len() < 4 {
        let message = ann.next_json().await;
        if message["type"] == "error" {
            assert_eq!(message["payload"]["code"], "forbidden");
            ended.push(message["payload"]["message"].as_str().unwrap().to_owned());
        }
    }
    assert!(ended[0].contains("topic `other`"), "{ended:?}");
    assert!(ended[1].contains(&session), "{ended:?}");
    assert!(ended[2..].iter().all(|text| text.contains("presence")), "{ended:?}");

    let list = ann.ask("list_subscriptions", json!({})).await;
    assert_eq!(list["payload"]["subscriptions"], json!(["news"]));
    let input = ann.ask("input", json!({ "session": session, "data": "x" })).await;
    assert_eq!(input["payload"]["code"], "not_attached");

    // Messages of the ended subscription are not received.
    let mut bob = server.log_in("bob").await;
    bob.ask("publish", json!({ "topic": "other", "data": "other" })).await;
    bob.ask("publish", json!({ "topic": "news", "data": "news" })).await;
    assert_eq!(ann.next_json().await["payload"]["data"], "news");
}

#[tokio::test]
async fn a_refused_refresh_changes_nothing() {
    let server = TestServer::start().await;
    let mut ann = server.log_in("ann").await;
    let expired = server.key.sign(&Claims { exp: Some(1), ..claims("ann") }).unwrap();
    let cases = [
        (server.token("bob"), "authentication_failed"),
        ("x.y.z".to_owned(), "authentication_failed"),
        (expired, "token_expired"),
    ];

    for (token, code) in cases {
        let answer = ann.ask("refresh", json!({ "token": token })).await;
        assert_eq!(answer["payload"]["code"], code);
    }

    assert_eq!(ann.ask("publish", json!({ "topic": "a", "data": 1 })).await["type"], "ack");
    let connections = server.hub.connections(None, 9);
    assert_eq!(connections[0].user().as_str(), "ann");
    assert_eq!(connections[0].expires_at(), Some(4_000_000_000_000));
}
