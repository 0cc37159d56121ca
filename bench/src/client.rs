//! One connection that asks and waits: to connect, authenticate, subscribe, attach.

use std::borrow::Cow;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustls::ClientConfig;
use serde_json::Value;

use crate::frame::{self, Header};
use crate::wire::Wire;

/// How long a server may take to answer one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// More than one TLS record, so that a read leaves no decrypted bytes behind.
const READ_BYTES: usize = 32 * 1024;
/// Connections from one address to one port; the machine has about 28,000 ports for them.
const CONNECTIONS_PER_ADDRESS: usize = 20_000;

/// Where a server takes WebSocket connections.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddrV4,
    pub(crate) path: Cow<'static, str>,
    pub(crate) protocol: Option<&'static str>,
    /// More lines of the request, each with its end.
    pub(crate) headers: String,
    /// The settings of a server that speaks TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// The request that opens a WebSocket.
    pub(crate) fn request(&self) -> String {
        let Self { address, path, protocol, headers, .. } = self;
        let protocol =
            protocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cmVqb2luIGJlbmNobWFyaw==\r\n\
             {protocol}{headers}\r\n"
        )
    }

    /// The same with messages compressed, if the server agrees.
    pub(crate) fn with_deflate(mut self) -> Self {
        self.headers.push_str("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        self
    }
}

/// A connection on which reads and writes wait.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Wire,
    /// What was read and not yet taken.
    unread: Vec<u8>,
    next_id: u64,
}

impl Connection {
    /// Connects and upgrades; the index spreads many connections over source addresses.
    pub(crate) fn open(endpoint: &Endpoint, index: usize) -> anyhow::Result<Self> {
        let stream = connect_from(endpoint.address, index)
            .with_context(|| format!("cannot connect to {}", endpoint.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let stream = Wire::client(stream, endpoint.tls.as_ref())?;
        let mut connection = Self { stream, unread: Vec::new(), next_id: 1 };
        connection.upgrade(endpoint)?;
        Ok(connection)
    }

    fn upgrade(&mut self, endpoint: &Endpoint) -> anyhow::Result<()> {
        self.stream.write_all(endpoint.request().as_bytes())?;
        self.stream.flush()?;
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let answer: Vec<u8> = self.unread.drain(..end + 4).collect();
                if answer.starts_with(b"HTTP/1.1 101") {
                    return Ok(());
                }
                let answer = String::from_utf8_lossy(&answer);
                bail!("no upgrade of {}: {}", endpoint.path, answer.trim());
            }
            self.fill()?;
        }
    }

    /// Sends a text message.
    pub(crate) fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.send(frame::TEXT, text.as_bytes())
    }

    /// Sends one frame.
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        let mut out = Vec::with_capacity(payload.len() + 14);
        frame::write_masked(&mut out, opcode, payload);
        self.stream.write_all(&out)?;
        Ok(self.stream.flush()?)
    }

    /// Sends a message of the protocol and waits for its answer.
    pub(crate) fn ask(&mut self, kind: &str, payload: &Value) -> anyhow::Result<Value> {
        self.ask_json(kind, &payload.to_string())
    }

    /// The same with a payload that is JSON already.
    pub(crate) fn ask_json(&mut self, kind: &str, payload: &str) -> anyhow::Result<Value> {
        let id = self.next_id.to_string();
        self.next_id += 1;
        self.say(&format!(r#"{{"id":"{id}","type":"{kind}","payload":{payload}}}"#))?;
        loop {
            let (opcode, payload) = self.next_frame()?;
            match opcode {
                frame::TEXT => {}
                frame::CLOSE => bail!("closed instead of an answer to `{kind}`"),
                _ => continue,
            }
            let mut answer: Value = serde_json::from_slice(&payload)?;
            if answer["reply_to"] != id {
                continue;
            }
            if answer["type"] == "error" {
                bail!("`{kind}` was answered with {}", answer["payload"]);
            }
            return Ok(answer["payload"].take());
        }
    }

    /// Waits for the next frame; returns its opcode and its payload.
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

    /// Waits for the next message of a topic; returns its position.
    pub(crate) fn message(&mut self) -> anyhow::Result<String> {
        loop {
            let (opcode, payload) = self.next_frame()?;
            if opcode != frame::TEXT {
                continue;
            }
            let message: Value = serde_json::from_slice(&payload)?;
            if message["type"] == "message" {
                let position = message["payload"]["position"].as_str();
                return Ok(position.context("a position")?.to_owned());
            }
        }
    }

    /// Waits until a terminal has printed this.
    pub(crate) fn printed(&mut self, text: &[u8]) -> anyhow::Result<()> {
        loop {
            let (opcode, payload) = self.next_frame()?;
            if opcode == frame::BINARY && payload.windows(text.len()).any(|part| part == text) {
                return Ok(());
            }
        }
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; READ_BYTES];
        match self.stream.read(&mut bytes).context("no answer")? {
            0 => bail!("the server closed the connection"),
            count => self.unread.extend_from_slice(&bytes[..count]),
        }
        Ok(())
    }

    /// The socket, and what was read from it and not yet taken.
    pub(crate) fn into_parts(self) -> (Wire, Vec<u8>) {
        (self.stream, self.unread)
    }
}

fn connect_from(address: SocketAddrV4, index: usize) -> anyhow::Result<TcpStream> {
    if index < CONNECTIONS_PER_ADDRESS {
        return Ok(TcpStream::connect(SocketAddr::V4(address))?);
    }
    let socket = bound_socket(index, SocketFlags::CLOEXEC)?;
    connect(&socket, &address)?;
    Ok(socket.into())
}

/// Begins to connect and does not wait; the socket is writable when it is connected.
///
/// # Errors
/// What the system says at once, such as that nobody listens.
pub(crate) fn begin_connect(address: SocketAddrV4, index: usize) -> anyhow::Result<TcpStream> {
    let socket = bound_socket(index, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}

fn bound_socket(index: usize, flags: SocketFlags) -> anyhow::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    let host = 1 + index / CONNECTIONS_PER_ADDRESS;
    if host > 1 {
        let host = u8::try_from(host).context("too many connections")?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), 0))?;
    }
    Ok(socket)
}
