//! A client of the HTTP API.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::support::Server;

/// Bytes of one message of a flood; below the default of `limits.max_message_bytes`.
const FLOOD_MESSAGE: usize = 60_000;

/// Messages of a flood: together more than a topic keeps by default, and than sockets hold.
const FLOOD_MESSAGES: usize = 24;

/// Sends requests with one token, each on a connection of its own.
pub(crate) struct Api {
    address: String,
    token: String,
}

/// A POST request whose body is incomplete.
pub(crate) struct SlowPost {
    socket: BufReader<TcpStream>,
    rest: String,
}

impl Server {
    /// The API as an administrator.
    pub(crate) fn admin(&self) -> Api {
        self.api(self.login_token())
    }

    pub(crate) fn api(&self, token: &str) -> Api {
        Api { address: self.address().to_owned(), token: token.to_owned() }
    }
}

impl Api {
    /// Returns the status and the JSON body, or null for an empty body.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, "")
    }

    /// Returns the body of an answer with the status 200.
    pub(crate) fn text(&self, path: &str) -> String {
        let (status, text) = self.request("GET", &format!("/api/v1{path}"), "");
        assert_eq!(status, 200, "{text}");
        text
    }

    /// Returns the status and the JSON body, or null for an empty body.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call("POST", path, &body.to_string())
    }

    /// Sends a request that may be repeated with this key; returns the status and the whole body.
    pub(crate) fn post_once(&self, path: &str, body: &Value, key: &str) -> (u16, String) {
        let body = body.to_string();
        let mut socket = TcpStream::connect(&self.address).unwrap();
        let head = self.head("POST", &format!("/api/v1{path}"), body.len());
        write!(socket, "{head}Idempotency-Key: {key}\r\n\r\n{body}").unwrap();
        answer(socket)
    }

    /// Returns the status of a path outside of the API.
    pub(crate) fn status(&self, path: &str) -> u16 {
        self.request("GET", path, "").0
    }

    /// Returns the status.
    pub(crate) fn delete(&self, path: &str) -> u16 {
        self.call("DELETE", path, "").0
    }

    /// Publishes data to a topic.
    pub(crate) fn publish(&self, topic: &str, data: &Value) {
        let (status, answer) = self.post("/publish", &json!({ "topic": topic, "data": data }));
        assert_eq!(status, 200, "{answer}");
    }

    /// Publishes more to a topic than it keeps, and than an unread socket holds.
    pub(crate) fn flood(&self, topic: &str) {
        let data = json!("x".repeat(FLOOD_MESSAGE));
        for _ in 0..FLOOD_MESSAGES {
            self.publish(topic, &data);
        }
    }

    /// Returns the data of the messages that a topic keeps.
    pub(crate) fn published(&self, topic: &str) -> Vec<Value> {
        let (status, history) = self.get(&format!("/topics/{topic}/history?limit=1000"));
        assert_eq!(status, 200, "{history}");
        let messages = history["messages"].as_array().unwrap();
        messages.iter().map(|message| message["data"].clone()).collect()
    }

    /// Returns the ids of the connections in the list.
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

    /// Returns a sample of `/metrics`; 0 if it is absent.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics();
        let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        sample.map_or(0, |sample| sample.parse().unwrap())
    }

    /// Sends a POST request without the end of its body, and waits until the server asks for it.
    pub(crate) fn slow_post(&self, path: &str, body: &Value) -> SlowPost {
        let body = body.to_string();
        let head = self.head("POST", &format!("/api/v1{path}"), body.len());
        let mut socket = BufReader::new(TcpStream::connect(&self.address).unwrap());
        write!(socket.get_mut(), "{head}Expect: 100-continue\r\n\r\n").unwrap();
        let mut answer = String::new();
        // The second line is empty.
        for _ in 0..2 {
            socket.read_line(&mut answer).unwrap();
        }
        assert_eq!(answer, "HTTP/1.1 100 Continue\r\n\r\n");
        let (begin, rest) = body.split_at(body.len() / 2);
        write!(socket.get_mut(), "{begin}").unwrap();
        SlowPost { socket, rest: rest.to_owned() }
    }

    fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, body) = self.request(method, &format!("/api/v1{path}"), body);
        let is_json = !body.is_empty();
        (status, if is_json { serde_json::from_str(&body).expect(&body) } else { Value::Null })
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        let head = self.head(method, path, body.len());
        socket.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        answer(socket)
    }

    fn head(&self, method: &str, path: &str, length: usize) -> String {
        let Self { address, token } = self;
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n"
        )
    }
}

impl SlowPost {
    /// Sends the rest of the body; returns the status and the answer.
    pub(crate) fn complete(self) -> (u16, String) {
        self.try_complete().expect("an answer")
    }

    /// Sends the rest of the body, if the server takes it; returns the status and the answer, or
    /// nothing if the server has closed the socket without one.
    pub(crate) fn try_complete(mut self) -> Option<(u16, String)> {
        self.send_rest();
        self.answer()
    }

    /// Sends the rest of the body, if the server takes it.
    pub(crate) fn send_rest(&mut self) {
        let _ = write!(self.socket.get_mut(), "{}", self.rest);
    }

    /// Returns the status and the answer to the incomplete request, if there is one.
    pub(crate) fn answer(mut self) -> Option<(u16, String)> {
        let mut text = String::new();
        let _ = self.socket.read_to_string(&mut text);
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
    }
}

/// Reads the status and the body of an answer up to the end of the connection.
fn answer(mut socket: impl Read) -> (u16, String) {
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
