//! Users, their devices and tabs: recorded fields, events, presence.

use std::{sync::Arc, time::Duration};

use rejoin_core::{EventHandler, HubEvent};
use rejoin_gateway::{GatewayConfig, TrustedProxies};
use rejoin_protocol::{
    ConnectionId, DeviceId, UserId,
    message::{MessageBody, direct_message},
};
use serde_json::{Value, json, value::RawValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_tungstenite::{connect_async, tungstenite};

use crate::support::{Client, TestServer};

/// A handler that records the users that go offline.
struct OfflineUsers(mpsc::Sender<UserId>);

impl EventHandler for OfflineUsers {
    fn handle(&self, event: &HubEvent) {
        if let HubEvent::UserOffline { user } = event {
            self.0.try_send(user.clone()).unwrap();
        }
    }
}

async fn data(client: &mut Client) -> Value {
    loop {
        let message = client.next_json().await;
        if message["type"] == "message" {
            return message["payload"]["data"].clone();
        }
    }
}

#[tokio::test]
async fn events_reach_tabs_and_the_user_goes_offline_once() {
    let configure = |config: &mut rejoin_core::HubConfig| {
        // Short, so that the test need not wait for the default of some seconds.
        config.presence_grace = Duration::from_millis(50);
    };
    let server = TestServer::start_hub_with(configure, |_| {}, |gateway| gateway).await;
    let (offline_tx, mut offline) = mpsc::channel(8);
    server.hub.set_handler(Arc::new(OfflineUsers(offline_tx))).unwrap();
    let mut tabs = Vec::new();
    for device in ["laptop", "phone"] {
        for _ in 0..3 {
            let (client, hello) = server.log_in_with("ann", json!({ "device_id": device })).await;
            let id = ConnectionId::new(hello["connection_id"].as_str().unwrap()).unwrap();
            tabs.push((device, client, id));
        }
    }

    let mut bob = server.log_in("bob").await;
    let follow = json!({ "user": "bob", "follow": true });
    assert_eq!(bob.ask("presence", follow).await["type"], "presence");

    let ann = UserId::new("ann").unwrap();
    let raw = |text: &str| RawValue::from_string(format!("\"{text}\"")).unwrap();
    let [to_phone, to_user, to_tab] = ["phone", "user", "tab"].map(raw);
    let event = |data| MessageBody { name: None, data };
    let phone = DeviceId::new("phone").unwrap();
    server.hub.emit_to_device(&ann, &phone, event(&to_phone)).await.unwrap();
    server.hub.emit_to_user(&ann, event(&to_user)).await.unwrap();

    let mut reached = [0; 2];
    for (device, client, _) in &mut tabs {
        if *device == "phone" {
            assert_eq!(data(client).await, "phone");
            reached[1] += 1;
        }
        assert_eq!(data(client).await, "user");
        reached[0] += 1;
    }
    assert_eq!(reached, [6, 3]);

    let chosen = server.hub.connection(&tabs[4].2).unwrap();
    chosen.send_text(&direct_message(event(&to_tab), 0));
    assert_eq!(data(&mut tabs[4].1).await, "tab");

    // A fence: the next event of all other connections.
    let fence = raw("fence");
    server.hub.broadcast(event(&fence)).await.unwrap();
    for (_, client, _) in &mut tabs {
        assert_eq!(data(client).await, "fence");
    }
    assert_eq!(data(&mut bob).await, "fence");

    while let Some((_, client, _)) = tabs.pop() {
        assert!(offline.try_recv().is_err(), "a tab is still open");
        drop(client);
    }
    assert_eq!(offline.recv().await.unwrap(), ann);
    drop(bob);
    assert_eq!(offline.recv().await.unwrap().as_str(), "bob", "each user goes offline once");
}

/// Opens a socket with these header lines. Returns the socket and the head of the response.
async fn open(server: &TestServer, path: &str, lines: &[u8]) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let token = server.token("ann");
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {token}\r\n",
        server.address
    );
    socket.write_all(&[head.as_bytes(), lines, b"\r\n"].concat()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.unwrap());
    }
    (socket, String::from_utf8(answer).unwrap())
}

/// Returns the recorded fields of the only connection.
async fn info(server: &TestServer, path: &str, lines: &[u8]) -> Value {
    let (mut socket, answer) = open(server, path, lines).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    // The hello is sent after the connection is registered.
    socket.read_u8().await.unwrap();
    let there = server.hub.connections(None, 9);
    assert_eq!(there.len(), 1);
    let info = serde_json::to_value(there[0].info()).unwrap();
    drop(socket);
    while server.hub.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
    info
}

#[tokio::test]
async fn a_connection_records_its_user_device_and_client() {
    let server = TestServer::start().await;
    let path = "/ws?device_id=phone-1&device_name=Ann%27s%20phone";

    let info = info(&server, path, b"User-Agent: Firefox/1\r\n").await;
    assert_eq!(info["user"], "ann");
    assert_eq!(info["device"], "phone-1");
    assert_eq!(info["device_name"], "Ann's phone");
    assert_eq!(info["user_agent"], "Firefox/1");
    assert_eq!(info["address"], "127.0.0.1");
    let connected_at = info["connected_at"].as_u64().unwrap();
    assert!(rejoin_core::now_ms() - connected_at < 600_000);
    assert!(info["id"].as_str().unwrap().len() > 10);
}

#[tokio::test]
async fn a_user_agent_is_truncated_and_cleaned() {
    let server = TestServer::start().await;
    let cases: [(&[u8], &str); 4] = [
        ("Fünf/5 \u{9b}31m red".as_bytes(), "Fünf/5 31m red"),
        (b"tab\there", "tabhere"),
        (b"not \xff UTF-8", "not \u{fffd} UTF-8"),
        (b"", ""),
    ];
    for (sent, kept) in cases {
        let line = [b"User-Agent: ", sent, b"\r\n"].concat();
        assert_eq!(info(&server, "/ws", &line).await["user_agent"], kept);
    }

    let long = format!("User-Agent: x{}\r\n", "ü".repeat(400));
    let info = info(&server, "/ws", long.as_bytes()).await;
    assert_eq!(info["user_agent"].as_str().unwrap(), format!("x{}", "ü".repeat(127)));
}

#[tokio::test]
async fn an_invalid_device_is_refused_with_the_rule() {
    let server = TestServer::start().await;
    let long = "x".repeat(101);
    let cases = [
        ("device_id=a%20b", "1 to 64 characters"),
        ("device_id=", "1 to 64 characters"),
        ("device_name=a%00b", "1 to 100 bytes"),
        (&format!("device_name={long}"), "1 to 100 bytes"),
    ];

    for (query, rule) in cases {
        let (mut socket, answer) = open(&server, &format!("/ws?{query}"), b"").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{query}: {answer}");
        let mut body = vec![0; 400];
        let length = socket.read(&mut body).await.unwrap();
        let body = String::from_utf8_lossy(&body[..length]);
        assert!(body.contains(rule), "{query}: {body}");
    }

    let payloads = [json!({ "device_id": "a b" }), json!({ "device_name": "a\u{7}b" })];
    for (mut payload, rule) in payloads.into_iter().zip(["1 to 64 characters", "1 to 100 bytes"]) {
        payload["token"] = server.token("ann").into();
        let mut client = server.connect().await;
        let answer = client.ask("authenticate", payload).await;
        assert_eq!(answer["payload"]["code"], "invalid_field");
        assert!(answer["payload"]["message"].as_str().unwrap().contains(rule), "{answer}");
    }
    assert_eq!(server.hub.connection_count(), 0);
}

#[tokio::test]
async fn the_device_in_the_message_overrides_the_url() {
    let server = TestServer::start().await;
    for (fields, id) in [(json!({}), "phone"), (json!({ "device_id": "laptop" }), "laptop")] {
        let url = format!("ws://{}/ws?device_id=phone&device_name=Mine", server.address);
        let mut client = Client::new(connect_async(url).await.unwrap().0);
        let mut payload = json!({ "token": server.token("ann") });
        payload.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let answer = client.ask("authenticate", payload).await;
        let connection = answer["payload"]["connection_id"].as_str().unwrap();
        let info = server.hub.connection(&ConnectionId::new(connection).unwrap()).unwrap().info();
        assert_eq!(info.device.unwrap().as_str(), id);
        assert_eq!(info.device_name.unwrap().as_str(), "Mine");
    }
}

#[tokio::test]
async fn only_trusted_proxies_name_the_clients_address() {
    let forged = b"X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.7\r\n";
    let server = TestServer::start().await;
    assert_eq!(info(&server, "/ws", forged).await["address"], "127.0.0.1");

    let configure = |config: &mut GatewayConfig| {
        config.trusted_proxies = TrustedProxies::new(["127.0.0.1"]).unwrap();
    };
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let header = b"X-Forwarded-For: 203.0.113.7\r\n";
    assert_eq!(info(&server, "/ws", header).await["address"], "203.0.113.7");

    // The proxy appends to the addresses that the client sent.
    let header = b"X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n";
    assert_eq!(info(&server, "/ws", header).await["address"], "203.0.113.7");
}

#[tokio::test]
async fn a_token_in_the_url_is_refused_with_alternatives() {
    let server = TestServer::start().await;
    let url = format!("ws://{}/ws?token={}", server.address, server.token("ann"));
    let Err(tungstenite::Error::Http(response)) = connect_async(url).await else {
        panic!("the upgrade succeeded");
    };
    assert_eq!(response.status(), 401);
    let body = String::from_utf8_lossy(response.body().as_ref().unwrap()).into_owned();
    assert!(body.contains("Authorization") && body.contains("ticket"), "{body}");
    assert_eq!(server.hub.connection_count(), 0);
}

#[tokio::test]
async fn presence_of_a_removed_session_can_be_unfollowed() {
    let mut server =
        TestServer::start_with(|config| config.max_subscriptions = 1, |gateway| gateway).await;
    let mut ann = server.log_in("ann").await;
    let session = ann.create_session().await;
    drop(server.programs.recv().await.unwrap());

    ann.ask("presence", json!({ "session": session, "follow": true })).await;
    ann.ask("close_session", json!({ "session": session })).await;

    let answer = ann.ask("presence", json!({ "session": session, "follow": false })).await;
    assert_eq!(answer["payload"]["code"], "unknown_session");
    assert_eq!(ann.ask("subscribe", json!({ "topic": "a" })).await["type"], "ack");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_again_skips_no_message() {
    const COUNT: u64 = 200;
    let server = TestServer::start().await;
    let ann = UserId::new("ann").unwrap();
    let mut client = server.log_in("ann").await;
    let subscribe = json!({ "type": "subscribe", "payload": { "topic": "@user" } });
    for number in 0..COUNT {
        client.send(subscribe.to_string()).await;
        let raw = RawValue::from_string(number.to_string()).unwrap();
        server.hub.emit_to_user(&ann, MessageBody { name: None, data: &raw }).await.unwrap();
    }

    for number in 0..COUNT {
        assert_eq!(data(&mut client).await, number);
    }
}
