//! Limits of one client: message rates, message deadlines, subscriptions.

use std::{num::NonZeroU32, time::Duration};

use rejoin_gateway::{GatewayConfig, Rate, Rates};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::support::TestServer;

fn rate(count: u32) -> Rate {
    Rate::new(NonZeroU32::new(count).unwrap(), Duration::from_secs(3600))
}

/// Returns a frame with a zero mask and a 16-bit length. `head` is its first byte.
fn frame(head: u8, payload: &str) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[head, 0xfe], &length[..], &[0; 4], payload.as_bytes()].concat()
}

/// Opens a plain socket and authenticates. `more` is sent with the token, in one write.
async fn log_in_raw(server: &TestServer, more: &[u8]) -> TcpStream {
    let mut socket = server.raw().await;
    let payload = json!({ "token": server.token("ann") });
    let message = json!({ "type": "authenticate", "payload": payload }).to_string();
    socket.write_all(&[&frame(0x81, &message), more].concat()).await.unwrap();
    let hello = String::from_utf8(next_frame(&mut socket).await.0).unwrap();
    assert!(hello.contains("auth_result"), "{hello}");
    socket
}

/// Returns the payload of the next frame, and its first byte.
async fn next_frame(socket: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, u8) {
    let head = socket.read_u8().await.unwrap();
    let length = match socket.read_u8().await.unwrap() {
        126 => usize::from(socket.read_u16().await.unwrap()),
        length => usize::from(length),
    };

    let mut payload = vec![0; length];
    socket.read_exact(&mut payload).await.unwrap();
    (payload, head)
}

/// Reads until the close frame. Returns its code.
async fn close_code(socket: &mut (impl AsyncRead + Unpin)) -> u16 {
    loop {
        let (payload, head) = next_frame(socket).await;
        if head == 0x88 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

#[tokio::test]
async fn a_message_above_the_rate_is_refused_and_counted() {
    let configure = |config: &mut GatewayConfig| {
        config.rates = Rates { messages: Some(rate(5)), bytes: None };
    };
    let server = TestServer::start_with(configure, |gateway| gateway).await;

    // `authenticate` is the first of the five messages.
    let mut client = server.log_in("ann").await;
    let mut answers = Vec::new();
    for _ in 0..6 {
        let answer: Value = client.ask("ping", json!({})).await;
        answers.push(answer["payload"]["code"].as_str().unwrap_or("pong").to_owned());
    }

    assert_eq!(answers, ["pong", "pong", "pong", "pong", "rate_limited", "rate_limited"]);

    let metrics = server.hub.metrics().text();
    assert!(metrics.contains(r#"rate_limited_total{what="messages"} 2"#), "{metrics}");

    // Another connection has its own limit.
    let mut other = server.log_in("ann").await;
    assert_eq!(other.ask("ping", json!({})).await["type"], "pong");
}

#[tokio::test]
async fn a_message_larger_than_the_byte_limit_is_not_counted() {
    let configure = |config: &mut GatewayConfig| {
        config.rates = Rates { messages: None, bytes: Some(rate(2000)) };
    };
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut client = server.log_in("ann").await;
    let answer = client.ask("ping", json!({ "pad": "x".repeat(3000) })).await;

    assert_eq!(answer["payload"]["code"], "rate_limited");
    assert!(answer["payload"]["message"].as_str().unwrap().contains("alone"), "{answer}");
    assert_eq!(client.ask("ping", json!({})).await["type"], "pong");
}

#[tokio::test]
async fn a_client_that_ignores_refusals_is_closed_with_4003() {
    let configure = |config: &mut GatewayConfig| {
        config.rates = Rates { messages: Some(rate(1)), bytes: None };
    };
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut client = server.log_in("ann").await;
    let (refusals, code) = {
        let mut refusals = 0;

        // At least a thousand refusals are allowed, and more as time passes.
        let code = loop {
            let message = json!({ "type": "ping" }).to_string();
            if futures_util::SinkExt::send(&mut client.socket, message.into()).await.is_err() {
                break client.until_closed().await.1;
            }
            match client.next().await {
                Some(tokio_tungstenite::tungstenite::Message::Text(text)) => {
                    if text.contains("closing") {
                        break client.until_closed().await.1;
                    }
                    refusals += 1;
                }
                other => panic!("{other:?}"),
            }
        };

        (refusals, code)
    };

    assert!(refusals >= 1000, "{refusals}");
    assert_eq!(code, Some(4003));
}

#[tokio::test]
async fn a_flood_of_pings_closes_the_connection() {
    let server = TestServer::start().await;
    let mut socket = log_in_raw(&server, b"").await;
    let pings = b"\x89\x80\0\0\0\0".repeat(20_000);

    // The server stops reading at some point. The messages that it sent before still arrive.
    let (mut read, mut write) = socket.split();
    let flood = async {
        let _ = write.write_all(&pings).await;
    };
    let listen = async {
        let mut all = Vec::new();
        let _ = read.read_to_end(&mut all).await;
        all
    };

    let (all, ()) = tokio::join!(listen, flood);
    let code = 4003_u16.to_be_bytes();
    assert!(all.windows(4).any(|end| end[0] == 0x88 && end[2..] == code), "{:?}", all.last());
}

/// Starts a server whose message deadline is `time`.
async fn serve_briefly(time: Duration) -> TestServer {
    let configure = |config: &mut GatewayConfig| config.message_timeout = time;
    TestServer::start_with(configure, |gateway| gateway).await
}

#[tokio::test]
async fn a_message_that_exceeds_its_deadline_closes_the_connection() {
    let server = serve_briefly(Duration::from_millis(300)).await;
    let mut socket = log_in_raw(&server, b"").await;
    socket.write_all(&[0x81, 0xfe, 0xc3, 0x50, 0, 0, 0, 0]).await.unwrap();

    // Sends one of 50,000 bytes every 10 ms.
    let (mut read, mut write) = socket.into_split();
    let send_slowly = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while write.write_all(b"x").await.is_ok() {
            tick.tick().await;
        }
        std::future::pending::<()>().await;
    };

    tokio::select! {
        code = close_code(&mut read) => assert_eq!(code, 4002),
        () = send_slowly => {}
    }
}

#[tokio::test]
async fn an_unfinished_fragmented_message_closes_the_connection() {
    // A fragment that arrives with the token, complete or cut.
    for first in [&b"\x01\x82\0\0\0\0hi"[..], b"\x01\x82\0\0\0\0"] {
        let server = serve_briefly(Duration::from_millis(300)).await;
        let mut socket = log_in_raw(&server, first).await;
        assert_eq!(close_code(&mut socket).await, 4002);
    }
}

#[tokio::test]
async fn the_message_deadline_restarts_with_each_message() {
    let time = Duration::from_secs(1);
    let server = serve_briefly(time).await;
    let ping = json!({ "type": "ping", "pad": "x".repeat(200) }).to_string();
    let ping = frame(0x81, &ping);
    let (first, second) = ping.split_at(9);
    let mut socket = log_in_raw(&server, first).await;

    // After each read of the server, a message is incomplete.
    let start = Instant::now();
    while start.elapsed() < 3 * time {
        socket.write_all(&[second, first].concat()).await.unwrap();
        let answer = String::from_utf8(next_frame(&mut socket).await.0).unwrap();
        assert!(answer.contains("pong"), "{answer}");
    }
}

#[tokio::test]
async fn subscriptions_and_presences_share_one_limit() {
    let configure = |config: &mut GatewayConfig| config.max_subscriptions = 3;
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut client = server.log_in("ann").await;
    let code = |answer: Value| answer["payload"]["code"].as_str().unwrap_or("ok").to_owned();

    assert_eq!(code(client.ask("subscribe", json!({ "topic": "a" })).await), "ok");

    let follow = json!({ "topic": "a", "follow": true });
    assert_eq!(code(client.ask("presence", follow.clone()).await), "ok");
    assert_eq!(code(client.ask("subscribe", json!({ "topic": "b" })).await), "ok");
    assert_eq!(
        code(client.ask("subscribe", json!({ "topic": "c" })).await),
        "too_many_subscriptions"
    );

    // An existing subscription or presence can be replaced.
    assert_eq!(code(client.ask("subscribe", json!({ "topic": "a" })).await), "ok");
    assert_eq!(code(client.ask("presence", follow).await), "ok");

    client.ask("presence", json!({ "topic": "a", "follow": false })).await;
    assert_eq!(code(client.ask("subscribe", json!({ "topic": "c" })).await), "ok");
}
