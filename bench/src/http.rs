//! A blocking client of the HTTP API that keeps its connection alive.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The path prefix of the API.
const API: &str = "/api/v1";

/// A client with one token.
pub(crate) struct HttpClient {
    address: SocketAddrV4,
    token: String,
    /// Opened by the next request after a response with `Connection: close`.
    socket: Option<BufReader<TcpStream>>,
}

impl HttpClient {
    pub(crate) fn new(address: SocketAddrV4, token: &str) -> Self {
        Self { address, token: token.to_owned(), socket: None }
    }

    /// Posts JSON. Each header line ends with CR LF. Returns the status and the body.
    pub(crate) fn post(
        &mut self,
        path: &str,
        headers: &str,
        body: &str,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        self.request("POST", path, headers, body)
    }

    /// Returns the status and the body of a resource.
    pub(crate) fn get(&mut self, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        self.request("GET", path, "", "")
    }

    /// Deletes a resource. Returns the status and the body.
    pub(crate) fn delete(&mut self, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        self.request("DELETE", path, "", "")
    }

    fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let Self { address, token, .. } = self;
        let request = format!(
            "{method} {API}{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{headers}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = TcpStream::connect(*address)?;
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
                BufReader::new(socket)
            }
        };
        socket.get_mut().write_all(request.as_bytes())?;

        let (mut status, mut length, mut is_kept_alive) = (None, 0, true);
        loop {
            let mut line = String::new();
            if socket.read_line(&mut line)? == 0 {
                bail!("the server closed the connection without a response");
            }

            // Lower case: header names are case-insensitive, and the values read here are too.
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }

            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse()?,
                Some(("connection", "close")) => is_kept_alive = false,
                Some(_) => {}
                None => status = line.split(' ').nth(1).map(str::parse).transpose()?,
            }
        }

        let mut body = Vec::new();
        socket.by_ref().take(length).read_to_end(&mut body)?;
        if is_kept_alive {
            self.socket = Some(socket);
        }
        Ok((status.context("the response has no status")?, body))
    }
}
