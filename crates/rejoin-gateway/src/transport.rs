//! A connected byte stream that never blocks: TCP, or TLS over TCP.

use std::{
    io::{self, ErrorKind, Read, Write},
    mem::MaybeUninit,
    net::{Shutdown, TcpStream as StdTcpStream},
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustls::ServerConnection;
use socket2::{SockRef, TcpKeepalive};
use tracing::debug;

/// Bytes that the kernel may hold unsent for one socket: more would be old when they arrive.
const UNSENT_BYTES: u32 = 128 * 1024;
/// How long a connection may be silent before TCP asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
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
    /// Takes a non-blocking socket whose TLS handshake is done.
    pub(crate) fn tls(socket: TcpStream, mut session: ServerConnection) -> Self {
        session.set_buffer_limit(Some(TLS_AHEAD_BYTES));
        Self::Tls(Box::new(TlsSocket { socket, session }))
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

    /// Whether a read of `count` bytes into `room` took all that had arrived: less than was asked
    /// for is all there is (epoll(7)), but TLS may hold more.
    pub(crate) fn is_all(&self, count: usize, room: usize) -> bool {
        count < room && matches!(self, Self::Plain(_))
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

/// Sets the options of a listener or of a socket. A connection that is made inherits those of its
/// listener: to set them once saves six calls for each socket.
pub(crate) fn prepare(socket: &SockRef<'_>) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_notsent_lowat(UNSENT_BYTES));
    if let Err(error) = set {
        // Without them, answers wait for more and a stuck peer costs more memory.
        debug!(%error, "sockets without TCP_NODELAY, keep-alive or a bound of unsent bytes");
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
