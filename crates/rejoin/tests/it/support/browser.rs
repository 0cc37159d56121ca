//! A browser that has a page of the server open.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::support::{TestHome, TestServer};

/// A browser with its cookie for the server.
pub(crate) struct TestBrowser {
    pub(crate) address: String,
    /// The scheme in the address bar: `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The cookie as `name=value`; empty before the first log-in.
    pub(crate) cookie: String,
}

impl TestBrowser {
    pub(crate) fn new(server: &TestServer) -> Self {
        Self { address: server.address().to_owned(), scheme: "http", cookie: String::new() }
    }

    /// Returns a browser in which a user has logged in.
    pub(crate) fn logged_in(server: &TestServer, user: &str, home: &TestHome) -> Self {
        let mut browser = Self::new(server);
        assert_eq!(browser.log_in(&json!({ "token": home.token(user, "1h") })), 204);
        browser
    }

    /// Logs in with a token or a code. Returns the status.
    pub(crate) fn log_in(&mut self, proof: &Value) -> u16 {
        self.send("POST", "/api/v1/login", proof).0
    }

    pub(crate) fn get(&mut self, path: &str) -> (u16, Value) {
        self.send("GET", path, &Value::Null)
    }

    /// Sends a request of a page. Returns the status, and the JSON body or null.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let Self { address, scheme, cookie } = self;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: {scheme}://{address}\r\n\
             Sec-Fetch-Site: same-origin\r\nX-Forwarded-For: 192.0.2.1\r\n\
             X-Forwarded-Proto: {scheme}\r\nCookie: {cookie}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );

        let (head, body) = exchange(address, &format!("{head}{body}"));
        // The server sends lower-case names.
        let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        if let Some(set) = set {
            self.cookie = set.split(';').next().unwrap().to_owned();
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(&body).unwrap_or_default())
    }
}

/// Sends a request. Returns the head and the body of the response.
pub(crate) fn exchange(address: &str, request: &str) -> (String, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();

    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}
