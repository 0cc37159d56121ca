//! Clients of the HTTP API.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::support::{TestHome, TestServer, home::successful_output};

/// Bytes of one message of a flood: below the default of `limits.max_message_bytes`.
const FLOOD_MESSAGE_BYTES: usize = 60_000;
/// Messages of a flood: more than a topic retains by default, and than the socket buffers hold.
const FLOOD_MESSAGES: usize = 24;

/// A client with one token. Each request opens its own connection.
pub(crate) struct ApiClient {
    address: String,
    token: String,
}

/// A POST request with an incomplete body.
pub(crate) struct PartialPost {
    socket: BufReader<TcpStream>,
    /// The part of the body that is not sent yet.
    rest: String,
}

impl TestServer {
    /// Returns an API client of an administrator.
    pub(crate) fn admin_api(&self) -> ApiClient {
        self.api(self.admin_token())
    }

    /// Returns an API client with a token.
    pub(crate) fn api(&self, token: &str) -> ApiClient {
        ApiClient { address: self.address().to_owned(), token: token.to_owned() }
    }
}

impl ApiClient {
    /// Returns the status and the JSON body, or null for an empty body.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, "")
    }

    /// Returns the body as text.
    ///
    /// # Panics
    /// Unless the status is 200.
    pub(crate) fn text(&self, path: &str) -> String {
        let (status, text) = self.request("GET", &format!("/api/v1{path}"), "");
        assert_eq!(status, 200, "{text}");
        text
    }

    /// Returns the status and the JSON body, or null for an empty body.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call("POST", path, &body.to_string())
    }

    /// Sends a request with an idempotency key. Returns the status and the body.
    pub(crate) fn post_with_key(&self, path: &str, body: &Value, key: &str) -> (u16, String) {
        let body = body.to_string();
        let mut socket = TcpStream::connect(&self.address).unwrap();
        let head = self.head("POST", &format!("/api/v1{path}"), body.len());
        write!(socket, "{head}Idempotency-Key: {key}\r\n\r\n{body}").unwrap();
        read_response(socket)
    }

    /// Returns the status and the body of a POST request; `None` if the server ends meanwhile.
    pub(crate) fn try_post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let body = body.to_string();
        let mut socket = TcpStream::connect(&self.address).ok()?;
        let head = self.head("POST", &format!("/api/v1{path}"), body.len());
        socket.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
        let mut response = String::new();
        socket.read_to_string(&mut response).ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, serde_json::from_str(body).ok()?))
    }

    /// Returns the status of a page or a health check.
    pub(crate) fn status(&self, path: &str) -> u16 {
        self.request("GET", path, "").0
    }

    /// Returns the status of a GET request with more headers.
    pub(crate) fn status_with(&self, path: &str, headers: &str) -> u16 {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        let Self { address, .. } = self;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n\r\n").unwrap();
        let mut status = [0; 12];
        socket.read_exact(&mut status).unwrap();
        std::str::from_utf8(&status[9..]).unwrap().parse().unwrap()
    }

    /// Deletes a resource. Returns the status.
    pub(crate) fn delete(&self, path: &str) -> u16 {
        self.call("DELETE", path, "").0
    }

    /// Publishes a message to a topic.
    pub(crate) fn publish(&self, topic: &str, data: &Value) {
        let (status, body) = self.post("/publish", &json!({ "topic": topic, "data": data }));
        assert_eq!(status, 200, "{body}");
    }

    /// Publishes more to a topic than the topic retains and an unread socket buffers.
    pub(crate) fn flood(&self, topic: &str) {
        let data = json!("x".repeat(FLOOD_MESSAGE_BYTES));
        for _ in 0..FLOOD_MESSAGES {
            self.publish(topic, &data);
        }
    }

    /// Returns the data of the messages that a topic retains.
    pub(crate) fn published(&self, topic: &str) -> Vec<Value> {
        let (status, history) = self.get(&format!("/topics/{topic}/history?limit=1000"));
        assert_eq!(status, 200, "{history}");

        let messages = history["messages"].as_array().unwrap();
        messages.iter().map(|message| message["data"].clone()).collect()
    }

    /// Returns the ids of all connections.
    pub(crate) fn connections(&self) -> Vec<String> {
        let (status, page) = self.get("/connections?limit=1000");
        assert_eq!(status, 200, "{page}");

        let connections = page["connections"].as_array().unwrap().iter();
        connections.map(|connection| connection["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the text of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        let (status, text) = self.request("GET", "/metrics", "");
        assert_eq!(status, 200, "{text}");
        text
    }

    /// Returns a sample of `/metrics`, or 0 if it is absent.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics();
        let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        sample.map_or(0, |sample| sample.parse().unwrap())
    }

    /// Sends half of a POST request. Returns once the server waits for the rest of the body.
    pub(crate) fn partial_post(&self, path: &str, body: &Value) -> PartialPost {
        let body = body.to_string();
        let head = self.head("POST", &format!("/api/v1{path}"), body.len());
        let mut socket = BufReader::new(TcpStream::connect(&self.address).unwrap());

        // The server answers `100 Continue` when a handler reads the body.
        write!(socket.get_mut(), "{head}Expect: 100-continue\r\n\r\n").unwrap();
        let mut response = String::new();
        for _status_and_empty_line in 0..2 {
            socket.read_line(&mut response).unwrap();
        }
        assert_eq!(response, "HTTP/1.1 100 Continue\r\n\r\n");

        let (begin, rest) = body.split_at(body.len() / 2);
        write!(socket.get_mut(), "{begin}").unwrap();
        PartialPost { socket, rest: rest.to_owned() }
    }

    fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, body) = self.request(method, &format!("/api/v1{path}"), body);
        let body =
            if body.is_empty() { Value::Null } else { serde_json::from_str(&body).expect(&body) };
        (status, body)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        let head = self.head(method, path, body.len());
        socket.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        read_response(socket)
    }

    fn head(&self, method: &str, path: &str, length: usize) -> String {
        let Self { address, token } = self;
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n"
        )
    }
}

impl PartialPost {
    /// Sends the rest of the body. Returns the status and the body of the response.
    pub(crate) fn complete(self) -> (u16, String) {
        self.try_complete().expect("a response")
    }

    /// Sends the rest of the body if the socket is open. Returns the status and the body of the
    /// response, or `None` if the server closed the socket without a response.
    pub(crate) fn try_complete(mut self) -> Option<(u16, String)> {
        self.send_rest();
        self.response()
    }

    /// Sends the rest of the body if the socket is open.
    pub(crate) fn send_rest(&mut self) {
        let _ = write!(self.socket.get_mut(), "{}", self.rest);
    }

    /// Returns the status and the body of the response, or `None` if there is none.
    pub(crate) fn response(mut self) -> Option<(u16, String)> {
        let mut text = String::new();
        let _ = self.socket.read_to_string(&mut text);
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
    }
}

/// Sends a request with `curl` and an administrator's token. Returns the status and the body.
///
/// For requests that [`ApiClient`] cannot send: over TLS, or below a base path.
pub(crate) fn curl(
    home: &TestHome,
    server: &TestServer,
    arguments: &[&str],
    path: &str,
) -> (String, String) {
    let token = format!("Authorization: Bearer {}", server.admin_token());
    let mut command = home.program("curl");
    command.args(["--silent", "--show-error", "--write-out", "\n%{http_code}"]);
    command.args(["--header", &token]).args(arguments).arg(format!("{}{path}", server.url));

    let output = successful_output(command);
    let (body, status) = output.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// Reads a response up to the end of the connection. Returns its status and body.
fn read_response(mut socket: impl Read) -> (u16, String) {
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();

    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
