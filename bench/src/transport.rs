//! The byte stream of one connection: TCP, or TLS over TCP.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::Context as _;
use rustix::fd::{AsFd, BorrowedFd};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::tls::HOST;

/// A byte stream, which blocks as its socket does.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    // Boxed, because a TLS session is much larger than a socket.
    TlsClient(Box<StreamOwned<ClientConnection, TcpStream>>),
    TlsServer(Box<StreamOwned<ServerConnection, TcpStream>>),
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

impl Transport {
    /// Wraps the client's end of a socket. The first read or write starts the TLS handshake.
    pub(crate) fn client(
        socket: TcpStream,
        tls: Option<&Arc<ClientConfig>>,
    ) -> anyhow::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Plain(socket)) };
        let name = ServerName::try_from(HOST).context("the host is no name")?;
        let connection = ClientConnection::new(Arc::clone(config), name)?;
        Ok(Self::TlsClient(Box::new(StreamOwned::new(connection, socket))))
    }

    /// Wraps the server's end of a socket.
    pub(crate) fn server(
        socket: TcpStream,
        tls: Option<&Arc<ServerConfig>>,
    ) -> anyhow::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Plain(socket)) };
        let connection = ServerConnection::new(Arc::clone(config))?;
        Ok(Self::TlsServer(Box::new(StreamOwned::new(connection, socket))))
    }

    /// Returns whether this is TLS, where a short read does not mean that no bytes are left.
    pub(crate) fn is_tls(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// Returns whether encrypted bytes wait for the socket.
    pub(crate) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::TlsClient(stream) => stream.conn.wants_write(),
            Self::TlsServer(stream) => stream.conn.wants_write(),
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::TlsClient(stream) => &stream.sock,
            Self::TlsServer(stream) => &stream.sock,
        }
    }

    fn stream(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Plain(socket) => socket,
            Self::TlsClient(stream) => stream,
            Self::TlsServer(stream) => stream,
        }
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self.stream().read(buffer) {
            // The peer closed the socket without a `close_notify`.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            result => result,
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.stream().write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.stream().flush()
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::tls::Identity;

    #[test]
    fn tls_carries_bytes_both_ways_until_the_close() {
        let identity = Identity::generate().unwrap();
        let server = crate::tls::server_config(identity.folder()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let socket = listener.accept().unwrap().0;
            let mut transport = Transport::server(socket, Some(&server)).unwrap();
            let mut bytes = [0; 5];
            transport.read_exact(&mut bytes).unwrap();
            transport.write_all(&bytes).unwrap();
        });

        let socket = TcpStream::connect(address).unwrap();
        let mut transport = Transport::client(socket, Some(&identity.client())).unwrap();
        transport.write_all(b"hello").unwrap();
        let mut bytes = Vec::new();
        transport.read_to_end(&mut bytes).unwrap();

        assert_eq!(bytes, b"hello");
        echo.join().unwrap();
    }
}
