//! A client that follows the protocol.

use std::net::TcpStream;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    self, Message, WebSocket,
    client::IntoClientRequest,
    http::HeaderValue,
    protocol::{CloseFrame, frame::coding::CloseCode},
    stream::MaybeTlsStream,
};

/// A client of `rejoin.v1`. It answers pings and close frames while it reads.
pub(crate) struct TestClient {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    /// The number in the id of the last request.
    last_request: u64,
}

impl TestClient {
    pub(super) fn connect(url: &str, headers: &[(&'static str, &str)]) -> Self {
        Self::try_connect(&format!("{url}/ws"), headers).unwrap()
    }

    /// Opens a WebSocket at a URL of the server.
    ///
    /// # Errors
    /// If the server refuses the upgrade, or ends.
    pub(crate) fn try_connect(
        url: &str,
        headers: &[(&'static str, &str)],
    ) -> tungstenite::Result<Self> {
        let url = url.replacen("http", "ws", 1);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let name = HeaderValue::from_static("rejoin.v1");
        request.headers_mut().insert("sec-websocket-protocol", name);

        let (socket, _) = tungstenite::connect(request)?;
        Ok(Self { socket, last_request: 0 })
    }

    /// Sends a message and returns its reply. Discards the messages before the reply.
    pub(crate) fn request(&mut self, kind: &str, payload: Value) -> Value {
        self.last_request += 1;
        let id = format!("{kind}-{}", self.last_request);
        self.send_with_id(&id, kind, payload);
        self.wait_for(|message| message["reply_to"] == id)
    }

    /// Sends a message without waiting for its reply.
    pub(crate) fn send(&mut self, kind: &str, payload: Value) {
        self.send_with_id(kind, kind, payload);
    }

    /// Sends a message with an id, which its reply names.
    #[expect(clippy::needless_pass_by_value, reason = "callers create it in place")]
    pub(crate) fn send_with_id(&mut self, id: &str, kind: &str, payload: Value) {
        let message = json!({ "id": id, "type": kind, "payload": payload });
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    /// Returns the next message that matches. Discards the messages before it.
    pub(crate) fn wait_for(&mut self, matches: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Message::Text(text) = self.read() {
                let message = serde_json::from_str(&text).unwrap();
                if matches(&message) {
                    return message;
                }
            }
        }
    }

    /// Returns the next message of any kind.
    pub(crate) fn read(&mut self) -> Message {
        self.socket.read().unwrap()
    }

    /// Returns the next message of any kind; `None` once the connection has ended.
    pub(crate) fn try_read(&mut self) -> Option<Message> {
        self.socket.read().ok()
    }

    /// Reads until the server closes the connection. Returns the code of its close frame.
    pub(crate) fn close_code(mut self) -> u16 {
        let code = loop {
            if let Message::Close(close) = self.read() {
                break close.expect("a code").code.into();
            }
        };
        self.read_to_end();
        code
    }

    /// Closes with 1000 and waits for the end of the connection.
    pub(crate) fn close(mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.socket.close(Some(frame)).unwrap();
        self.read_to_end();
    }

    fn read_to_end(&mut self) {
        while self.socket.read().is_ok() {}
    }

    /// Creates a terminal session of a profile. Returns the reply.
    pub(crate) fn create_session(&mut self, profile: &str) -> Value {
        self.request("create_session", json!({ "kind": "terminal", "profile": profile }))
    }
}
