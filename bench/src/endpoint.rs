//! The address of a WebSocket, and the start of a connection to it.

use std::net::{SocketAddrV4, TcpStream};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustls::ClientConfig;
use serde_json::{Value, json};

/// The type and the id of the request that authenticates.
pub(crate) const AUTHENTICATE: &str = "authenticate";

const AUTHORIZATION: &str = "Authorization";

/// The URL of a WebSocket, and the options of a connection to it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddrV4,
    pub(crate) path: String,
    pub(crate) protocol: Option<&'static str>,
    /// The token to authenticate with after the upgrade.
    pub(crate) token: Option<String>,
    /// The type and the payload of a request to send after `authenticate`.
    pub(crate) request: Option<(&'static str, Value)>,
    /// Additional header lines, each with its line end.
    pub(crate) headers: String,
    /// Set if the server speaks TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// Returns an endpoint without options.
    pub(crate) fn new(address: SocketAddrV4, path: impl Into<String>) -> Self {
        let (path, headers) = (path.into(), String::new());
        Self { address, path, protocol: None, token: None, request: None, headers, tls: None }
    }

    /// Returns the upgrade request.
    pub(crate) fn upgrade(&self) -> String {
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

    /// Returns the requests to send after the upgrade, each with its type as id.
    pub(crate) fn requests(&self) -> Vec<(&'static str, Value)> {
        let authenticate = self.token.as_ref().map(|token| (AUTHENTICATE, json!({"token": token})));
        authenticate.into_iter().chain(self.request.clone()).collect()
    }

    /// Returns whether the client authenticates, with a message or with a header.
    pub(crate) fn authenticates(&self) -> bool {
        self.token.is_some() || self.headers.contains(AUTHORIZATION)
    }

    /// Sets the token of a header, instead of a message.
    pub(crate) fn with_bearer(self, token: &str) -> Self {
        self.with_header(&format!("{AUTHORIZATION}: Bearer {token}"))
    }

    /// Sets the request to send after `authenticate`.
    pub(crate) fn with_request(self, kind: &'static str, payload: Value) -> Self {
        Self { request: Some((kind, payload)), ..self }
    }

    /// Offers permessage-deflate.
    pub(crate) fn with_deflate(self) -> Self {
        self.with_header("Sec-WebSocket-Extensions: permessage-deflate")
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
