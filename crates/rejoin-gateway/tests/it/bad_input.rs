//! Invalid messages and frames: the error or the close code of each.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::support::TestServer;

#[tokio::test]
async fn an_invalid_message_gets_an_error_and_keeps_the_connection() {
    let server = TestServer::start().await;
    let mut client = server.log_in("ann").await;
    let cases = [
        ("{", "malformed_json"),
        ("[]", "malformed_json"),
        ("{}", "missing_field"),
        (r#"{"type":"made_up"}"#, "unknown_type"),
        (r#"{"type":"subscribe","payload":{}}"#, "missing_field"),
        (r#"{"type":"subscribe","payload":{"topic":7}}"#, "invalid_field"),
        (r#"{"type":"subscribe","payload":{"topic":"@missing"}}"#, "unknown_topic"),
        (r#"{"type":"unsubscribe","payload":{"topic":"news"}}"#, "not_subscribed"),
        (r#"{"type":"attach","payload":{"session":"nothing"}}"#, "unknown_session"),
        (r#"{"type":"detach","payload":{"session":"nothing"}}"#, "not_attached"),
        (r#"{"type":"input","payload":{"session":"nothing","data":"x"}}"#, "not_attached"),
        (r#"{"type":"create_session","payload":{"kind":"state"}}"#, "invalid_field"),
        (
            r#"{"type":"create_session","payload":{"kind":"terminal","profile":"zsh"}}"#,
            "unknown_profile",
        ),
    ];

    for (message, code) in cases {
        client.send(message).await;
        let answer = client.next_json().await;
        assert_eq!((&answer["type"], &answer["payload"]["code"]), (&"error".into(), &code.into()));
        let text = answer["payload"]["message"].as_str().unwrap();
        assert!(text.len() > 10, "{message}: {text}");
    }
    assert_eq!(client.ask("ping", json!({})).await["type"], "pong");
}

#[tokio::test]
async fn a_message_over_the_limit_closes_with_1009() {
    let server = TestServer::start().await;
    let mut client = server.log_in("ann").await;

    client.send("x".repeat(65_537)).await;

    assert_eq!(client.until_closed().await.1, Some(1009));
}

#[tokio::test]
async fn a_message_at_the_limit_is_accepted() {
    let server = TestServer::start().await;
    let mut client = server.log_in("ann").await;
    let frame = json!({ "type": "ping", "pad": "" }).to_string();
    let pad = "x".repeat(65_536 - frame.len());
    client.send(json!({ "type": "ping", "pad": pad }).to_string()).await;
    assert_eq!(client.next_json().await["type"], "pong");
}

/// Sends bytes after the handshake. Returns the close code.
async fn close_code(frames: &[u8]) -> u16 {
    let server = TestServer::start().await;
    let mut socket = server.raw().await;
    socket.write_all(frames).await.unwrap();

    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer[0], 0x88, "a close frame: {answer:?}");
    u16::from_be_bytes([answer[2], answer[3]])
}

#[tokio::test]
async fn an_unmasked_frame_closes_with_1002() {
    assert_eq!(close_code(b"\x81\x02hi").await, 1002);
}

#[tokio::test]
async fn invalid_utf8_closes_with_1007() {
    assert_eq!(close_code(b"\x81\x81\0\0\0\0\xff").await, 1007);
}

#[tokio::test]
async fn a_declared_length_over_the_limit_closes_at_once() {
    assert_eq!(close_code(b"\x82\xff\x3f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0").await, 1009);
}

#[tokio::test]
async fn a_binary_message_without_a_head_closes_with_4505() {
    let server = TestServer::start().await;
    for message in [&b""[..], b"\x09\0\0", b"\x02\x80", b"\x01\x01\x00output"] {
        let mut client = server.log_in("ann").await;
        client.send(Message::binary(message.to_vec())).await;
        assert_eq!(client.until_closed().await.1, Some(4505), "{message:?}");
    }

    let mut early = server.connect().await;
    early.send(Message::binary(b"\x02\x01\x01x".to_vec())).await;
    assert_eq!(early.until_closed().await.1, Some(4505));
}

#[tokio::test]
async fn binary_input_to_an_unattached_stream_is_an_error() {
    let server = TestServer::start().await;
    let mut client = server.log_in("ann").await;
    client.send(Message::binary(b"\x02\x63\x01x".to_vec())).await;
    let answer: Value = client.next_json().await;
    assert_eq!(answer["payload"]["code"], "not_attached");
}
