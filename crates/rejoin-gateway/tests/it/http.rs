//! A client for single HTTP requests to the test server.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::TestServer;

/// A response with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The headers by lower-case name. Repeated ones are joined.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Returns the status and the code of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(
            problem["type"],
            format!("urn:rejoin:error:{}", problem["code"].as_str().unwrap())
        );
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        (self.status, problem["code"].as_str().unwrap().to_owned())
    }
}

/// A builder of a request.
pub(crate) struct RequestBuilder<'a> {
    server: &'a TestServer,
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl TestServer {
    /// Starts a request without a token. The path starts at the server's root.
    pub(crate) fn ask(&self, method: &str, path: &str) -> RequestBuilder<'_> {
        let line = format!("{method} {path} HTTP/1.1");
        RequestBuilder { server: self, line, headers: Vec::new(), body: Vec::new() }
    }

    /// Starts a request of a user to the API.
    pub(crate) fn api(&self, user: &str, method: &str, path: &str) -> RequestBuilder<'_> {
        self.ask(method, &format!("/api/v1{path}")).bearer(&self.token(user))
    }
}

impl RequestBuilder<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers build the value in place")]
    pub(crate) fn json(self, body: Value) -> Self {
        self.header("Content-Type", "application/json").raw(&body.to_string())
    }

    pub(crate) fn raw(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let mut socket = TcpStream::connect(self.server.address).await.unwrap();
        let mut head =
            format!("{}\r\nHost: {}\r\nConnection: close\r\n", self.line, self.server.address);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", self.body.len());
        socket.write_all(head.as_bytes()).await.unwrap();

        // A server that refuses the head may not read the body.
        let _ = socket.write_all(&self.body).await;
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes).await;
        parse(&String::from_utf8(bytes).unwrap())
    }
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap()[9..12].parse().unwrap();

    let mut headers = BTreeMap::<String, String>::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        let entry = headers.entry(name.to_ascii_lowercase()).or_default();
        if !entry.is_empty() {
            entry.push_str(", ");
        }
        entry.push_str(value.trim());
    }
    Answer { status, headers, body: body.to_owned() }
}
