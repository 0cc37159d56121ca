//! People, their devices and tabs: what is known of them, and how they are reached.

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

struct Gone(mpsc::Sender<UserId>);

impl EventHandler for Gone {
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
async fn two_devices_with_three_tabs_each_are_reached_by_user_device_and_tab_and_gone_once() {
    let configure = |config: &mut rejoin_core::HubConfig| {
        config.presence_grace = Duration::from_millis(50);
    };
    let server = TestServer::start_hub_with(configure, |_| {}, |gateway| gateway).await;
    let (gone_tx, mut gone) = mpsc::channel(8);
    server.hub.set_handler(Arc::new(Gone(gone_tx))).unwrap();
    let mut tabs = Vec::new();
    for device in ["laptop", "phone"] {
        for _ in 0..3 {
            let (client, told) = server.log_in_with("ann", json!({ "device_id": device })).await;
            let id = ConnectionId::new(told["connection_id"].as_str().unwrap()).unwrap();
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
    // A fence: all others hear this next.
    let fence = raw("fence");
    server.hub.broadcast(event(&fence)).await.unwrap();
    for (_, client, _) in &mut tabs {
        assert_eq!(data(client).await, "fence");
    }
    assert_eq!(data(&mut bob).await, "fence");
    while let Some((_, client, _)) = tabs.pop() {
        assert!(gone.try_recv().is_err(), "a tab is there");
        drop(client);
    }
    assert_eq!(gone.recv().await.unwrap(), ann);
    drop(bob);
    assert_eq!(gone.recv().await.unwrap().as_str(), "bob", "nobody is gone twice");
}

/// Opens a socket with these lines in its head; returns the socket and the answer's head.
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

/// What is known of the only connection.
async fn info(server: &TestServer, path: &str, lines: &[u8]) -> Value {
    let (mut socket, answer) = open(server, path, lines).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    // The hello says that it has joined.
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

/// C1.
#[tokio::test]
async fn a_connection_records_who_and_what_is_at_the_other_end() {
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
async fn a_user_agent_of_any_bytes_is_cut_and_cleaned() {
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
async fn a_device_is_refused_with_the_rule_that_it_breaks() {
    let server = TestServer::start().await;
    let long = "x".repeat(101);
    let cases = [
        ("device_id=a%20b", "1 to 64 of letters"),
        ("device_id=", "1 to 64 of letters"),
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
    let said = [json!({ "device_id": "a b" }), json!({ "device_name": "a\u{7}b" })];
    for (mut said, rule) in said.into_iter().zip(["1 to 64 of letters", "1 to 100 bytes"]) {
        said["token"] = server.token("ann").into();
        let mut client = server.connect().await;
        let answer = client.ask("authenticate", said).await;
        assert_eq!(answer["payload"]["code"], "invalid_field");
        assert!(answer["payload"]["message"].as_str().unwrap().contains(rule), "{answer}");
    }
    assert_eq!(server.hub.connection_count(), 0);
}

#[tokio::test]
async fn the_message_says_which_device_it_is_and_else_the_address() {
    let server = TestServer::start().await;
    for (said, id) in [(json!({}), "phone"), (json!({ "device_id": "laptop" }), "laptop")] {
        let url = format!("ws://{}/ws?device_id=phone&device_name=Mine", server.address);
        let mut client = Client::new(connect_async(url).await.unwrap().0);
        let mut payload = json!({ "token": server.token("ann") });
        payload.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        let answer = client.ask("authenticate", payload).await;
        let connection = answer["payload"]["connection_id"].as_str().unwrap();
        let info = server.hub.connection(&ConnectionId::new(connection).unwrap()).unwrap().info();
        assert_eq!(info.device.unwrap().as_str(), id);
        assert_eq!(info.device_name.unwrap().as_str(), "Mine");
    }
}

#[tokio::test]
async fn who_is_no_trusted_proxy_speaks_for_nobody() {
    let forged = b"X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.7\r\n";
    let server = TestServer::start().await;
    assert_eq!(info(&server, "/ws", forged).await["address"], "127.0.0.1");
    let configure = |config: &mut GatewayConfig| {
        config.trusted_proxies = TrustedProxies::new(["127.0.0.1"]).unwrap();
    };
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let told = b"X-Forwarded-For: 203.0.113.7\r\n";
    assert_eq!(info(&server, "/ws", told).await["address"], "203.0.113.7");
    // What the client itself wrote stands before what the proxy wrote.
    let told = b"X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n";
    assert_eq!(info(&server, "/ws", told).await["address"], "203.0.113.7");
}

#[tokio::test]
async fn a_token_in_the_address_is_refused_with_what_to_do_instead() {
    let server = TestServer::start().await;
    let url = format!("ws://{}/ws?token={}", server.address, server.token("ann"));
    let Err(tungstenite::Error::Http(response)) = connect_async(url).await else {
        panic!("it is refused");
    };
    assert_eq!(response.status(), 401);
    let body = String::from_utf8_lossy(response.body().as_ref().unwrap()).into_owned();
    assert!(body.contains("Authorization") && body.contains("ticket"), "{body}");
    assert_eq!(server.hub.connection_count(), 0);
}

#[tokio::test]
async fn who_follows_a_session_that_is_gone_may_stop_to_follow() {
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
async fn to_subscribe_to_what_is_read_already_skips_nothing_of_it() {
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
