//! The opening handshake of a WebSocket, and simple HTTP requests.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{connect_async, tungstenite};

use crate::support::{Client, TestServer};

/// Sends a request without a body. Returns the status and the body of the response.
async fn http(server: &TestServer, head: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let request = format!("{head}\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer[9..12].parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Requests an upgrade that must be refused. Returns the status and the problem.
async fn refused(server: &TestServer, headers: &[(&str, &str)]) -> (u16, Value) {
    match connect_async(server.request(headers)).await {
        Err(tungstenite::Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status().as_u16(), serde_json::from_slice(&body).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn healthz_needs_no_authentication() {
    let server = TestServer::start().await;
    assert_eq!(http(&server, "GET /healthz HTTP/1.1").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn a_plain_request_for_a_websocket_gets_426() {
    let server = TestServer::start().await;
    let (status, body) = http(&server, "GET /ws HTTP/1.1").await;
    assert_eq!(status, 426);
    assert!(body.contains("upgrade to WebSocket"), "{body}");
}

#[tokio::test]
async fn the_subprotocol_is_selected_or_omitted() {
    let server = TestServer::start().await;
    let offered = server.request(&[("sec-websocket-protocol", "other, rejoin.v1")]);
    let (_, response) = connect_async(offered).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "rejoin.v1");

    let (_, response) = connect_async(server.request(&[])).await.unwrap();
    assert!(response.headers().get("sec-websocket-protocol").is_none());

    let (status, problem) = refused(&server, &[("sec-websocket-protocol", "other")]).await;
    assert_eq!((status, &problem["code"]), (400, &"invalid_field".into()));
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let configure = |config: &mut rejoin_gateway::GatewayConfig| {
        config.allowed_origins = vec!["https://app.example".into()];
    };
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let (status, problem) = refused(&server, &[("origin", "https://evil.example")]).await;
    assert_eq!((status, &problem["code"]), (403, &"forbidden".into()));

    let own = format!("http://{}", server.address);
    for origin in [own.as_str(), "https://app.example"] {
        assert!(connect_async(server.request(&[("origin", origin)])).await.is_ok(), "{origin}");
    }
}

#[tokio::test]
async fn a_token_in_the_header_authenticates_at_once() {
    let server = TestServer::start().await;
    let bearer = format!("Bearer {}", server.token("ann"));
    let request = server.request(&[("authorization", &bearer)]);
    let mut client = Client::new(connect_async(request).await.unwrap().0);
    let hello = client.next_json().await;

    assert_eq!(hello["type"], "auth_result");
    assert_eq!(hello["payload"]["user_id"], "ann");
    assert!(hello["reply_to"].is_null());

    let (status, problem) = refused(&server, &[("authorization", "Bearer x.y.z")]).await;
    assert_eq!((status, &problem["code"]), (401, &"authentication_failed".into()));
}

#[tokio::test]
async fn a_full_server_refuses_connections_until_one_closes() {
    let configure = |config: &mut rejoin_gateway::GatewayConfig| config.max_connections = 2;
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let (one, _two) = (server.log_in("ann").await, server.log_in("ann").await);
    let (status, problem) = refused(&server, &[]).await;

    assert_eq!((status, &problem["code"]), (503, &"overloaded".into()));

    drop(one);
    while connect_async(server.request(&[])).await.is_err() {}
}

#[tokio::test]
async fn sessions_and_profiles_are_listed_for_their_owner() {
    let mut server = TestServer::start().await;
    let mut ann = server.log_in("ann").await;
    let session = ann.create_session().await;
    let _program = server.programs.recv().await.unwrap();
    let list = async |user: &str, path: &str| {
        let token = server.token(user);
        let head = format!("GET /api/v1/{path} HTTP/1.1\r\nAuthorization: Bearer {token}");
        let (status, body) = http(&server, &head).await;

        assert_eq!(status, 200, "{body}");

        serde_json::from_str::<Value>(&body).unwrap()
    };

    assert_eq!(list("ann", "sessions").await["sessions"][0]["id"], session.as_str());
    assert_eq!(list("bob", "sessions").await["sessions"], serde_json::json!([]));
    assert_eq!(list("ann", "profiles").await["profiles"], serde_json::json!(["terminal"]));

    let (status, body) = http(&server, "GET /api/v1/sessions HTTP/1.1").await;
    assert_eq!(status, 401);
    assert!(body.contains("not_authenticated"), "{body}");
}

#[tokio::test]
async fn silent_peers_do_not_delay_a_stop() {
    let server = TestServer::start().await;
    let _authenticated = server.log_in("ann").await;
    let _silent = server.raw().await;
    let _pending = TcpStream::connect(server.address).await.unwrap();

    assert_eq!(server.hub.shutdown().finish(Duration::from_secs(6)).await, 0);
}

#[tokio::test]
async fn a_stopping_server_sends_the_time_to_reconnect() {
    let server = TestServer::start().await;
    let mut client = server.log_in("ann").await;
    server.hub.shutdown().begin();
    let (texts, code) = client.until_closed().await;

    assert_eq!(texts[0]["type"], "closing");
    assert_eq!(texts[0]["payload"]["reason"], "draining");
    assert!(texts[0]["payload"]["window_ms"].as_u64().unwrap() > 0);
    assert_eq!(code, Some(4000));
}
