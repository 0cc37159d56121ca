//! The raw endpoints, for clients without our protocol, and compressed messages.

use rejoin_core::{Control, MemoryTerminal, TerminalEvent};
use rejoin_protocol::Exit;
use rejoin_websocket::{Decoder, Event, Side};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::Response},
};

use crate::support::{Client, TestServer, claims};

/// Opens a raw endpoint.
async fn open(server: &TestServer, path: &str, user: &str) -> Result<Client, Response<String>> {
    let mut request =
        format!("ws://{}{path}", server.address).into_client_request().expect("an address");
    let bearer = format!("Bearer {}", server.token(user)).parse().expect("a header");
    request.headers_mut().insert("authorization", bearer);
    match connect_async(request).await {
        Ok((socket, _)) => Ok(Client::new(socket)),
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            Err(response.map(|_| String::from_utf8(body).expect("a problem")))
        }
        Err(error) => panic!("{error}"),
    }
}

async fn print(program: &MemoryTerminal, text: &'static str) {
    program.events.send(TerminalEvent::Output(text.into())).await.unwrap();
}

/// Reads binary messages until `length` bytes have arrived. Panics at any other message.
async fn read_output(client: &mut Client, length: usize) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        match client.next().await.expect("more output") {
            Message::Binary(message) => bytes.extend_from_slice(&message),
            other => panic!("expected output, received {other:?}"),
        }
    }

    String::from_utf8(bytes).unwrap()
}

/// Returns the next input of the program.
async fn next_input(program: &mut MemoryTerminal) -> String {
    loop {
        if let Control::Input { number, bytes, .. } = program.controls.recv().await.unwrap() {
            program.written.send_replace(number);
            return String::from_utf8(bytes.to_vec()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_raw_endpoint_sends_snapshot_and_output_and_takes_input() {
    let mut server = TestServer::start().await;
    let mut ann = server.log_in("ann").await;
    let session = ann.create_session().await;
    let mut program = server.programs.recv().await.unwrap();
    print(&program, "before ").await;
    ann.ask("attach", json!({ "session": session })).await;
    for profile in ["session", "terminal"] {
        let mut raw = open(&server, &format!("/ws/{profile}/{session}"), "ann").await.unwrap();

        assert_eq!(read_output(&mut raw, 7).await, "before ");

        raw.send(Message::text("text")).await;
        assert_eq!(next_input(&mut program).await, "text");

        raw.send(Message::binary(&b"\x1b[A"[..])).await;
        assert_eq!(next_input(&mut program).await, "\x1b[A");
    }

    let mut raw = open(&server, &format!("/ws/session/{session}"), "ann").await.unwrap();
    read_output(&mut raw, 7).await;
    print(&program, "after").await;
    assert_eq!(read_output(&mut raw, 5).await, "after");
}

#[tokio::test]
async fn a_raw_endpoint_creates_the_session_on_request() {
    let mut server = TestServer::start().await;
    let refused = open(&server, "/ws/terminal/main", "ann").await.unwrap_err();
    assert_eq!(refused.status(), 404);
    assert!(refused.body().contains("unknown_session"), "{}", refused.body());

    let path = "/ws/terminal/main?create=true&cols=100&rows=30";
    let _first = open(&server, path, "ann").await.unwrap();
    let program = server.programs.recv().await.unwrap();
    assert_eq!((program.launch.size.cols(), program.launch.size.rows()), (100, 30));

    let mut second = open(&server, path, "ann").await.unwrap();
    print(&program, "one for both").await;
    assert_eq!(read_output(&mut second, 12).await, "one for both");

    // To another user the session does not exist, but its id is in use.
    let refused = open(&server, "/ws/terminal/main", "bob").await.unwrap_err();
    assert_eq!(refused.status(), 404);

    let refused = open(&server, path, "bob").await.unwrap_err();
    assert_eq!(refused.status(), 409, "{}", refused.body());
}

#[tokio::test]
async fn a_raw_endpoint_refuses_invalid_requests_before_the_upgrade() {
    let mut server = TestServer::start().await;
    let mut ann = server.log_in("ann").await;
    let session = ann.create_session().await;
    let _program = server.programs.recv().await.unwrap();
    for (path, status, code) in [
        (format!("/ws/claude/{session}"), 404, "unknown_session"),
        ("/ws/session/none?create=true".to_owned(), 400, "invalid_field"),
        ("/ws/nothing/none?create=true".to_owned(), 404, "unknown_profile"),
        ("/ws/terminal/a%20b".to_owned(), 400, "invalid_field"),
        ("/ws/Terminal/x".to_owned(), 400, "invalid_field"),
        (format!("/ws/session/{session}?cols=80"), 400, "invalid_field"),
        (format!("/ws/session/{session}?cols=80&rows=0"), 400, "invalid_field"),
        (format!("/ws/session/{session}?role=king"), 400, "invalid_field"),
    ] {
        let refused = open(&server, &path, "ann").await.unwrap_err();
        assert_eq!(refused.status(), status, "{path}: {}", refused.body());
        assert!(refused.body().contains(code), "{path}: {}", refused.body());
    }

    let url = format!("ws://{}/ws/session/{session}", server.address);
    let Err(Error::Http(refused)) = connect_async(url).await else { panic!("expected a refusal") };
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn a_viewer_cannot_type_through_a_raw_endpoint() {
    let mut server = TestServer::start().await;
    let mut ann = server.log_in("ann").await;
    let session = ann.create_session().await;
    let mut program = server.programs.recv().await.unwrap();
    let path = format!("/ws/session/{session}?role=viewer");
    let mut viewer = open(&server, &path, "ann").await.unwrap();
    let mut writer = open(&server, &format!("/ws/session/{session}"), "ann").await.unwrap();
    viewer.send(Message::text("not typed")).await;
    print(&program, "seen").await;

    assert_eq!(read_output(&mut viewer, 4).await, "seen");

    writer.send(Message::text("typed")).await;
    assert_eq!(next_input(&mut program).await, "typed");
}

#[tokio::test]
async fn a_raw_endpoint_closes_after_the_programs_last_output() {
    let mut server = TestServer::start().await;
    let mut ann = server.log_in("ann").await;
    let session = ann.create_session().await;
    let program = server.programs.recv().await.unwrap();
    let mut raw = open(&server, &format!("/ws/session/{session}"), "ann").await.unwrap();
    print(&program, "last words").await;
    let exit = Exit { code: Some(0), signal: None };
    program.events.send(TerminalEvent::Exit(exit)).await.unwrap();

    assert_eq!(read_output(&mut raw, 10).await, "last words");
    assert_eq!(raw.until_closed().await.1, Some(1000));
}

/// Reads `count` text messages, which may be compressed. Returns them and the bytes on the wire.
async fn next_texts(socket: &mut tokio::net::TcpStream, count: usize) -> (Vec<String>, usize) {
    let mut decoder = Decoder::new(Side::Client, 1 << 20).with_deflate();
    let (mut texts, mut bytes) = (Vec::new(), 0);
    while texts.len() < count {
        let mut buffer = vec![0; 64 * 1024];
        let length = socket.read(&mut buffer).await.unwrap();
        assert!(length > 0, "the server closed");
        bytes += length;
        let mut feed = decoder.feed(&mut buffer[..length]);
        while let Some(event) = feed.next().unwrap() {
            if let Event::Text(text) = event {
                texts.push(text.to_owned());
            }
        }
    }

    (texts, bytes)
}

#[tokio::test]
async fn large_messages_are_compressed_if_the_client_offers_it() {
    let server = TestServer::start().await;
    let mut ann = server.log_in("ann").await;
    let mut claims = claims("bob");
    claims.role_context = None;
    let mut socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Authorization: Bearer {}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address,
        server.key.sign(&claims).unwrap(),
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();

    assert!(head.contains("sec-websocket-extensions: permessage-deflate"), "{head}");

    let (texts, _) = next_texts(&mut socket, 1).await;
    assert!(texts[0].contains("auth_result"), "{texts:?}");

    // The client compresses its message too.
    let subscribe = json!({
        "id": "1", "type": "subscribe", "payload": { "topic": "news" }, "padding": "x".repeat(500),
    });
    let plain = rejoin_websocket::encode(
        rejoin_websocket::MessageKind::Text,
        &[subscribe.to_string().as_bytes()],
    );
    let compressed = rejoin_websocket::deflate(&plain).expect("large enough to compress");
    let header = rejoin_websocket::header_len(compressed.len() - 2);

    // A zero mask leaves the payload as it is.
    let mut masked = compressed[..header].to_vec();
    masked[1] |= 0x80;
    masked.extend_from_slice(&[0; 4]);
    masked.extend_from_slice(&compressed[header..]);
    socket.write_all(&masked).await.unwrap();
    let (texts, _) = next_texts(&mut socket, 1).await;

    assert!(texts[0].contains(r#""reply_to":"1""#), "{texts:?}");

    let data = "all the same ".repeat(1000);
    ann.ask("publish", json!({ "topic": "news", "data": data })).await;
    let (texts, bytes) = next_texts(&mut socket, 1).await;
    assert!(texts[0].contains(&data), "{texts:?}");
    assert!(bytes < 1000, "{bytes} bytes on the wire for {}", data.len());
}
