//! A connected non-blocking byte stream: TCP, or TLS over TCP.

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

/// The maximum number of unsent bytes that the kernel holds for one socket. More bytes would only
/// arrive late, and take memory for each blocked peer.
const UNSENT_BYTES: u32 = 128 * 1024;
/// The silence after which TCP probes the peer.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The maximum amount of plaintext that TLS buffers ahead of the socket, in bytes.
const TLS_AHEAD_BYTES: usize = 64 * 1024;

/// A socket and, with TLS, its session. Uses one file descriptor either way.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsSocket>),
}

/// A socket with its TLS session.
#[derive(Debug)]
pub(crate) struct TlsSocket {
    socket: TcpStream,
    session: ServerConnection,
}

impl Transport {
    /// Creates a transport from a non-blocking socket whose TLS handshake is complete.
    pub(crate) fn tls(socket: TcpStream, mut session: ServerConnection) -> Self {
        session.set_buffer_limit(Some(TLS_AHEAD_BYTES));
        Self::Tls(Box::new(TlsSocket { socket, session }))
    }

    /// Registers the socket with a poll, edge-triggered for reads and writes.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interests = Interest::READABLE | Interest::WRITABLE;
        registry.register(self.socket_mut(), token, interests)
    }

    /// Reverses [`register`](Self::register).
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(self.socket_mut())
    }

    /// Reads bytes that have arrived. Returns their number, or 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived. Any other error means that the socket is broken.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => retry(|| socket.read(buffer)),
            Self::Tls(tls) => tls.receive(buffer),
        }
    }

    /// Sends bytes. Returns the number that the socket, or TLS ahead of it, has taken.
    ///
    /// # Errors
    /// `WouldBlock` if it takes none. Any other error means that the socket is broken.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => retry(|| socket.write(bytes)),
            Self::Tls(tls) => tls.send(bytes),
        }
    }

    /// Writes the bytes that TLS holds to the socket. Returns `true` if none are left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Returns `true` if TLS holds bytes that the socket has not taken.
    pub(crate) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.wants_write(),
        }
    }

    /// Returns `true` if unread bytes are waiting in the socket.
    pub(crate) fn has_unread(&self) -> bool {
        let peeked = SockRef::from(self.socket()).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_ok_and(|count| count > 0)
    }

    /// Ends the write side. Errors are ignored: the peer may have disconnected.
    pub(crate) fn shut_down_write(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            // Lost if the socket is full, but the close frame before it has the same meaning.
            let _ = tls.flush();
        }

        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Returns the socket for another owner; `None` with TLS.
    pub(crate) fn into_plain(self) -> Option<StdTcpStream> {
        match self {
            Self::Plain(socket) => Some(socket.into()),
            Self::Tls(_) => None,
        }
    }

    /// Returns `true` if a read of `count` bytes into `capacity` has drained the socket.
    ///
    /// A read of less than the capacity has drained a plain socket (epoll(7)). Always returns
    /// `false` with TLS, because the session may hold more records.
    pub(crate) fn has_drained(&self, count: usize, capacity: usize) -> bool {
        count < capacity && matches!(self, Self::Plain(_))
    }

    /// Returns the file descriptor.
    pub(crate) fn raw_fd(&self) -> RawFd {
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
                // The session has no decrypted bytes left and needs more records.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Some peers close the socket without `close_notify`. The WebSocket layer has its
                // own close, and thus detects a truncation.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }

            let read = retry(|| self.session.read_tls(&mut self.socket))?;
            if let Err(error) = self.session.process_new_packets() {
                // Sends the TLS alert that names the cause.
                let _ = self.flush();
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }

            // Sends the responses of TLS itself, for example to a key update.
            self.flush()?;
            if read == 0 {
                // The socket is at its end. The last record may have left decrypted bytes.
                return match self.session.reader().read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
                    read => read,
                };
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Takes no plaintext while ciphertext is waiting: the backlog of a blocked peer must stay
        // in the stream, not in the session.
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

/// Sets the TCP options of a listener or a socket.
///
/// Accepted sockets inherit the options of their listener. Setting them on the listener saves six
/// system calls per socket.
pub(crate) fn set_options(socket: &SockRef<'_>) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);

    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_notsent_lowat(UNSENT_BYTES));
    if let Err(error) = set {
        // Not fatal, but replies may be delayed, and a blocked peer takes more memory.
        debug!(%error, "cannot set TCP_NODELAY, keepalive or TCP_NOTSENT_LOWAT");
    }
}

/// Repeats a system call until no signal interrupts it.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
