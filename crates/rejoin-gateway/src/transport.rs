//! A connected byte stream that never blocks: TCP, or TLS over TCP.

use std::{
    io::{self, ErrorKind, Read, Write},
    mem::MaybeUninit,
    net::{Shutdown, TcpStream as StdTcpStream},
    os::fd::{AsRawFd, RawFd},
};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustls::ServerConnection;
use socket2::SockRef;

/// Bytes that the kernel may hold unsent for one socket: more would be old when they arrive.
const UNSENT_BYTES: u32 = 128 * 1024;
/// Plaintext that TLS takes ahead of the socket, in bytes.
const TLS_AHEAD_BYTES: usize = 64 * 1024;

/// A socket and, with TLS, its session. One descriptor either way.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsSocket>),
}

#[derive(Debug)]
pub(crate) struct TlsSocket {
    socket: TcpStream,
    session: ServerConnection,
}

impl Transport {
    /// Takes a socket without TLS.
    ///
    /// # Errors
    /// If the socket cannot be made non-blocking.
    pub(crate) fn plain(socket: StdTcpStream) -> io::Result<Self> {
        Ok(Self::Plain(prepare(socket)?))
    }

    /// Takes a socket whose TLS handshake is done.
    ///
    /// # Errors
    /// If the socket cannot be made non-blocking.
    pub(crate) fn tls(socket: StdTcpStream, mut session: ServerConnection) -> io::Result<Self> {
        session.set_buffer_limit(Some(TLS_AHEAD_BYTES));
        Ok(Self::Tls(Box::new(TlsSocket { socket: prepare(socket)?, session })))
    }

    /// Has a poll report when the socket can be read or written again (edge-triggered).
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interests = Interest::READABLE | Interest::WRITABLE;
        registry.register(self.socket_mut(), token, interests)
    }

    /// Ends [`register`](Self::register).
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(self.socket_mut())
    }

    /// Reads what has arrived; 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => retry(|| socket.read(buffer)),
            Self::Tls(tls) => tls.receive(buffer),
        }
    }

    /// Sends what the socket takes at once.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => retry(|| socket.write(bytes)),
            Self::Tls(tls) => tls.send(bytes),
        }
    }

    /// Passes on what was sent and is still held; returns whether nothing is held.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Whether bytes that were sent are still held.
    pub(crate) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.wants_write(),
        }
    }

    /// Whether the peer has sent something that was not read.
    pub(crate) fn has_unread(&self) -> bool {
        let peeked = SockRef::from(self.socket()).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_ok_and(|count| count > 0)
    }

    /// Says that nothing more is sent. Fails if the peer has gone.
    pub(crate) fn finish(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            // Without room it is lost; the close frame before it said the same.
            let _ = tls.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Gives the socket back, for another owner. Only without TLS.
    pub(crate) fn into_plain(self) -> Option<StdTcpStream> {
        match self {
            Self::Plain(socket) => Some(socket.into()),
            Self::Tls(_) => None,
        }
    }

    /// Whether it speaks TLS.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The descriptor.
    pub(crate) fn number(&self) -> RawFd {
        self.socket().as_raw_fd()
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }

    fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &mut tls.socket,
        }
    }
}

impl TlsSocket {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                // The session has nothing decrypted: it needs more records.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Some peers close the socket without `close_notify`; the WebSocket above says
                // whether something is missing.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            let read = retry(|| self.session.read_tls(&mut self.socket))?;
            if let Err(error) = self.session.process_new_packets() {
                // The alert that says what is wrong.
                let _ = self.flush();
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
            // Answers of TLS itself, such as a key update.
            self.flush()?;
            if read == 0 {
                // The peer closed the socket, perhaps after a last record.
                return match self.session.reader().read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
                    read => read,
                };
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = self.session.writer().write(bytes)?;
        self.flush()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match retry(|| self.session.write_tls(&mut self.socket)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn prepare(socket: StdTcpStream) -> io::Result<TcpStream> {
    socket.set_nonblocking(true)?;
    // Without it a stuck peer only costs more memory.
    let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES);
    Ok(TcpStream::from_std(socket))
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
