//! A test server on a free port, and a test client.

use std::{net::SocketAddr, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use rejoin_core::{
    Caps, Hub, HubConfig, MemoryScreens, MemoryTerminal, MemoryTerminals, Profile, Retention,
    Shutdown, SlowReaderPolicy, TopicRule,
};
use rejoin_gateway::{Claims, Gateway, GatewayConfig, Signer, TokenRules, encode};
use rejoin_protocol::{ProfileName, UserId};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{HeaderName, HeaderValue},
    },
};

pub(crate) const SECRET: &[u8] = b"thirty-two bytes, hard to guess!";

/// A server that stops when it is dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Hub,
    /// The terminals that sessions start.
    pub(crate) programs: mpsc::Receiver<MemoryTerminal>,
    pub(crate) key: Signer,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}, |gateway| gateway).await
    }

    pub(crate) async fn start_with(
        configure: impl FnOnce(&mut GatewayConfig),
        extend: impl FnOnce(Gateway) -> Gateway,
    ) -> Self {
        Self::start_hub_with(|_| {}, configure, extend).await
    }

    pub(crate) async fn start_hub_with(
        configure_hub: impl FnOnce(&mut HubConfig),
        configure: impl FnOnce(&mut GatewayConfig),
        extend: impl FnOnce(Gateway) -> Gateway,
    ) -> Self {
        let terminals = MemoryTerminals::new();
        let programs = terminals.started().unwrap();
        let profile = Profile { command: vec!["program".into()], ..Profile::default() };

        let rule = |pattern: &str, count, slow_reader| TopicRule {
            pattern: pattern.into(),
            retention: Retention {
                frames: std::num::NonZeroUsize::new(count).unwrap(),
                bytes: std::num::NonZeroUsize::new(64 << 20).unwrap(),
                age: None,
            },
            slow_reader,
            ..TopicRule::default()
        };

        let mut config = HubConfig {
            profiles: [(ProfileName::new("terminal").unwrap(), profile)].into(),
            topics: vec![
                rule("short", 4, SlowReaderPolicy::CatchUp),
                rule("long", 100_000, SlowReaderPolicy::CatchUp),
                rule("latest", 4, SlowReaderPolicy::Latest),
                rule("strict", 4, SlowReaderPolicy::Disconnect),
            ],
            ..HubConfig::new(encode, terminals, Arc::new(MemoryScreens))
        };

        configure_hub(&mut config);
        let hub = Hub::new(config, &Shutdown::new());
        let key = Signer::hs256(SECRET).unwrap();
        let rules = TokenRules { default_caps: Caps::user(), ..TokenRules::default() };
        let mut gateway_config = GatewayConfig::new(key.verifier().with_rules(rules));
        configure(&mut gateway_config);
        let gateway = extend(Gateway::new(hub.clone(), gateway_config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        hub.shutdown().spawn(gateway.serve(listener));
        Self { address, hub, programs, key }
    }

    pub(crate) fn token(&self, user: &str) -> String {
        self.key.sign(&claims(user)).unwrap()
    }

    /// Returns an upgrade request with these additional headers.
    pub(crate) fn request(&self, headers: &[(&str, &str)]) -> Request {
        let url = format!("ws://{}/ws", self.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }

        request
    }

    /// Opens a connection without authentication.
    pub(crate) async fn connect(&self) -> Client {
        let request = self.request(&[("sec-websocket-protocol", "rejoin.v1")]);
        Client { socket: connect_async(request).await.unwrap().0, next_id: 0 }
    }

    /// Opens an authenticated connection.
    pub(crate) async fn log_in(&self, user: &str) -> Client {
        let mut client = self.connect().await;
        let answer = client.ask("authenticate", json!({ "token": self.token(user) })).await;
        assert_eq!(answer["type"], "auth_result", "{answer}");
        client
    }

    /// Opens an authenticated connection with additional fields of `authenticate`.
    ///
    /// Returns the client and the payload of the answer.
    pub(crate) async fn log_in_with(&self, user: &str, mut fields: Value) -> (Client, Value) {
        fields["token"] = self.token(user).into();
        let mut client = self.connect().await;
        let answer = client.ask("authenticate", fields).await;
        assert_eq!(answer["type"], "auth_result", "{answer}");
        (client, answer["payload"].clone())
    }

    /// Opens a WebSocket as a plain TCP socket, for frames that no library sends.
    pub(crate) async fn raw(&self) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        socket
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.hub.shutdown().begin();
    }
}

pub(crate) fn claims(user: &str) -> Claims {
    Claims { exp: Some(4_000_000_000), ..Claims::new(UserId::new(user).unwrap()) }
}

/// A client that speaks `rejoin.v1`.
#[derive(Debug)]
pub(crate) struct Client<S = MaybeTlsStream<TcpStream>> {
    pub(crate) socket: WebSocketStream<S>,
    next_id: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(socket: WebSocketStream<S>) -> Self {
        Self { socket, next_id: 0 }
    }

    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        self.socket.send(message.into()).await.unwrap();
    }

    /// Sends a request and returns its answer. Skips all other messages.
    pub(crate) async fn ask(&mut self, kind: &str, payload: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id.to_string();
        let message = json!({ "id": id, "type": kind, "payload": payload });
        self.send(message.to_string()).await;
        loop {
            let message = self.next().await.expect("an answer");
            if let Message::Text(text) = &message {
                let answer: Value = serde_json::from_str(text).unwrap();
                if answer["reply_to"] == id {
                    return answer;
                }
            }
        }
    }

    /// Returns the next message; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.socket.next().await.transpose().expect("the connection is not broken")
    }

    /// Returns the next text message.
    pub(crate) async fn next_json(&mut self) -> Value {
        loop {
            match self.next().await.expect("a message") {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(close) => panic!("closed: {close:?}"),
                _ => {}
            }
        }
    }

    /// Reads until the close. Returns the text messages and the close code.
    pub(crate) async fn until_closed(&mut self) -> (Vec<Value>, Option<u16>) {
        let mut texts = Vec::new();
        while let Some(message) = self.next().await {
            match message {
                Message::Text(text) => texts.push(serde_json::from_str(&text).unwrap()),
                Message::Close(close) => return (texts, close.map(|close| close.code.into())),
                _ => {}
            }
        }

        (texts, None)
    }

    pub(crate) async fn create_session(&mut self) -> String {
        let size = json!({ "kind": "terminal", "cols": 80, "rows": 24 });
        let answer = self.ask("create_session", size).await;
        answer["payload"]["session"]["id"].as_str().expect("a session").to_owned()
    }
}
