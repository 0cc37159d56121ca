//! The byte stream of one connection: TCP, or TLS over TCP.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::Context as _;
use rustix::fd::{AsFd, BorrowedFd};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use crate::tls::HOST;

/// A blocking or non-blocking byte stream.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

/// A TLS connection and its socket.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: rustls::Connection,
    socket: TcpStream,
}

impl Wire {
    /// Wraps the client's end of a socket. TLS shakes hands with the first read or write.
    pub(crate) fn client(
        socket: TcpStream,
        tls: Option<&Arc<ClientConfig>>,
    ) -> anyhow::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Plain(socket)) };
        let name = ServerName::try_from(HOST).context("the host is no name")?;
        let connection = ClientConnection::new(Arc::clone(config), name)?.into();
        Ok(Self::Tls(Box::new(Tls { connection, socket })))
    }

    /// Wraps the server's end of a socket.
    pub(crate) fn server(
        socket: TcpStream,
        tls: Option<&Arc<ServerConfig>>,
    ) -> anyhow::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Plain(socket)) };
        let connection = ServerConnection::new(Arc::clone(config))?.into();
        Ok(Self::Tls(Box::new(Tls { connection, socket })))
    }

    /// Makes reads and writes return `WouldBlock` instead of waiting.
    pub(crate) fn set_nonblocking(&self) -> Result<()> {
        self.socket().set_nonblocking(true)
    }

    /// Returns true if encrypted bytes wait for the socket.
    pub(crate) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.connection.wants_write(),
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }
}

impl Tls {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The peer closed the socket without a `close_notify`.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            self.connection.complete_io(&mut self.socket)?;
        }
    }

    /// Encrypts as much as the buffer of the connection takes, and sends what the socket takes.
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        while self.connection.is_handshaking() {
            self.connection.complete_io(&mut self.socket)?;
        }
        match self.connection.writer().write(bytes)? {
            0 if !bytes.is_empty() => {
                self.flush()?;
                self.connection.writer().write(bytes)
            }
            count => match self.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(count),
                result => result.map(|()| count),
            },
        }
    }

    fn flush(&mut self) -> Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

impl AsFd for Wire {
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
    fn bytes_travel_both_ways_over_tls_until_the_end() {
        let identity = Identity::generate().unwrap();
        let server = crate::tls::server_config(identity.files()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let mut wire = Wire::server(listener.accept().unwrap().0, Some(&server)).unwrap();
            let mut bytes = [0; 5];
            wire.read_exact(&mut bytes).unwrap();
            wire.write_all(&bytes).unwrap();
        });
        let socket = TcpStream::connect(address).unwrap();
        let mut wire = Wire::client(socket, Some(&identity.client())).unwrap();
        wire.write_all(b"hello").unwrap();
        let mut bytes = Vec::new();
        wire.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"hello");
        echo.join().unwrap();
    }
}
