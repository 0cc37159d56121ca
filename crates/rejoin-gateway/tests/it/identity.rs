//! Authentication of WebSockets.

use std::time::Duration;

use base64::Engine;
use rejoin_core::Shutdown;
use rejoin_gateway::{Claims, GatewayConfig, JwksUrl, Signer, TokenRules, Verifier};
use serde_json::{Value, json};

use crate::support::{SECRET, TestServer, claims};

/// Authenticates with a token that is refused. Returns the error and the close code.
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
    assert!(texts[1]["payload"]["reconnect_after_ms"].is_null(), "the client must not reconnect");
    (texts[0]["payload"]["error"].clone(), code)
}

fn unsigned(header: &Value, claims: &Claims) -> String {
    let encode = |json: String| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(json);
    let claims = serde_json::to_string(claims).unwrap();
    format!("{}.{}.", encode(header.to_string()), encode(claims))
}

#[tokio::test]
async fn a_token_authenticates_its_user() {
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
async fn an_expired_token_has_its_own_code() {
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

    // A valid token without its signature.
    let signed = server.token("ann");
    let (body, _) = signed.rsplit_once('.').unwrap();
    assert_eq!(refused(&server, &format!("{body}.")).await.1, Some(4500));
    assert_eq!(refused(&server, "not a token").await.1, Some(4500));
}

#[tokio::test]
async fn another_audience_or_issuer_is_refused() {
    let configure = |config: &mut GatewayConfig| {
        let rules = TokenRules {
            issuer: Some("https://login.example".into()),
            audience: Some("rejoin".into()),
            ..TokenRules::default()
        };
        config.verifier = config.verifier.clone().with_rules(rules);
    };

    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let valid = Claims {
        iss: Some("https://login.example".into()),
        aud: Some("rejoin".into()),
        ..claims("ann")
    };
    let mut client = server.connect().await;
    let token = server.key.sign(&valid).unwrap();
    assert_eq!(client.ask("authenticate", json!({ "token": token })).await["type"], "auth_result");

    for invalid in [
        Claims { iss: Some("https://evil.example".into()), ..valid.clone() },
        Claims { aud: Some("another".into()), ..valid.clone() },
        Claims { iss: None, ..valid.clone() },
        Claims { aud: None, ..valid.clone() },
    ] {
        assert_eq!(refused(&server, &server.key.sign(&invalid).unwrap()).await.1, Some(4500));
    }
}

#[tokio::test]
async fn only_authenticate_is_executed_before_authentication() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    for kind in ["ping", "subscribe", "create_session", "unknown"] {
        let answer = client.ask(kind, json!({ "topic": "news", "kind": "terminal" })).await;
        assert_eq!(answer["payload"]["code"], "not_authenticated", "{kind}");
    }
    let answer = client.ask("authenticate", json!({ "token": server.token("ann") })).await;
    assert_eq!(answer["type"], "auth_result");
}

#[tokio::test]
async fn a_connection_without_authentication_is_closed_in_time() {
    let configure = |config: &mut GatewayConfig| {
        config.auth_timeout = Duration::from_millis(200);
    };
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut client = server.connect().await;

    let (texts, code) = client.until_closed().await;

    assert_eq!(texts[0]["payload"]["code"], "authentication_timed_out");
    assert_eq!(code, Some(4501));
}

#[tokio::test]
async fn without_authentication_all_clients_are_anonymous() {
    let configure = |config: &mut GatewayConfig| config.auth_required = false;
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut client = server.connect().await;
    let hello = client.next_json().await;
    assert_eq!(hello["payload"]["user_id"], "anonymous");

    // A client that authenticates anyway gets the same answer.
    let answer = client.ask("authenticate", json!({ "token": "any" })).await;
    assert_eq!(answer["payload"]["user_id"], "anonymous");
}

#[test]
fn a_short_secret_is_refused() {
    let error = Signer::hs256(b"short").unwrap_err();
    assert_eq!(error.to_string(), "an HS256 secret must be at least 32 bytes, not 5");
    assert!(!format!("{:?}", Signer::hs256(SECRET).unwrap()).contains("thirty"));
}

#[tokio::test]
async fn unavailable_keys_close_with_a_code_that_allows_reconnects() {
    // An issuer that refuses connections.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = JwksUrl::new(&format!("http://{}/keys", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let verifier = Verifier::jwks(url, &Shutdown::new()).unwrap();
    let configure = |config: &mut GatewayConfig| config.verifier = verifier;
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut client = server.connect().await;

    let answer = client.ask("authenticate", json!({ "token": server.token("ann") })).await;

    assert_eq!(answer["payload"]["error"]["code"], "keys_unavailable", "{answer}");
    assert_eq!(answer["payload"]["error"]["retryable"], true);
    assert_eq!(client.until_closed().await.1, Some(4004));
}
