//! Who gets in.

use std::time::Duration;

use base64::Engine;
use rejoin_gateway::{Claims, Signer, TokenRules};
use serde_json::{Value, json};

use crate::support::{SECRET, TestServer, claims};

async fn refused(server: &TestServer, token: &str) -> (Value, Option<u16>) {
    let mut client = server.connect().await;
    let message = json!({ "id": "1", "type": "authenticate", "payload": { "token": token } });
    client.send(message.to_string()).await;
    let (texts, code) = client.until_closed().await;
    assert_eq!(texts[0]["type"], "auth_result", "{texts:?}");
    assert_eq!(texts[0]["payload"]["authenticated"], false);
    assert_eq!(texts[0]["reply_to"], "1");
    assert_eq!(texts[1]["type"], "closing");
    assert_eq!(texts[1]["payload"]["code"].as_u64(), code.map(u64::from));
    assert!(texts[1]["payload"]["reconnect_after_ms"].is_null(), "it is told not to come back");
    (texts[0]["payload"]["error"].clone(), code)
}

fn unsigned(header: &Value, claims: &Claims) -> String {
    let encode = |json: String| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(json);
    let claims = serde_json::to_string(claims).unwrap();
    format!("{}.{}.", encode(header.to_string()), encode(claims))
}

#[tokio::test]
async fn a_token_lets_in_whom_it_names() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let payload =
        json!({ "token": server.token("ann"), "device_id": "phone", "device_name": "My phone" });
    let answer = client.ask("authenticate", payload).await;
    let payload = &answer["payload"];
    assert_eq!((&payload["authenticated"], &payload["user_id"]), (&true.into(), &"ann".into()));
    assert_eq!(payload["heartbeat_ms"], 30_000);
    assert_eq!(payload["expires_at"], 4_000_000_000_000u64);
    let id = payload["connection_id"].as_str().unwrap();
    let connection = server.hub.connection(&rejoin_protocol::ConnectionId::new(id).unwrap());
    assert_eq!(connection.unwrap().device().id.as_ref().unwrap().as_str(), "phone");
    let again = client.ask("authenticate", json!({ "token": server.token("bob") })).await;
    assert_eq!(again["payload"]["code"], "already_authenticated");
}

#[tokio::test]
async fn a_forged_token_is_refused() {
    let server = TestServer::start().await;
    let other = Signer::hs256(b"another secret of thirty-two bytes").unwrap();
    let (error, code) = refused(&server, &other.sign(&claims("ann")).unwrap()).await;
    assert_eq!((&error["code"], code), (&"authentication_failed".into(), Some(4500)));
    assert!(error["message"].as_str().unwrap().contains("signature"), "{error}");
}

#[tokio::test]
async fn an_expired_token_is_refused_with_a_code_of_its_own() {
    let server = TestServer::start().await;
    let expired = Claims { exp: Some(1_000_000_000), ..claims("ann") };
    let (error, code) = refused(&server, &server.key.sign(&expired).unwrap()).await;
    assert_eq!((&error["code"], code), (&"token_expired".into(), Some(4502)));
}

#[tokio::test]
async fn an_unsigned_token_and_another_algorithm_are_refused() {
    let server = TestServer::start().await;
    for algorithm in ["none", "None", "HS512", "RS256"] {
        let token = unsigned(&json!({ "alg": algorithm, "typ": "JWT" }), &claims("ann"));
        let (error, code) = refused(&server, &token).await;
        assert_eq!((&error["code"], code), (&"authentication_failed".into(), Some(4500)));
    }
    // A good signature, cut off.
    let signed = server.token("ann");
    let (body, _) = signed.rsplit_once('.').unwrap();
    assert_eq!(refused(&server, &format!("{body}.")).await.1, Some(4500));
    assert_eq!(refused(&server, "not a token").await.1, Some(4500));
}

#[tokio::test]
async fn a_token_for_another_audience_or_from_another_issuer_is_refused() {
    let configure = |config: &mut rejoin_gateway::GatewayConfig| {
        let rules = TokenRules {
            issuer: Some("https://login.example".into()),
            audience: Some("rejoin".into()),
            ..TokenRules::default()
        };
        config.verifier = config.verifier.clone().with_rules(rules);
    };
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let good = Claims {
        iss: Some("https://login.example".into()),
        aud: Some("rejoin".into()),
        ..claims("ann")
    };
    let mut client = server.connect().await;
    let token = server.key.sign(&good).unwrap();
    assert_eq!(client.ask("authenticate", json!({ "token": token })).await["type"], "auth_result");
    for bad in [
        Claims { iss: Some("https://evil.example".into()), ..good.clone() },
        Claims { aud: Some("another".into()), ..good.clone() },
        Claims { iss: None, ..good.clone() },
        Claims { aud: None, ..good.clone() },
    ] {
        assert_eq!(refused(&server, &server.key.sign(&bad).unwrap()).await.1, Some(4500));
    }
}

#[tokio::test]
async fn nothing_but_authenticate_is_answered_before_it() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    for kind in ["ping", "subscribe", "create_session", "made_up"] {
        let answer = client.ask(kind, json!({ "topic": "news", "kind": "terminal" })).await;
        assert_eq!(answer["payload"]["code"], "not_authenticated", "{kind}");
    }
    let answer = client.ask("authenticate", json!({ "token": server.token("ann") })).await;
    assert_eq!(answer["type"], "auth_result");
}

#[tokio::test]
async fn a_connection_without_authentication_is_closed_in_time() {
    let configure = |config: &mut rejoin_gateway::GatewayConfig| {
        config.auth_timeout = Duration::from_millis(200);
    };
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut client = server.connect().await;
    let (texts, code) = client.until_closed().await;
    assert_eq!(texts[0]["payload"]["code"], "authentication_timed_out");
    assert_eq!(code, Some(4501));
}

#[tokio::test]
async fn without_authentication_everybody_is_anonymous() {
    let configure = |config: &mut rejoin_gateway::GatewayConfig| config.auth_required = false;
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut client = server.connect().await;
    let hello = client.next_json().await;
    assert_eq!(hello["payload"]["user_id"], "anonymous");
    // A client that authenticates anyway is answered the same.
    let answer = client.ask("authenticate", json!({ "token": "whatever" })).await;
    assert_eq!(answer["payload"]["user_id"], "anonymous");
}

#[test]
fn a_short_secret_is_no_secret() {
    let error = Signer::hs256(b"short").unwrap_err();
    assert_eq!(error.to_string(), "an HS256 secret must be at least 32 bytes, not 5");
    assert!(!format!("{:?}", Signer::hs256(SECRET).unwrap()).contains("thirty"));
}
