//! One blocking connection, for requests whose replies the caller waits for.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::frame::{self, Header};
use crate::transport::Transport;

/// The time that a server may take for one reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// More than one TLS record, so that a read leaves no decrypted bytes behind.
const READ_BYTES: usize = 32 * 1024;

/// The URL of a WebSocket, and the options of a connection to it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddrV4,
    pub(crate) path: String,
    pub(crate) protocol: Option<&'static str>,
    /// The token to authenticate with after the upgrade.
    pub(crate) token: Option<String>,
    /// Additional header lines, each with its line end.
    pub(crate) headers: String,
    /// Set if the server speaks TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// Returns an endpoint without options.
    pub(crate) fn new(address: SocketAddrV4, path: impl Into<String>) -> Self {
        let (path, headers) = (path.into(), String::new());
        Self { address, path, protocol: None, token: None, headers, tls: None }
    }

    /// Returns the upgrade request.
    pub(crate) fn request(&self) -> String {
        let Self { address, path, protocol, headers, .. } = self;
        let protocol =
            protocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        // A constant key: no proxy is between the client and the server.
        format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cmVqb2luIGJlbmNobWFyaw==\r\n\
             {protocol}{headers}\r\n"
        )
    }

    /// Adds a header line.
    pub(crate) fn with_header(mut self, line: &str) -> Self {
        self.headers.push_str(line);
        self.headers.push_str("\r\n");
        self
    }

    /// Sets the token.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Offers permessage-deflate.
    pub(crate) fn with_deflate(self) -> Self {
        self.with_header("Sec-WebSocket-Extensions: permessage-deflate")
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    /// Received bytes that are not consumed yet.
    unread: Vec<u8>,
    next_id: u64,
}

impl Connection {
    /// Connects, upgrades, and authenticates if the endpoint has a token.
    pub(crate) fn open(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(endpoint.address)
            .with_context(|| format!("cannot connect to {}", endpoint.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        let transport = Transport::client(stream, endpoint.tls.as_ref())?;

        let mut connection = Self { transport, unread: Vec::new(), next_id: 1 };
        connection.upgrade(endpoint)?;
        if let Some(token) = &endpoint.token {
            let result = connection.request("authenticate", &json!({"token": token}))?;
            ensure!(result["authenticated"] == true, "the authentication failed: {result}");
        }
        Ok(connection)
    }

    fn upgrade(&mut self, endpoint: &Endpoint) -> anyhow::Result<()> {
        self.transport.write_all(endpoint.request().as_bytes())?;
        self.transport.flush()?;

        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }

            self.fill()?;
        };
        // Bytes after the response are already frames, and stay unread.
        let response: Vec<u8> = self.unread.drain(..end).collect();
        if !response.starts_with(b"HTTP/1.1 101") {
            let response = String::from_utf8_lossy(&response);
            bail!("the upgrade of {} was refused: {}", endpoint.path, response.trim());
        }

        Ok(())
    }

    /// Sends one frame that is a whole message.
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        let mut out = Vec::with_capacity(payload.len() + 14);
        frame::write_masked(&mut out, opcode, payload);
        self.transport.write_all(&out)?;
        Ok(self.transport.flush()?)
    }

    /// Sends a request of the protocol and returns the payload of its reply.
    ///
    /// # Errors
    /// The reply is an `error`, or the server closes or does not reply in time.
    pub(crate) fn request(&mut self, kind: &str, payload: &Value) -> anyhow::Result<Value> {
        self.request_json(kind, &payload.to_string())
    }

    /// Sends a request whose payload is JSON text, as [`Connection::request`] does.
    pub(crate) fn request_json(&mut self, kind: &str, payload: &str) -> anyhow::Result<Value> {
        let id = self.next_id.to_string();
        self.next_id += 1;
        let request = format!(r#"{{"id":"{id}","type":"{kind}","payload":{payload}}}"#);
        self.send(frame::TEXT, request.as_bytes())?;

        let mut reply = self.wait_for(|opcode, payload| {
            let reply: Value =
                (opcode == frame::TEXT).then(|| serde_json::from_slice(payload))?.ok()?;
            // Skips messages of topics and replies to other requests.
            (reply["reply_to"] == id).then_some(reply)
        })?;
        ensure!(reply["type"] != "error", "`{kind}` failed: {}", reply["payload"]);
        Ok(reply["payload"].take())
    }

    /// Waits for the next frame. Returns its opcode and its payload.
    pub(crate) fn next_frame(&mut self) -> anyhow::Result<(u8, Vec<u8>)> {
        loop {
            if let Some(header) = Header::read(&self.unread) {
                let payload = self.unread[header.start..header.end].to_vec();
                self.unread.drain(..header.end);
                return Ok((header.opcode, payload));
            }

            self.fill()?;
        }
    }

    /// Waits for the first frame from which `select` returns a value.
    pub(crate) fn wait_for<T>(
        &mut self,
        mut select: impl FnMut(u8, &[u8]) -> Option<T>,
    ) -> anyhow::Result<T> {
        loop {
            let (opcode, payload) = self.next_frame()?;
            ensure!(opcode != frame::CLOSE, "the server closed the connection");
            if let Some(value) = select(opcode, &payload) {
                return Ok(value);
            }
        }
    }

    /// Waits for a binary message that contains these bytes.
    pub(crate) fn wait_for_output(&mut self, text: &[u8]) -> anyhow::Result<()> {
        self.wait_for(|opcode, payload| {
            let mut parts = payload.windows(text.len());
            (opcode == frame::BINARY && parts.any(|part| part == text)).then_some(())
        })
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; READ_BYTES];
        match self.transport.read(&mut bytes).context("no reply")? {
            0 => bail!("the server closed the connection"),
            count => self.unread.extend_from_slice(&bytes[..count]),
        }
        Ok(())
    }

    /// Returns the transport, and the bytes that were read and not consumed.
    pub(crate) fn into_parts(self) -> (Transport, Vec<u8>) {
        (self.transport, self.unread)
    }
}

/// Starts to connect without blocking. The socket becomes writable once it is connected.
///
/// # Errors
/// The system refuses at once, for example because no process listens.
pub(crate) fn start_connect(address: SocketAddrV4) -> std::io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}
